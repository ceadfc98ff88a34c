"""Archives that YARN unpacks on a node, and whether one of them holds a Python environment."""

import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from yarnmill.digests import remembered_digest
from yarnmill.errors import ConfigurationError
from yarnmill.records import fingerprint

ARCHIVE_SUFFIXES: Final = (".tar.gz", ".tgz", ".zip", ".tar")


def is_archive(name: str) -> bool:
    """Return whether YARN unpacks a file of this name; it looks at nothing else."""
    return name.endswith(ARCHIVE_SUFFIXES)


def refuse_without_python(path: Path, python: str = "bin/python") -> None:
    """Raise unless an archive holds ``python`` where that says; what was found is remembered.

    Raises
    ------
    ConfigurationError
        If it holds none, or is damaged.
    """
    status = path.stat()
    seen = fingerprint([["python", status.st_size, status.st_mtime_ns, status.st_ino]])
    # Under a name of its own: the digest of the same file is remembered under the file's.
    remembered_digest(path / python, seen, lambda: _find_python(path, python))


def _find_python(path: Path, python: str) -> str:
    deeper = ""
    try:
        for name in _names(path):
            plain = str(PurePosixPath(name))  # tar writes ./bin/python
            if plain == python:
                return hashlib.sha256(plain.encode()).hexdigest()
            if plain.endswith(f"/{python}"):
                deeper = plain.removesuffix(f"/{python}")
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as problem:
        raise ConfigurationError(f"{path}: cannot be unpacked ({problem})", mend="pack it anew") from None
    where = f"; it holds {deeper}/{python}" if deeper else ""
    folder = deeper or "ENVIRONMENT"
    raise ConfigurationError(
        f"{path}: holds no {python} at its top{where}",
        expected="a packed environment, as venv-pack and conda-pack make them",
        mend=f"tar -C {folder} -czf {path.name} . , or name the environment's folder itself",
    )


def _names(path: Path) -> Iterator[str]:
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            yield from archive.namelist()
        return
    with tarfile.open(path, "r|*") as stream:
        for member in stream:
            yield member.name
