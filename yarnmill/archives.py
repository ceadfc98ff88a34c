"""Zip files that are a function of their content: equal files in, equal bytes out, named by their hash.

They carry code to the nodes. Their name in the user cache holds their SHA-256, so an archive is written
once, never changed, and a plan that names it is complete: sending it later sends the same bytes.
"""

import hashlib
import io
import os
import secrets
import zipfile
from collections.abc import Iterable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Final

from yarnmill.building import user_cache
from yarnmill.errors import ConfigurationError, NotFoundError
from yarnmill.records import Record

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the oldest time that the format can say
_SKIPPED: Final = frozenset(
    {"__pycache__", ".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".ipynb_checkpoints"}
)


class Archive(Record, frozen=True, kw_only=True):
    """A file in the user cache whose name holds its SHA-256 (hex)."""

    path: str
    sha256: str
    size_bytes: int


class Entry(Record, frozen=True, kw_only=True):
    """One file of an archive: its path inside (with ``/``) and its bytes."""

    name: str
    data: bytes
    is_executable: bool = False


def package_entries(packages: Iterable[str]) -> Iterator[Entry]:
    """Yield every file of importable packages, compiled ones left out."""
    for package in packages:
        yield from _walk(files(package), package)


def _walk(node: Traversable, name: str) -> Iterator[Entry]:
    for child in sorted(node.iterdir(), key=lambda entry: entry.name):
        path = f"{name}/{child.name}"
        if child.is_dir():
            if child.name not in _SKIPPED:
                yield from _walk(child, path)
        elif not child.name.endswith((".pyc", ".so")):
            yield Entry(name=path, data=child.read_bytes())


def source_entries(paths: Iterable[Path]) -> Iterator[Entry]:
    """Yield files and whole folders, each under its own last name.

    Raises
    ------
    NotFoundError
        If a path is not there.
    """
    for path in paths:
        if path.is_file():
            yield _file_entry(path, path.name)
        elif path.is_dir():
            for file in sorted(path.rglob("*")):
                inside = PurePosixPath(path.name, *file.relative_to(path).parts)
                if file.is_file() and not _SKIPPED.intersection(inside.parts):
                    yield _file_entry(file, str(inside))
        else:
            raise NotFoundError(f"{path}: no such file or folder to ship")


def _file_entry(path: Path, name: str) -> Entry:
    return Entry(name=name, data=path.read_bytes(), is_executable=os.access(path, os.X_OK))


def zip_bytes(entries: Iterable[Entry]) -> bytes:
    """Return the one zip file of these entries: ordered by name, no times, no owners.

    Raises
    ------
    ConfigurationError
        If two entries have one name.
    """
    seen: dict[str, Entry] = {}
    for entry in entries:
        if entry.name in seen:
            raise ConfigurationError(f"{entry.name}: two files to ship have this name")
        seen[entry.name] = entry
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(seen):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = (0o755 if seen[name].is_executable else 0o644) << 16
            archive.writestr(member, seen[name].data)
    return buffer.getvalue()


def keep(data: bytes, name: str) -> Archive:
    """Keep bytes in the user cache under ``<hash>-<name>``, written once by one atomic act."""
    digest = hashlib.sha256(data).hexdigest()
    target = user_cache() / "shipped" / f"{digest[:16]}-{name}"
    if not target.is_file() or target.stat().st_size != len(data):
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
        fresh.write_bytes(data)
        fresh.replace(target)
    return Archive(path=str(target), sha256=digest, size_bytes=len(data))
