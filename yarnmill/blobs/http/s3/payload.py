"""The body of a request: whatever its form, its bytes; whatever was said of them, compared before its end."""

import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from typing import IO, Final

from flask import request

from yarnmill.blobs.http.bodies import READ_BYTES, measured, received
from yarnmill.blobs.http.refusals import BadRequestError, SlowClientError
from yarnmill.blobs.http.s3.awschunked import decoded
from yarnmill.blobs.http.s3.checksums import CHECKSUM, CONTENT_MD5, algorithm_of, checksum_headers, compared
from yarnmill.blobs.http.s3.identity import CONTENT_SHA256, UNSIGNED, Caller
from yarnmill.blobs.http.s3.refusals import S3Error
from yarnmill.blobs.streams import stream_of

_MOST_DOCUMENT_BYTES: Final = 4 * 1024 * 1024
_DECODED_LENGTH: Final = "x-amz-decoded-content-length"
_STREAMING: Final = {
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": True,
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": True,
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER": False,
}
"""Forms of a body in pieces, and whether these are signed."""

_SHA256: Final = re.compile("[0-9a-f]{64}")


class Payload:
    """The current request's body.

    What it says of itself is checked when this is made, its bytes as they are read: S3Error if they are not those.

    Parameters
    ----------
    caller
        Who sends it.
    checksums
        Whether the request's checksums are those of its body.
    """

    def __init__(self, caller: Caller, *, checksums: bool = True) -> None:
        self._caller = caller
        self._headers = {name.lower(): value for name, value in request.headers.items()}
        self._digest = hashlib.sha256()
        self._trailers: dict[str, str] = {}
        kind = caller.payload
        if kind != UNSIGNED and kind not in _STREAMING and not _SHA256.fullmatch(kind):
            raise S3Error("InvalidRequest", f"{CONTENT_SHA256}: {kind[:100]!r}", expected=f"a SHA-256, or {UNSIGNED}")
        self._said = checksum_headers(self._headers) if checksums else {}
        announced = self._headers.get("x-amz-trailer", "").lower().replace(" ", "")
        self._announced = tuple(name for name in announced.split(",") if name.startswith(CHECKSUM))
        for name in (*self._said, *self._announced):
            algorithm_of(name)

    @property
    def said_sha256(self) -> str | None:
        """The SHA-256 that the body is said to have; None if that is not said beforehand."""
        return self._caller.payload if _SHA256.fullmatch(self._caller.payload) else None

    @property
    def sha256(self) -> str:
        """SHA-256 of what was read."""
        return self._digest.hexdigest()

    @property
    def echoes(self) -> Mapping[str, str]:
        """The checksums that were compared, as an answer tells them."""
        told = {**self._said, **{name: value for name, value in self._trailers.items() if name in self._announced}}
        return {name: value for name, value in told.items() if name != CONTENT_MD5}

    def stream(self) -> IO[bytes]:
        """Return the bytes; reading them to their end fails unless all that was said of them is so."""
        chunks = compared(self._counted(self._plain()), tuple(self._said), self._said)
        if self._announced:
            chunks = compared(chunks, self._announced, self._trailers)
        return stream_of(chunks)  # type: ignore[return-value]  # typeshed

    def document(self) -> bytes:
        """Return the bytes of a body that is a document."""
        stream = self.stream()
        return measured(iter(lambda: stream.read(READ_BYTES), b""), None, _MOST_DOCUMENT_BYTES).read()

    def _plain(self) -> Iterator[bytes]:
        if self._caller.payload not in _STREAMING:
            return _received()
        raw = io.BufferedReader(stream_of(_received()))
        return decoded(raw, self._caller.signatures, self._trailers)

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        seen = 0
        for chunk in chunks:
            self._digest.update(chunk)
            seen += len(chunk)
            yield chunk
        length = self._headers.get(_DECODED_LENGTH)
        if length is not None and length != str(seen):
            raise S3Error("IncompleteBody", f"{_DECODED_LENGTH} is {length}, and the body has {seen} bytes")
        if self.said_sha256 not in {None, self.sha256}:
            raise S3Error("XAmzContentSHA256Mismatch", f"{CONTENT_SHA256} is not the body's", mend="send it again")


def _received() -> Iterator[bytes]:
    try:
        yield from received()
    except SlowClientError as problem:
        raise S3Error("RequestTimeout", problem.what, mend=problem.mend) from None
    except BadRequestError as problem:
        raise S3Error("IncompleteBody", problem.what, mend=problem.mend) from None
