"""Bodies in ``aws-chunked`` form: a size, and perhaps a signature, before each piece; checksums may follow the last.

A piece is a line ``10000;chunk-signature=…`` (its size in hexadecimal digits), as many bytes, and the end of a line.
The last one has no byte. After it come lines ``name:value``, and an empty one.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator
from typing import IO, Final

from yarnmill.blobs.http.bodies import READ_BYTES
from yarnmill.blobs.http.s3.refusals import S3Error
from yarnmill.blobs.http.s3.signatures import BodySignatures

_SIZE: Final = re.compile(rb"(?P<size>[0-9a-fA-F]{1,16})(?:;chunk-signature=(?P<signature>[0-9a-f]{64}))?\r\n")
_MOST_LINE_BYTES: Final = 1024
_MOST_TRAILERS: Final = 16
_TRAILER_SIGNATURE: Final = "x-amz-trailer-signature"


def decoded(stream: IO[bytes], signatures: BodySignatures | None, trailers: dict[str, str]) -> Iterator[bytes]:
    """Yield what a body holds; no more than a part of a piece is in memory.

    A piece is handed on before its signature is seen: whoever takes it must drop all of it if this fails.

    Parameters
    ----------
    stream
        The body.
    signatures
        What signs it, None: nothing does.
    trailers
        Filled with what follows the last piece.

    Raises
    ------
    S3Error
        If it has another form, ends too early, or a signature is not its own.
    """
    while True:
        match = _SIZE.fullmatch(stream.readline(_MOST_LINE_BYTES))
        if match is None:
            raise _malformed("a piece does not begin with its size")
        size, digest = int(match["size"], 16), hashlib.sha256()
        for data in _taken(stream, size):
            if signatures is not None:
                digest.update(data)
            yield data
        if signatures is not None:
            _compare(signatures.of_chunk(digest.hexdigest()), (match["signature"] or b"").decode())
        if not size:
            break
        if stream.read(2) != b"\r\n":
            raise _malformed("a piece is not followed by a line's end")
    trailers.update(_trailers(stream, signatures))


def _taken(stream: IO[bytes], size: int) -> Iterator[bytes]:
    while size:
        data = stream.read(min(size, READ_BYTES))
        if not data:
            raise _malformed(f"it ends {size} bytes before the end of a piece")
        size -= len(data)
        yield data


def _trailers(stream: IO[bytes], signatures: BodySignatures | None) -> dict[str, str]:
    found, digest = dict[str, str](), hashlib.sha256()
    for _ in range(_MOST_TRAILERS):
        line = stream.readline(_MOST_LINE_BYTES).rstrip(b"\r\n")
        if not line:
            break
        name, _, value = line.decode("latin-1").partition(":")
        found[name.strip().lower()] = value.strip()
        if name != _TRAILER_SIGNATURE:
            digest.update(f"{name.strip().lower()}:{value.strip()}\n".encode("latin-1"))
    if stream.read(1):
        raise _malformed("it goes on after its end")
    signed = found.pop(_TRAILER_SIGNATURE, "")
    if signatures is not None and (found or signed):
        _compare(signatures.of_trailer(digest.hexdigest()), signed)
    return found


def _compare(wanted: str, signature: str) -> None:
    if not hmac.compare_digest(wanted.encode(), signature.encode()):
        raise S3Error("SignatureDoesNotMatch", "a piece of the body is not what was signed")


def _malformed(what: str) -> S3Error:
    return S3Error("IncompleteBody", f"the body is not in aws-chunked form: {what}", mend="send it again")
