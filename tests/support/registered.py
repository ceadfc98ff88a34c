"""A fresh registry, candidates that differ, and what brings versions to answer."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from yarnmill.registry import Candidate, Registry, Rule

Let = Callable[..., None]


def fresh_sqlite(path: Path) -> str:
    """Write an empty registry; return its URL. A copy, for Alembic takes ten times as long as most tests."""
    path.write_bytes(_migrated())
    return f"sqlite:///{path}"


@functools.cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deep" / "registry.db"
        Registry(f"sqlite:///{path}").close()
        return path.read_bytes()


def bundle(candidate: Candidate, number: int, model: str | None = None, **more: object) -> Candidate:
    """Return another bundle's candidate: its id is the number."""
    named = {"bundle_id": f"{number:064x}", "model": model or candidate.model}
    return msgspec.structs.replace(candidate, **{**named, **more})


def let_run(registry: Registry, model: str, version: int, environment: str | None = None) -> None:
    """Bring a version into an environment."""
    registry.deployments.started(registry.deployments.begin(model, version, environment))


def let_answer(registry: Registry, model: str, version: int, environment: str | None = None) -> None:
    """Let a version answer alone."""
    let_run(registry, model, version, environment)
    registry.endpoints.route(model, Rule.only(version), environment)
