"""Ambry's REST as a client speaks it: named blobs, their ranges, their end, their listing.

Written from Ambry's own description of its frontend and tested against ``yarnmill blobs serve``, which answers the
same addresses: no registry has a build of Ambry itself to test against.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import IO, Final, NamedTuple
from urllib.parse import quote

import msgspec
import requests

from yarnmill.blobs.ids import BlobName
from yarnmill.errors import (
    BadDataError,
    ClusterUnavailableError,
    ConfigurationError,
    ConflictError,
    GoneError,
    NotFoundError,
    YarnMillError,
)

TOKEN: Final = "YARNMILL_AMBRY_TOKEN"  # noqa: S105  # the name of a variable
"""Environment variable with the bearer token that the frontend wants, if it wants one."""
SERVICE: Final = "yarnmill"

_TIMEOUT_S: Final = (10, 120)
_SERVICE_HEADER: Final = "x-ambry-service-id"
_BLOB_ID: Final = "x-ambry-blob-id"
_PAGE: Final = 1000


class Part(NamedTuple):
    """Bytes of a blob from ``start`` on, the size of the whole, and the answer's headers."""

    data: bytes
    start: int
    size_bytes: int
    headers: Mapping[str, str]


class _Entry(msgspec.Struct, rename="camel"):
    blob_name: str


class _Page(msgspec.Struct, rename="camel"):
    entries: list[_Entry]
    next_page_token: str | None = None


class AmbryRest:
    """Requests to a frontend; safe in threads and over a fork, each thread has connections of its own.

    Every method raises NotFoundError, GoneError or ConflictError for what the frontend answers so, ConfigurationError
    for what it refuses, and ClusterUnavailableError if it does not answer or fails.

    Parameters
    ----------
    base
        The frontend's URL.
    """

    def __init__(self, base: str) -> None:
        self._base = base.rstrip("/")
        self._own = threading.local()

    def put(self, name: BlobName, body: IO[bytes], size_bytes: int, headers: Mapping[str, str]) -> None:
        """Store a body under a name that no blob has."""
        said = {"Content-Type": "application/octet-stream", "x-ambry-blob-size": str(size_bytes), **headers}
        self._ask("PUT", _address(name), data=body, headers={"Content-Length": str(size_bytes), **said})

    def tail(self, name: BlobName, size_bytes: int) -> Part:
        """Return the end of a blob."""
        return self._part(name, f"bytes=-{size_bytes}")

    def range(self, name: BlobName, start: int, stop: int) -> Part:
        """Return bytes from the middle of a blob, fewer at its end."""
        return self._part(name, f"bytes={start}-{stop - 1}")

    def head(self, name: BlobName) -> None:
        """Ask whether a blob is there; the errors are the answer."""
        self._ask("HEAD", _address(name))

    def delete(self, name: BlobName) -> None:
        """Make a blob gone."""
        self._ask("DELETE", _address(name))

    def undelete(self, name: BlobName) -> None:
        """Bring a deleted blob back."""
        self._ask("PUT", "/undelete", headers={_BLOB_ID: _address(name), _SERVICE_HEADER: SERVICE})

    def make_permanent(self, name: BlobName) -> None:
        """Let a blob live for ever."""
        self._ask("PUT", "/updateTtl", headers={_BLOB_ID: _address(name), _SERVICE_HEADER: SERVICE})

    def names(self, account: str, container: str, prefix: str) -> Iterator[str]:
        """Yield the names in a container that begin so, a page at a time."""
        token: str | None = ""
        while token is not None:
            query = {"prefix": prefix, "maxKey": str(_PAGE), **({"page": token} if token else {})}
            answer = self._ask("GET", f"/named/{quote(account)}/{quote(container)}", params=query)
            try:
                page = msgspec.json.decode(answer.content, type=_Page)
            except msgspec.MsgspecError as problem:
                raise BadDataError(f"{self._base}: its list of names cannot be read: {problem}") from None
            yield from (entry.blob_name for entry in page.entries)
            token = page.next_page_token

    def _part(self, name: BlobName, wanted: str) -> Part:
        answer = self._ask("GET", _address(name), headers={"Range": wanted})
        if answer.status_code != HTTPStatus.PARTIAL_CONTENT:
            return Part(answer.content, 0, len(answer.content), answer.headers)
        # bytes 0-9/100
        span, _, size = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        start = span.partition("-")[0]
        if not (start.isdigit() and size.isdigit()):
            raise BadDataError(f"{self._base}: Content-Range {answer.headers.get('Content-Range')!r} cannot be meant")
        return Part(answer.content, int(start), int(size), answer.headers)

    def _ask(self, method: str, address: str, **options: object) -> requests.Response:
        url = self._base + address
        try:
            answer = self._session.request(method, url, timeout=_TIMEOUT_S, **options)  # type: ignore[arg-type]
        except requests.RequestException as problem:
            raise ClusterUnavailableError(
                f"{self._base}: Ambry's frontend does not answer ({type(problem).__name__})",
                mend="check the address and the frontend",
            ) from None
        if not answer.ok:
            raise self._refusal(answer, f"{self._base}{address}")
        return answer

    @property
    def _session(self) -> requests.Session:
        if getattr(self._own, "pid", None) != os.getpid():
            self._own.pid, self._own.session = os.getpid(), requests.Session()
        session: requests.Session = self._own.session
        if token := os.environ.get(TOKEN):
            session.headers["Authorization"] = f"Bearer {token}"
        return session

    def _refusal(self, answer: requests.Response, what: str) -> YarnMillError:
        said = answer.text.strip().replace("\n", "; ")[:500] or answer.reason
        match answer.status_code:
            case HTTPStatus.NOT_FOUND:
                return NotFoundError(f"{what}: no blob is there")
            case HTTPStatus.GONE:
                return GoneError(f"{what}: was deleted, or has expired")
            case HTTPStatus.CONFLICT:
                return ConflictError(f"{what}: {said}")
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                return ConfigurationError(f"{what}: refused: {said}", mend=f"set {TOKEN} to a token that may do this")
            case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                return ClusterUnavailableError(f"{what}: {status}: {said}", mend="look at the frontend's log")
            case status:
                return ConfigurationError(f"{what}: {status}: {said}")


def _address(name: BlobName) -> str:
    return f"/named/{quote(name.account)}/{quote(name.container)}/{quote(name.name)}"
