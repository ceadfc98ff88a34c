"""HDFS over WebHDFS, which every NameNode speaks: HTTP and JSON, the standard library alone."""

from __future__ import annotations

import errno
import getpass
import http.client
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final
from urllib.parse import quote, urlencode, urlsplit

from .files import CHUNK_BYTES, Store

_TIMEOUT_S = 60.0
_BLOCK_BYTES = 1 << 20
_ERRORS = {"FileNotFoundException": FileNotFoundError, "FileAlreadyExistsException": FileExistsError}


class WebHdfsStore(Store):
    """A folder of HDFS through the NameNode's and the DataNodes' web servers.

    Parameters
    ----------
    url
        The folder, for messages.
    authority
        ``host:port`` of the NameNode, or the name of a service of several.
    path
        The folder's path.
    settings
        Hadoop's configuration.
    """

    def __init__(self, url: str, authority: str, path: str, settings: Mapping[str, str]) -> None:
        super().__init__(url)
        self._path = path.rstrip("/")
        self._servers = name_nodes(authority, settings)
        self._user = os.environ.get("HADOOP_USER_NAME") or getpass.getuser()

    def entries(self, name: str = "") -> dict[str, bool]:
        """As every store."""
        try:
            found = json.loads(self._ask("GET", name, "LISTSTATUS"))
        except FileNotFoundError:
            return {}
        statuses = found["FileStatuses"]["FileStatus"]
        return {each["pathSuffix"]: each["type"] == "DIRECTORY" for each in statuses if each["pathSuffix"]}

    def write(self, name: str, content: bytes | Path) -> None:
        """As every store."""
        location = self._redirect("PUT", name, "CREATE", overwrite="false")
        if isinstance(content, bytes):
            self._send(location, content, len(content))
            return
        with content.open("rb") as stream:
            self._send(location, stream, os.fstat(stream.fileno()).st_size)

    @staticmethod
    def _send(location: str, body: Any, length: int) -> None:  # noqa: ANN401  # what http.client takes as a body
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        with _Answer("PUT", location, body, headers) as answer:
            answer.require(201)

    def read(self, name: str) -> Iterator[bytes]:
        """As every store."""
        with _Answer("GET", self._redirect("GET", name, "OPEN")) as answer:
            answer.require(200)
            yield from iter(lambda: answer.response.read(CHUNK_BYTES), b"")

    def publish(self, fresh: str, name: str) -> bool:
        """As every store: with options the NameNode renames strictly, and decides who was first."""
        try:
            self._ask("PUT", fresh, "RENAME", destination=self._at(name), renameoptions="NONE")
        except FileExistsError:
            return False
        return True

    def delete(self, *names: str) -> None:
        """As every store."""
        for name in names:
            self._ask("DELETE", name, "DELETE", recursive="true")

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}".rstrip("/") or "/"

    def _redirect(self, method: str, name: str, operation: str, **options: str) -> str:
        """Return where the NameNode says that the bytes go or come from."""
        return str(json.loads(self._ask(method, name, operation, noredirect="true", **options))["Location"])

    def _ask(self, method: str, name: str, operation: str, **options: str) -> bytes:
        """Return what the active NameNode answers; of several, the others say that they are on standby."""
        query = urlencode({"op": operation, "user.name": self._user, **options})
        problem: OSError = OSError(errno.ENOTCONN, "the Hadoop configuration names no NameNode's web server", self.url)
        for server in list(self._servers):
            try:
                with _Answer(method, f"{server}/webhdfs/v1{quote(self._at(name))}?{query}") as answer:
                    answer.require(200)
                    return answer.response.read()
            except (ConnectionError, _StandbyError) as error:
                problem = error
                self._servers = [*self._servers[1:], server]  # the next message begins with another one
        raise problem


class _StandbyError(OSError):
    """Another NameNode is the active one."""


@final
class _Answer:
    """One request and its answer; a context manager that hangs up."""

    def __init__(self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None) -> None:  # noqa: ANN401  # as http.client
        parts = urlsplit(url)
        self._server = parts.netloc
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(
                parts.netloc, timeout=_TIMEOUT_S, blocksize=_BLOCK_BYTES, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(parts.netloc, timeout=_TIMEOUT_S, blocksize=_BLOCK_BYTES)
        try:
            self._connection.request(method, f"{parts.path}?{parts.query}", body, dict(headers or {}))
            self.response = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as problem:
            self._connection.close()
            raise ConnectionError(f"{self._server}: {type(problem).__name__} {problem}") from problem

    def __enter__(self) -> _Answer:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def require(self, status: int) -> None:
        """Raise what the server says if the status is another one."""
        if self.response.status == status:
            return
        said = self.response.read().decode(errors="replace")
        try:
            remote = json.loads(said)["RemoteException"]
            name, message = str(remote["exception"]), str(remote["message"]).partition("\n")[0]
        except (ValueError, KeyError, TypeError):
            name, message = f"status {self.response.status}", said[:200]
        if name == "StandbyException":
            raise _StandbyError(f"{self._server}: {message}")
        raise _ERRORS.get(name, OSError)(f"{self._server}: {name}: {message}")


def name_nodes(authority: str, settings: Mapping[str, str]) -> list[str]:
    """Return the addresses of the NameNodes' web servers, as the Hadoop configuration names them."""
    secure = settings.get("dfs.http.policy", "") == "HTTPS_ONLY"
    scheme, port = ("https", 9871) if secure else ("http", 9870)
    key = f"dfs.namenode.{scheme}-address"
    host, _, _ = authority.partition(":")
    members = [each.strip() for each in settings.get(f"dfs.ha.namenodes.{authority}", "").split(",") if each.strip()]
    if members:
        found = [settings.get(f"{key}.{authority}.{member}", "") for member in members]
        return [f"{scheme}://{address}" for address in found if address]
    is_default = settings.get("fs.defaultFS", "").rstrip("/") == f"hdfs://{authority}"
    address = (settings.get(f"{key}.{authority}") or settings.get(key, "")) if is_default else ""
    named, _, number = address.partition(":")
    return [f"{scheme}://{host if named in {'', '0.0.0.0'} else named}:{number or port}"]  # noqa: S104  # not bound
