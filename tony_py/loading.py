"""An application's file: YAML, single keys laid over it, local paths made absolute."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tony_py.application import Application
from yarnmill.errors import ConfigurationError, NotFoundError
from yarnmill.records import convert, parse_yaml_mapping, to_plain


def load_application(path: str | Path, overrides: Sequence[str] = ()) -> Application:
    """Return the application of a YAML file with ``key.path=value`` texts laid over it.

    Local paths come back absolute: they stand relative to the file.

    Raises
    ------
    NotFoundError
        If there is no such file.
    ConfigurationError
        If a key is unknown, missing or ill-typed: key path and file, or the override, are named.
    """
    file = Path(path)
    if not file.is_file():
        raise NotFoundError(f"{file}: no such application file")
    plain = parse_yaml_mapping(file.read_text(), source=str(file))
    application = convert(plain, Application, source=str(file))
    return anchored(_with_overrides(application, plain, overrides), file.absolute().parent)


def with_overrides(application: Application, overrides: Sequence[str]) -> Application:
    """Return the application with ``key.path=value`` texts laid over it; ConfigurationError names a wrong one."""
    return _with_overrides(application, to_plain(application), overrides)


def _with_overrides(application: Application, plain: dict[str, Any], overrides: Sequence[str]) -> Application:
    for text in overrides:
        plain = _overridden(plain, text)
        application = convert(plain, Application, source=f"--set {text}")
    return application


def anchored(application: Application, folder: Path) -> Application:
    """Return the application with its local paths made absolute: they stand relative to ``folder``."""

    def at(path: str) -> str:
        return path if not path or ":/" in path or path.startswith("${") else os.path.normpath(folder / path)

    environment = application.environment
    return msgspec.structs.replace(
        application,
        source=tuple(map(at, application.source)),
        files={name: at(path) for name, path in application.files.items()},
        secrets={name: at(path) for name, path in application.secrets.items()},
        environment=msgspec.structs.replace(environment, archive=at(environment.archive)),
        types={
            name: msgspec.structs.replace(kind, files={each: at(path) for each, path in kind.files.items()})
            for name, kind in application.types.items()
        },
    )


def _overridden(plain: Mapping[str, Any], text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigurationError(f"--set {text}: no key=value", expected="such as --set types.worker.instances=4")
    head, _, rest = key.strip().partition(".")
    if not rest:
        return {**plain, head: yaml.safe_load(value)}
    below = plain.get(head)
    return {**plain, head: _overridden(below if isinstance(below, dict) else {}, f"{rest}={value}")}
