"""HDFS by whatever a program's Python has: hdfs_native, WebHDFS, or Hadoop's own command."""

from __future__ import annotations

import errno
import os
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .files import CHUNK_BYTES, Store

_REFERENCE = re.compile(r"\$\{([^}]+)\}")
_TAKEN = "AlreadyExists"


def hadoop_settings() -> dict[str, str]:
    """Return core-site.xml and hdfs-site.xml of HADOOP_CONF_DIR; empty if there is none."""
    folder = os.environ.get("HADOOP_CONF_DIR", "")
    found: dict[str, str] = {}
    for name in ("core-site.xml", "hdfs-site.xml"):
        path = Path(folder) / name
        if folder and path.is_file():
            for entry in ET.parse(str(path)).iter("property"):  # noqa: S314  # the cluster's own configuration
                found[entry.findtext("name") or ""] = (entry.findtext("value") or "").strip()
    return {name: _REFERENCE.sub(lambda match: found.get(match[1], match[0]), value) for name, value in found.items()}


def open_hdfs(authority: str, path: str) -> Store:
    """Return a folder of HDFS, opened with the first client that works here.

    Raises
    ------
    OSError
        If none does: the message says what could be added.
    """
    from .hdfscommand import CommandStore  # noqa: PLC0415  # only what is used is loaded
    from .webhdfs import WebHdfsStore  # noqa: PLC0415

    settings = hadoop_settings()
    authority = authority or _default_authority(settings)
    url = f"hdfs://{authority}{path}"
    problems = []
    try:
        return NativeStore(url, authority, path)
    except ImportError as problem:
        problems.append(f"hdfs_native cannot be imported ({problem})")
    if settings.get("hadoop.security.authentication", "simple") == "simple":
        store = WebHdfsStore(url, authority, path, settings)
        try:
            store.entries()
        except OSError as problem:
            problems.append(f"WebHDFS does not answer ({problem})")
        else:
            return store
    else:
        problems.append("WebHDFS wants Kerberos")
    command = _command()
    if command:
        return CommandStore(url, command)
    problems.append("the command hdfs is not on PATH")
    raise OSError(
        errno.ENOTCONN, f"no way to HDFS: {'; '.join(problems)}; to mend it: add the package hdfs-native", url
    )


def _default_authority(settings: dict[str, str]) -> str:
    default = settings.get("fs.defaultFS", "")
    if not default.startswith("hdfs://"):
        raise OSError(errno.EINVAL, f"HADOOP_CONF_DIR names no HDFS: fs.defaultFS is {default!r}", "hdfs:///")
    return default[len("hdfs://") :].rstrip("/")


def _command() -> list[str]:
    home = os.environ.get("HADOOP_HOME", "")
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *([f"{home}/bin"] if home else [])])
    hdfs, hadoop = shutil.which("hdfs", path=path), shutil.which("hadoop", path=path)
    if hdfs:
        return [hdfs, "dfs"]
    return [hadoop, "fs"] if hadoop else []


class NativeStore(Store):
    """A folder of HDFS through the package ``hdfs_native``, which speaks HDFS's own protocol."""

    def __init__(self, url: str, authority: str, path: str) -> None:
        super().__init__(url)
        import hdfs_native  # noqa: PLC0415  # its absence is no error: there are other ways

        self._client = hdfs_native.Client(f"hdfs://{authority}")
        self._options = hdfs_native.WriteOptions
        self._path = path.rstrip("/")

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}".rstrip("/")

    def entries(self, name: str = "") -> dict[str, bool]:
        """As every store."""
        try:
            found = list(self._call(self._client.list_status, self._at(name)))
        except FileNotFoundError:
            return {}
        return {each.path.rpartition("/")[2]: bool(each.isdir) for each in found}

    def write(self, name: str, content: bytes | Path) -> None:
        """As every store; the bytes are on the disks of all replicas when it returns."""
        stream = self._call(self._client.create, self._at(name), self._options(create_parent=True))
        if isinstance(content, bytes):
            self._call(stream.write, content)
        else:
            with content.open("rb") as source:
                for chunk in iter(lambda: source.read(CHUNK_BYTES), b""):
                    self._call(stream.write, chunk)
        if hasattr(stream, "hsync"):
            self._call(stream.hsync)
        self._call(stream.close)

    def read(self, name: str) -> Iterator[bytes]:
        """As every store."""
        stream = self._call(self._client.read, self._at(name))
        yield from iter(lambda: self._call(stream.read, CHUNK_BYTES), b"")

    def publish(self, fresh: str, name: str) -> bool:
        """As every store."""
        try:
            self._call(self._client.rename, self._at(fresh), self._at(name), False)
        except FileExistsError:
            return False
        return True

    def delete(self, *names: str) -> None:
        """As every store."""
        for name in names:
            self._call(self._client.delete, self._at(name), True)

    @staticmethod
    def _call(function: Any, *arguments: Any) -> Any:  # noqa: ANN401  # what the package takes and returns
        """Call the package, which raises RuntimeError for what the NameNode answers."""
        try:
            return function(*arguments)
        except RuntimeError as problem:
            kind = FileExistsError if _TAKEN in str(problem) else OSError
            raise kind(str(problem).partition("\n")[0]) from problem
