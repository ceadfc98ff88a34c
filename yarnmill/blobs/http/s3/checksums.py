"""Checksums that a client sends with a body: each is compared, and one that cannot be is refused, never passed over."""

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

import xxhash

from yarnmill.blobs.http.s3.crc import Crc32C, Crc64Nvme
from yarnmill.blobs.http.s3.refusals import S3Error

CHECKSUM: Final = "x-amz-checksum-"
CONTENT_MD5: Final = "content-md5"

_SAYS_HOW: Final = (f"{CHECKSUM}algorithm", f"{CHECKSUM}mode", f"{CHECKSUM}type")
"""What is named like a checksum and is none."""


class Digest(Protocol):
    """A checksum under way."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""

    def digest(self) -> bytes:
        """Return the checksum of all bytes so far."""


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def _md5() -> Digest:
    return hashlib.md5(usedforsecurity=False)


def _sha1() -> Digest:
    return hashlib.sha1(usedforsecurity=False)


ALGORITHMS: Final[Mapping[str, Callable[[], Digest]]] = {
    "crc32": _Crc32,
    "crc32c": Crc32C,
    "crc64nvme": Crc64Nvme,
    "md5": _md5,
    "sha1": _sha1,
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "xxhash3": xxhash.xxh3_64,
    "xxhash64": xxhash.xxh64,
    "xxhash128": xxhash.xxh3_128,
}


def algorithm_of(header: str) -> str:
    """Return the algorithm of a checksum's header, by its name in lower case.

    Raises
    ------
    S3Error
        If it is none that can be computed here.
    """
    name = "md5" if header == CONTENT_MD5 else header.removeprefix(CHECKSUM)
    if name not in ALGORITHMS:
        raise S3Error("NotImplemented", f"{header}: not known here", expected=f"one of {', '.join(ALGORITHMS)}")
    return name


def checksum_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers, by their names in lower case, that say what a body's checksum is."""
    return {
        name: value
        for name, value in headers.items()
        if name == CONTENT_MD5 or (name.startswith(CHECKSUM) and name not in _SAYS_HOW)
    }


def compared(chunks: Iterator[bytes], names: tuple[str, ...], said: Mapping[str, str]) -> Iterator[bytes]:
    """Yield chunks, and compare their checksums with those that were said.

    Parameters
    ----------
    chunks
        The bytes.
    names
        Headers, or trailers, whose checksums must be there at the end.
    said
        Their values; read after the last chunk, which a trailer follows.

    Raises
    ------
    S3Error
        If a checksum is another, is missing or cannot be one.
    """
    digests = {name: ALGORITHMS[algorithm_of(name)]() for name in names}
    expected = {name: _bytes_of(name, said[name], digests[name]) for name in names if name in said}
    for chunk in chunks:
        for digest in digests.values():
            digest.update(chunk)
        yield chunk
    for name, digest in digests.items():
        if name not in said:
            raise S3Error("IncompleteBody", f"{name} was announced and is missing", expected="a trailer of that name")
        if digest.digest() != expected.get(name, _bytes_of(name, said[name], digest)):
            raise S3Error("BadDigest", f"{name} is {said[name]}, and the body's {render(digest)}", mend="send it again")


def render(digest: Digest) -> str:
    """Return a checksum as headers have it."""
    return base64.b64encode(digest.digest()).decode()


def _bytes_of(name: str, text: str, digest: Digest) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if len(value) != len(digest.digest()):
        raise S3Error("InvalidDigest", f"{name}: {text[:100]!r}", expected="the base64 of a checksum")
    return value
