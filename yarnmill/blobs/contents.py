"""Ids of blobs, and bytes that are hashed while they flow."""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from yarnmill.errors import BadDataError, ConfigurationError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_ID: Final = re.compile(r"[0-9a-f]{64}")


def is_blob_id(text: str) -> bool:
    """Return whether ``text`` has the form of a blob id."""
    return _ID.fullmatch(text) is not None


def parse_blob_id(text: str) -> str:
    """Return ``text`` if it is a blob id: no other text of a user ever reaches a file name.

    Raises
    ------
    ConfigurationError
        If it is not 64 lower-case hexadecimal digits.
    """
    if not is_blob_id(text):
        raise ConfigurationError(
            f"{text!r} is no blob id", expected="64 hexadecimal digits, as `yarnmill blobs ls` prints"
        )
    return text


def verified(chunks: Iterable[bytes], blob_id: str, url: str) -> Iterator[bytes]:
    """Yield ``chunks`` unchanged; after the last one, BadDataError if they do not hash to ``blob_id``."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    refuse_unless_equal(digest.hexdigest(), blob_id, url)


def refuse_unless_equal(seen: str, blob_id: str, url: str) -> None:
    """Raise BadDataError, naming the blob and both hashes, unless ``seen`` is the hash that the id promises."""
    if seen != blob_id:
        raise BadDataError(
            f"blob {blob_id} at {url} is damaged: its bytes have the SHA-256 {seen}",
            expected=f"bytes with the SHA-256 {blob_id}",
            mend="keep the damaged file for inspection under another name, then put the blob again from its source",
        )


class ChunkStream(io.RawIOBase):
    """A readable stream over an iterator of chunks; wrap it in a BufferedReader."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._rest = memoryview(b"")

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: "WriteableBuffer") -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        target = memoryview(buffer).cast("B")
        taken = min(len(target), len(self._rest))
        target[:taken] = self._rest[:taken]
        self._rest = self._rest[taken:]
        return taken
