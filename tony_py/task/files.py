"""A folder on HDFS or on a local file system, with the few acts that checkpoints need."""

from __future__ import annotations

import errno
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Union

Content = Union[bytes, str, "os.PathLike[str]"]
"""What is to be written: bytes, or the path of a local file or folder."""

CHUNK_BYTES = 4 << 20

_URL = re.compile(r"^(?P<scheme>[a-z][a-z0-9+.-]+)://(?P<authority>[^/]*)(?P<path>/.*)$", re.DOTALL)
_WITHOUT_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


class Store(ABC):
    """One folder; names are those of entries in it, with ``/`` between the levels. Whatever fails raises OSError.

    Parameters
    ----------
    url
        The folder.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    @abstractmethod
    def entries(self, name: str = "") -> dict[str, bool]:
        """Return what is in the folder, or in one below it, and which of that are folders; empty if it is not there."""

    @abstractmethod
    def write(self, name: str, content: bytes | Path) -> None:
        """Write a new file of these bytes, or of a local file's, making the folders above it."""

    @abstractmethod
    def read(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a file in order."""

    @abstractmethod
    def publish(self, fresh: str, name: str) -> bool:
        """Rename an entry by one atomic act that replaces nothing; return False if the name is taken."""

    @abstractmethod
    def delete(self, *names: str) -> None:
        """Delete entries with all below them; nothing happens for one that is not there."""

    def put(self, folder: Path, name: str) -> None:
        """Write all files below a local folder as a new folder."""
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            self.write(f"{name}/{file.relative_to(folder).as_posix()}", file)

    def get(self, name: str, folder: Path) -> None:
        """Copy all files below a folder into a local one, which is there."""
        for below, is_folder in self.entries(name).items():
            target = folder / below
            if is_folder:
                target.mkdir(exist_ok=True)
                self.get(f"{name}/{below}", target)
            else:
                self.copy_file(f"{name}/{below}", target)

    def copy_file(self, name: str, target: Path) -> None:
        """Copy a file to a local one."""
        with target.open("wb") as stream:
            for chunk in self.read(name):
                stream.write(chunk)


def stored(store: Store, name: str, content: Content) -> None:
    """Write content under a fresh name.

    Raises
    ------
    OSError
        If it cannot be written, or is a folder without any file.
    """
    source = content if isinstance(content, bytes) else Path(content)
    if isinstance(source, bytes) or not source.is_dir():
        store.write(name, source)
        return
    if not any(each.is_file() for each in source.rglob("*")):
        raise FileNotFoundError(f"{source}: no files to save in this folder")
    store.put(source, name)


def open_store(url: str) -> Store:
    """Return the folder of a URL, opened with what this Python has.

    On HDFS that is the package ``hdfs_native``, else WebHDFS, else the command ``hdfs``.

    Raises
    ------
    OSError
        If the file system is unknown or nothing here can reach it.
    """
    match = _URL.match(url)
    if match is None:
        return LocalStore(url)
    if match["scheme"] == "file":
        return LocalStore(match["path"])
    if match["scheme"] == "hdfs":
        from .hdfs import open_hdfs  # noqa: PLC0415  # programs with local checkpoints need none of it

        return open_hdfs(match["authority"], match["path"])
    raise OSError(errno.ENOTSUP, f"unknown file system {match['scheme']!r}; expected hdfs:// or a local folder", url)


class LocalStore(Store):
    """A folder of this machine, or of a file system that is mounted on all."""

    def _at(self, name: str) -> Path:
        return Path(self.url or "/") / name

    def entries(self, name: str = "") -> dict[str, bool]:
        """As every store."""
        try:
            return {each.name: each.is_dir() for each in os.scandir(self._at(name))}
        except FileNotFoundError:
            return {}

    def write(self, name: str, content: bytes | Path) -> None:
        """As every store; the bytes are on the disk when it returns."""
        path = self._at(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as stream:
            if isinstance(content, bytes):
                stream.write(content)
            else:
                with content.open("rb") as source:
                    shutil.copyfileobj(source, stream, CHUNK_BYTES)
            stream.flush()
            os.fsync(stream.fileno())

    def read(self, name: str) -> Iterator[bytes]:
        """As every store."""
        with self._at(name).open("rb") as stream:
            while True:
                chunk = stream.read(CHUNK_BYTES)
                if not chunk:
                    return
                yield chunk

    def publish(self, fresh: str, name: str) -> bool:
        """As every store."""
        old, new = self._at(fresh), self._at(name)
        try:
            if old.is_dir():
                old.rename(new)  # never onto a folder with something in it
            else:
                _rename_file(old, new)
        except OSError as problem:
            if problem.errno in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}:
                return False
            raise
        descriptor = os.open(new.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # a new name is kept in the folder, not in the file
        finally:
            os.close(descriptor)
        return True

    def delete(self, *names: str) -> None:
        """As every store."""
        for path in map(self._at, names):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(FileNotFoundError):
                    path.unlink()


def _rename_file(old: Path, new: Path) -> None:
    """Rename a file unless the name is taken, which a plain rename would replace."""
    try:
        os.link(old, new)
    except OSError as problem:
        if problem.errno not in _WITHOUT_LINKS:
            raise
        if new.exists():
            raise FileExistsError(errno.EEXIST, "taken", str(new)) from problem
        old.rename(new)
        return
    old.unlink()
