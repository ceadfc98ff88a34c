"""The one door to HDFS and local files.

Every path in the platform is a URL: ``hdfs:///tables`` (the cluster of ``HADOOP_CONF_DIR``),
``hdfs://host:8020/tables``, ``file:///tmp/x`` or a plain local path. What is written becomes visible
by one atomic act: bytes and trees are written beside their place and renamed into it, and nothing
that is there is ever overwritten unless the caller says so.
"""

import errno
import io
import os
import re
import secrets
import socket
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Final, NamedTuple

import hdfs_native
import msgspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileOpener, LocalFileSystem
from hdfs_native.fsspec import HdfsFileSystem
from typing_extensions import Buffer, override

from yarnmill import kerberos
from yarnmill.errors import (
    BadDataError,
    ClusterUnavailableError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    StorageFullError,
    YarnMillError,
)
from yarnmill.patience import Patience
from yarnmill.writeback import Writeback

# Not urlsplit: a `#` or `?` in the name of a file is a part of the name.
_URL: Final = re.compile(r"^(?P<scheme>[a-z][a-z0-9+.-]+):(?://(?P<authority>[^/]*))?(?P<path>/.*|)$", re.DOTALL)

# What the NameNode says when a file or a full folder stands where the other kind should go.
_TAKEN: Final = (
    "AlreadyExists",
    "AlreadyBeingCreated",
    "ParentNotDirectory",
    "must both be directories",
    "is not empty",
)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
# fsspec takes these for the end of a path, and would put the file elsewhere without a word.
_NOT_ON_HDFS: Final = re.compile(r"[#?;]")

_GSSAPI: Final = "GSSAPIError"
# What GSSAPI says before Kerberos's own words.
_KERBEROS_WORDS: Final = re.compile(r"more information: |inaccessible: ")

_CONNECT_TIMEOUT_S: Final = 10.0
_STALLED_S: Final = 120.0
"""How long a write to HDFS may take: twice as long as HDFS's own clients wait for a DataNode."""

_SHARED_MODE: Final = 0o1777
"""As of a temporary folder: everybody writes, and removes only what is their own."""

COPY_CHUNK_BYTES = 1024 * 1024
"""How much a copy holds in memory at once."""


class FileInfo(msgspec.Struct, frozen=True):
    """One entry of a folder: its full URL, its last name, its size in bytes, whether it is a folder."""

    url: str
    name: str
    size_bytes: int
    is_folder: bool


class Location(NamedTuple):
    """A URL taken apart: the open file system (fsspec) and the path in it."""

    filesystem: AbstractFileSystem
    path: str


def default_hdfs_url(conf_dir: str | None = None) -> str:
    """Return ``fs.defaultFS`` of a Hadoop configuration folder, such as ``hdfs://localhost:8020``.

    Raises
    ------
    ConfigurationError
        If no folder is named, it holds no core-site.xml, or the file names no HDFS.
    """
    folder = conf_dir if conf_dir is not None else os.environ.get("HADOOP_CONF_DIR", "")
    if not folder:
        raise ConfigurationError(
            "an hdfs:/// URL needs a cluster and HADOOP_CONF_DIR is not set",
            mend='eval "$(yarnmill cluster env)", or export HADOOP_CONF_DIR=<your cluster\'s configuration folder>',
        )
    core_site = Path(folder) / "core-site.xml"
    if not core_site.is_file():
        raise ConfigurationError(
            f"HADOOP_CONF_DIR={folder} holds no core-site.xml",
            expected="a Hadoop configuration folder",
            mend='yarnmill cluster up, then eval "$(yarnmill cluster env)"',
        )
    for entry in ET.parse(core_site).iter("property"):  # noqa: S314  # the cluster's own configuration is trusted
        if entry.findtext("name") == "fs.defaultFS":
            value = (entry.findtext("value") or "").rstrip("/")
            if value.startswith("hdfs://"):
                return value
    raise ConfigurationError(f"{core_site}: fs.defaultFS names no HDFS", expected="hdfs://host:port")


@lru_cache(maxsize=16)
def _hdfs(authority: str, _principal: str) -> HdfsFileSystem:
    """Return the client of an HDFS: one for each whom this process acts as, for it stays whom it connected as."""
    host, _, port = authority.partition(":")
    if not port:  # a name service with several NameNodes, which the client knows to find
        return HdfsFileSystem(host, skip_instance_cache=True)
    _refuse_unless_listening(host, int(port))
    return HdfsFileSystem(host, int(port), skip_instance_cache=True)


def _refuse_unless_listening(host: str, port: int) -> None:
    """Say at once that nobody listens: hdfs-native tries again for minutes, which is right only later on."""
    try:
        socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as problem:
        raise ClusterUnavailableError(
            f"hdfs://{host}:{port}: no NameNode answers there ({problem})",
            mend="yarnmill cluster status; yarnmill cluster up",
        ) from None


@lru_cache(maxsize=1)
def _local() -> LocalFileSystem:
    return LocalFileSystem(auto_mkdir=False)


def locate(url: str | Path) -> Location:
    """Return the file system and path that ``url`` names.

    Raises
    ------
    ConfigurationError
        If the scheme is neither ``hdfs`` nor ``file``.
    """
    text = str(url)
    match = _URL.match(text)
    if match is None:
        return Location(_local(), os.path.abspath(text))  # noqa: PTH100  # may not exist
    if match["scheme"] == "hdfs":
        if _NOT_ON_HDFS.search(match["path"]):
            raise ConfigurationError(f"{text}: cannot be a path on HDFS", expected="a path without `#`, `?` and `;`")
        authority = match["authority"] or default_hdfs_url().removeprefix("hdfs://")
        return Location(_hdfs(authority, kerberos.acting_principal()), match["path"].rstrip("/") or "/")
    if match["scheme"] == "file":
        return Location(_local(), os.path.abspath(match["path"]))  # noqa: PTH100
    raise ConfigurationError(f"{text}: unknown file system {match['scheme']!r}", expected="hdfs:// or file://")


def as_url(place: str) -> str:
    """Return a URL as it is, and a plain local path, which may be from the working folder, as its ``file://`` URL.

    Whoever hands a place on needs it: to Hadoop, and so to Spark, a path without a scheme is on the cluster.
    """
    return place if _URL.match(place) else f"file://{os.path.abspath(place)}"  # noqa: PTH100  # may not exist


def join(url: str, *names: str) -> str:
    """Return ``url`` with ``names`` below it: ``join('hdfs:///a', 'b')`` → ``'hdfs:///a/b'``."""
    return "/".join([url.rstrip("/"), *(name.strip("/") for name in names)])


@contextmanager
def translated(url: str | Path) -> Iterator[None]:
    """Turn what the libraries raise within the block into the platform's errors, naming the URL."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError):
        raise NotFoundError(f"{url}: no such file or folder") from None
    except (FileExistsError, NotADirectoryError):
        raise ConflictError(f"{url}: already there, and never overwritten") from None
    except PermissionError as problem:
        raise ConfigurationError(f"{url}: permission denied ({problem})") from None
    except (OSError, RuntimeError) as problem:  # hdfs-native: OSError for the network, RuntimeError for an RPC's error
        if _GSSAPI in str(problem):  # the ticket has expired meanwhile
            raise kerberos.no_ticket(_KERBEROS_WORDS.split(str(problem))[-1].rstrip(')" ')) from None
        raise _from_library(str(url), problem) from None


def _from_library(url: str, problem: Exception) -> YarnMillError:
    message = str(problem)
    first_line = re.split(r"\\n|\n", message)[0].removesuffix('"') or type(problem).__name__
    if any(text in message for text in _TAKEN):
        return ConflictError(f"{url}: already there, and never overwritten ({first_line})")
    if "AccessControlException" in message:
        return ConfigurationError(f"{url}: permission denied ({first_line})")
    if "hecksum" in message:  # every replica of a block was tried
        return BadDataError(
            f"{url}: HDFS has no sound copy of it ({first_line})", mend="hdfs fsck / -list-corruptfileblocks"
        )
    if getattr(problem, "errno", None) in _FULL or "QuotaExceeded" in message:
        return StorageFullError(f"{url}: {first_line}", mend="make room there, or ask for more")
    if not url.startswith("hdfs:"):
        return ConfigurationError(f"{url}: {first_line}", mend="check the disk and the permissions of its folder")
    what, mend = f"does not answer ({first_line})", "yarnmill cluster status; yarnmill cluster up"
    if "SafeMode" in message:
        what, mend = "is in safe mode", "wait, or hdfs dfsadmin -safemode leave"
    return ClusterUnavailableError(f"{url}: HDFS {what}", mend=mend)


def exists(url: str | Path) -> bool:
    """Return whether a file or folder stands at ``url``."""
    filesystem, path = locate(url)
    with translated(url):
        return bool(filesystem.exists(path))


def info(url: str | Path) -> FileInfo:
    """Return size and kind of what stands at ``url``; NotFoundError if nothing does."""
    filesystem, path = locate(url)
    with translated(url):
        return _file_info(str(url), filesystem.info(path))


def modified_at_ms(url: str | Path) -> int:
    """Return when a file was last written, in milliseconds since 1970; NotFoundError if it is not there."""
    filesystem, path = locate(url)
    with translated(url):
        entry = filesystem.info(path)
    return int(entry["mtime"] * 1000) if "mtime" in entry else int(entry["modification_time"])


def _file_info(url: str, entry: dict[str, object]) -> FileInfo:
    return FileInfo(
        url=url,
        name=PurePosixPath(str(entry["name"])).name,
        size_bytes=int(str(entry["size"] or 0)),
        is_folder=entry["type"] == "directory",
    )


def children(url: str | Path) -> list[FileInfo]:
    """Return the entries of a folder, ordered by name; NotFoundError if there is no such folder."""
    filesystem, path = locate(url)
    with translated(url):
        if isinstance(filesystem, LocalFileSystem):
            return sorted(_local_children(str(url), path), key=lambda child: child.name)
        entries = filesystem.ls(path, detail=True)
    if len(entries) == 1 and entries[0]["type"] == "file" and entries[0]["name"] == path:
        raise NotFoundError(f"{url}: a file, not a folder")
    found = [_file_info(join(str(url), PurePosixPath(entry["name"]).name), entry) for entry in entries]
    return sorted(found, key=lambda child: child.name)


def _local_children(url: str, path: str) -> Iterator[FileInfo]:
    if os.path.isfile(path):  # noqa: PTH113  # paths are text throughout this module
        raise NotFoundError(f"{url}: a file, not a folder")
    with os.scandir(path) as entries:
        for entry in entries:
            # An entry that goes while the folder is read is not there; to fsspec the whole folder would not be.
            with suppress(FileNotFoundError):
                size = entry.stat().st_size
                yield FileInfo(join(url, entry.name), entry.name, size, entry.is_dir())


def walk_files(url: str | Path) -> Iterator[FileInfo]:
    """Yield every file below a folder, in order of path; names starting with ``_`` or ``.`` included."""
    for child in children(url):
        if child.is_folder:
            yield from walk_files(child.url)
        else:
            yield child


def make_folder(url: str | Path) -> None:
    """Make a folder and its parents; nothing happens if it is there."""
    filesystem, path = locate(url)
    with translated(url):
        filesystem.makedirs(path, exist_ok=True)


def make_shared_folder(url: str | Path) -> None:
    """Make a folder that every user may add to and where none removes another's files; as it is if it is there."""
    if exists(url):
        return
    make_folder(url)
    filesystem, path = locate(url)
    with translated(url):
        if isinstance(filesystem, HdfsFileSystem):
            filesystem.client.set_permission(path, _SHARED_MODE)
        else:
            os.chmod(path, _SHARED_MODE)  # noqa: PTH101


def delete(url: str | Path) -> None:
    """Delete a file or a folder with all below it; nothing happens if it is not there."""
    filesystem, path = locate(url)
    with translated(url), suppress(FileNotFoundError):
        filesystem.rm(path, recursive=True)


def rename(source: str | Path, target: str | Path, *, overwrite: bool = False) -> None:
    """Move a file or folder within one file system by one atomic act, making the target's parent.

    Raises
    ------
    ConflictError
        If the target is there and ``overwrite`` is false. Two writers racing for one target: one wins.
    NotFoundError
        If the source is not there.
    """
    filesystem, old = locate(source)
    new = locate(target).path
    with translated(target):
        filesystem.makedirs(str(PurePosixPath(new).parent), exist_ok=True)
        if isinstance(filesystem, HdfsFileSystem):
            filesystem.client.rename(old, new, overwrite)  # exclusive, decided by the NameNode
            return
        if overwrite:
            os.replace(old, new)  # noqa: PTH105  # paths are text throughout this module
        else:
            _rename_local_exclusively(old, new)
        _sync_folder(os.path.dirname(new))  # noqa: PTH120


def _rename_local_exclusively(old: str, new: str) -> None:
    if os.path.isdir(old):  # noqa: PTH112
        if os.path.exists(new):  # noqa: PTH110  # rename() would replace an empty folder
            raise FileExistsError(new)
        try:
            os.rename(old, new)  # noqa: PTH104
        except OSError as problem:
            if os.path.exists(new):  # noqa: PTH110
                raise FileExistsError(new) from problem
            raise
        return
    os.link(old, new)  # fails if the name is taken, which rename() does not
    os.unlink(old)  # noqa: PTH108


def _sync_folder(path: str) -> None:
    """Bring a new name to the disk: a local file system keeps it in the folder, not in the file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_read(url: str | Path) -> IO[bytes]:
    """Open a file for reading as a binary stream with seek; NotFoundError if it is not there."""
    filesystem, path = locate(url)
    with translated(url):
        return filesystem.open(path, "rb")  # type: ignore[no-any-return]  # fsspec is untyped


def read_bytes(url: str | Path) -> bytes:
    """Return a whole (small) file."""
    return b"".join(read_chunks(url))


def read_chunks(url: str | Path, chunk_bytes: int = COPY_CHUNK_BYTES) -> Iterator[bytes]:
    """Yield a file's bytes in order, never more than one chunk in memory; NotFoundError if it is not there."""
    with open_read(url) as stream:
        while True:
            with translated(url):
                chunk = stream.read(chunk_bytes)
            if not chunk:
                return
            yield chunk


@contextmanager
def open_fresh(url: str | Path) -> Iterator[IO[bytes]]:
    """Write a file that a later :func:`rename` makes visible; for writers who learn its name only at the end.

    The bytes are on the disk when the block ends well; the file is gone when it does not. The name must
    be one that nobody else writes, for it is not guarded.
    """
    filesystem, path = locate(url)
    with translated(url):
        filesystem.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        opened = filesystem.open(path, "wb")
    try:
        with _Writer(opened, str(url)) as stream:
            yield stream  # type: ignore[misc]  # typeshed does not take a RawIOBase for an IO[bytes], which it is
            stream.sync()
    except BaseException:
        with suppress(Exception):  # the first error is the one to tell; a leftover is hidden and harmless
            delete(url)
        raise


def _neighbour(url: str) -> str:
    """Return a hidden name beside ``url`` that nobody else uses."""
    parent, slash, name = url.rstrip("/").rpartition("/")
    return f"{parent}{slash}.{name}.{secrets.token_hex(6)}.tmp"


@contextmanager
def open_write(url: str | Path, *, overwrite: bool = False) -> Iterator[IO[bytes]]:
    """Write a file that appears whole or not at all: a hidden neighbour is renamed when the block ends well.

    Raises
    ------
    ConflictError
        If the file is there already and ``overwrite`` is false.
    """
    fresh = _neighbour(str(url))
    with open_fresh(fresh) as stream:
        yield stream
    try:
        rename(fresh, url, overwrite=overwrite)
    except BaseException:
        with suppress(Exception):
            delete(fresh)
        raise


class _Writer(io.RawIOBase):
    """A file under way, whose errors are the platform's.

    A DataNode that dies can leave hdfs-native waiting for it for ever (seen once in some hundred such deaths), so what
    goes to HDFS is given up after a while.
    """

    def __init__(self, inner: hdfs_native.FileWriter | LocalFileOpener, url: str) -> None:
        super().__init__()
        self._inner = inner
        self._url = url
        self._patience = Patience(_STALLED_S) if isinstance(inner, hdfs_native.FileWriter) else None
        self._writeback = Writeback(inner.fileno()) if isinstance(inner, LocalFileOpener) else None

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, data: Buffer) -> int:
        with translated(self._url):
            if self._patience is not None:
                return self._patience.call(lambda: int(self._inner.write(data)))
            written = int(self._inner.write(data))
            if self._writeback is not None:
                self._writeback.wrote(written)
            return written

    def sync(self) -> None:
        """Bring the bytes to the disk; on HDFS to those of all replicas, where closing leaves them in memory."""
        with translated(self._url):
            if self._patience is not None and isinstance(self._inner, hdfs_native.FileWriter):
                self._patience.call(self._inner.hsync)
            elif self._writeback is not None:
                self._inner.flush()
                self._writeback.finish()

    @override
    def close(self) -> None:
        if not self.closed:
            super().close()
            with translated(self._url):
                if self._writeback is not None:
                    self._writeback.stop()
                if self._patience is None:
                    self._inner.close()
                elif not self._patience.is_over:  # what was given up has the file to itself
                    try:
                        self._patience.call(self._inner.close)
                    finally:
                        self._patience.end()


def create_empty(url: str | Path) -> None:
    """Make an empty file and the folders above it by one act; nothing happens if it is there.

    On HDFS it has no block: it costs the NameNode its name alone.
    """
    filesystem, path = locate(url)
    with translated(url):
        filesystem.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        if isinstance(filesystem, HdfsFileSystem):
            filesystem.client.create(path, hdfs_native.WriteOptions(overwrite=True)).close()
        else:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o666))
            _sync_folder(os.path.dirname(path))  # noqa: PTH120


def write_bytes(url: str | Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write a whole (small) file atomically; ConflictError if it is there and ``overwrite`` is false."""
    with open_write(url, overwrite=overwrite) as stream:
        stream.write(data)


def copy_file(source: str | Path, target: str | Path, *, overwrite: bool = False) -> int:
    """Copy a file between any two file systems in constant memory; return its size in bytes."""
    copied = 0
    with open_write(target, overwrite=overwrite) as writer:
        for chunk in read_chunks(source):
            writer.write(chunk)
            copied += len(chunk)
    return copied


def copy_tree(source: str, target: str) -> int:
    """Copy all files below a folder to a fresh folder, visible by one rename; return the bytes copied.

    Raises
    ------
    ConflictError
        If the target is there already.
    """
    if exists(target):
        raise ConflictError(f"{target}: already there, and never overwritten")
    fresh = _neighbour(target)
    copied = 0
    base = source.rstrip("/") + "/"
    make_folder(fresh)
    try:
        for file in walk_files(source):
            copied += copy_file(file.url, join(fresh, file.url.removeprefix(base)))
        rename(fresh, target)
    except BaseException:
        with suppress(Exception):
            delete(fresh)
        raise
    return copied
