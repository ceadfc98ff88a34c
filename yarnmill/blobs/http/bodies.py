"""Bodies on their way into the store: counted, and refused as soon as they cannot be what was announced."""

from collections.abc import Iterator
from typing import IO, Final

from flask import request
from gunicorn.http.errors import ParseException

from yarnmill.blobs.http.refusals import BadRequestError, SlowClientError, TooLargeError
from yarnmill.blobs.streams import stream_of
from yarnmill.units import render_bytes

READ_BYTES: Final = 256 * 1024
RECEIVED: Final = "yarnmill.received_bytes"
"""Where the environment of a request says how much of its body was read."""


def received() -> Iterator[bytes]:
    """Yield the body of the current request.

    Raises
    ------
    BadRequestError
        If the client goes away before its end.
    SlowClientError
        If it sends nothing for too long.
    """
    seen = 0
    while chunk := _read(request.stream):
        seen += len(chunk)
        request.environ[RECEIVED] = seen
        yield chunk
    # gunicorn tells of a missing rest only where the body came in chunks.
    if request.content_length is not None and seen < request.content_length:
        raise BadRequestError(f"the body ended after {seen} of {request.content_length} bytes")


def _read(stream: IO[bytes]) -> bytes:
    try:
        return stream.read(READ_BYTES)
    except BlockingIOError:
        raise SlowClientError("the body stopped in the middle", mend="send it again") from None
    except (OSError, ParseException) as problem:
        raise BadRequestError(f"the body broke off: {type(problem).__name__}", mend="send it again") from None


def measured(chunks: Iterator[bytes], size_bytes: int | None, most_bytes: int | None) -> IO[bytes]:
    """Return chunks as the stream that a store takes; reading it fails if they are not as many bytes as they should be.

    Parameters
    ----------
    chunks
        The bytes.
    size_bytes
        How many they must be, None: any number.
    most_bytes
        How many they may be at most, None: any number.
    """
    return stream_of(_measured(chunks, size_bytes, most_bytes))  # type: ignore[return-value]  # typeshed


def _measured(chunks: Iterator[bytes], size_bytes: int | None, most_bytes: int | None) -> Iterator[bytes]:
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        if most_bytes is not None and seen > most_bytes:
            raise TooLargeError(f"the body is larger than {most_bytes} bytes", expected=render_bytes(most_bytes))
        if size_bytes is not None and seen > size_bytes:
            break
        yield chunk
    if size_bytes is not None and seen != size_bytes:
        bytes_seen = f"more than {size_bytes}" if seen > size_bytes else str(seen)
        raise BadRequestError(f"x-ambry-blob-size is {size_bytes} and the body has {bytes_seen} bytes")
