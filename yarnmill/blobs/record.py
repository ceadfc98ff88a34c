"""A blob as bytes: its content, a checksum for every chunk of it, and what is known of it.

::

    content | checksums, 8 bytes a chunk | what is known, as JSON | lengths, checksum and mark, 28 bytes

The content comes first and its length need not be known before: a blob is written in one pass. What follows is read
from the end. Every byte that is handed out was compared with the checksum of its chunk (XXH3, 64 bits); the SHA-256 of
the whole is compared where the whole is read.
"""

import struct
from collections.abc import Iterator
from typing import IO, Final

import xxhash

from yarnmill.blobs.digesting import Digesting
from yarnmill.blobs.store import Attributes
from yarnmill.errors import BadDataError
from yarnmill.records import Record, canonical_json, parse_json

CHUNK_BYTES: Final = 256 * 1024
_TAIL: Final = struct.Struct("<QII4sQ")  # content, JSON, chunk size, mark, checksum of all after the content
_MARK: Final = b"YMb1"
_MOST_CHUNKS: Final = 4
"""So many are read at once at most."""

_TAIL_READ: Final = 64 * 1024
_CHECKSUM_BYTES: Final = 8


class Known(Record, frozen=True):
    """What stands beside a content: the blob's id, its SHA-256 (hex), when it was put, and what its owner said."""

    id: str
    sha256: str
    created_at_ms: int
    attributes: Attributes | None


class RecordWriter:
    """Writes a blob to a stream in one pass; the SHA-256 is found in a thread beside, for it takes the longest."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._digest = Digesting()
        self._chunk = xxhash.xxh3_64()
        self._in_chunk = 0
        self._checksums = bytearray()
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        """Add to the content."""
        self._digest.update(data)
        self._target.write(data)
        self.size_bytes += len(data)
        rest = memoryview(data)
        while rest:
            taken = rest[: CHUNK_BYTES - self._in_chunk]
            self._chunk.update(taken)
            self._in_chunk += len(taken)
            rest = rest[len(taken) :]
            if self._in_chunk == CHUNK_BYTES:
                self._end_chunk()

    @property
    def sha256(self) -> str:
        """SHA-256 of the content so far."""
        return self._digest.finish()

    def finish(self, known: Known) -> None:
        """Write what follows the content."""
        if self._in_chunk:
            self._end_chunk()
        about = canonical_json(known)
        lengths = self.size_bytes, len(about), CHUNK_BYTES
        after = bytes(self._checksums) + about
        self._target.write(after + _TAIL.pack(*lengths, _MARK, _checksum(after, lengths)))

    def _end_chunk(self) -> None:
        self._checksums += self._chunk.intdigest().to_bytes(_CHECKSUM_BYTES, "little")
        self._chunk.reset()
        self._in_chunk = 0


def _checksum(after: bytes, lengths: tuple[int, int, int]) -> int:
    return xxhash.xxh3_64_intdigest(after + struct.pack("<QII", *lengths))


class RecordReader:
    """A blob within an open file.

    Parameters
    ----------
    stream
        The file, which can seek.
    stop
        Where the record ends in it; it begins where its lengths say.
    source
        What errors call it.
    remote
        Whether each reading is a request to another machine, which is to bring more than one chunk.

    Raises
    ------
    BadDataError
        If no whole record ends there.
    """

    def __init__(self, stream: IO[bytes], stop: int, source: str, *, remote: bool = False) -> None:
        self._stream, self._source = stream, source
        self._least_chunks = _MOST_CHUNKS if remote else 1
        # One read brings a small blob whole.
        self._tail, self._tail_start = b"", max(0, stop - _TAIL_READ)
        self._tail = self._read(self._tail_start, stop - self._tail_start)
        if len(self._tail) < _TAIL.size:
            raise self._damaged("it is too short")
        self.size_bytes, about_bytes, self._chunk_bytes, mark, checksum = _TAIL.unpack_from(
            self._tail, len(self._tail) - _TAIL.size
        )
        if mark != _MARK or not self._chunk_bytes:
            raise self._damaged("it does not end as one")
        chunks = -(-self.size_bytes // self._chunk_bytes)
        after_bytes = chunks * _CHECKSUM_BYTES + about_bytes
        end = stop - _TAIL.size
        self.start = end - after_bytes - self.size_bytes
        if self.start < 0:
            raise self._damaged("its lengths do not fit")
        after = self._read(end - after_bytes, after_bytes)
        if _checksum(after, (self.size_bytes, about_bytes, self._chunk_bytes)) != checksum:
            raise self._damaged("what is known of it does not fit its checksum")
        self._checksums = struct.unpack_from(f"<{chunks}Q", after)
        self.known = parse_json(after[chunks * _CHECKSUM_BYTES :], Known, source=source)

    def piece(self, start: int, stop: int, most: int) -> bytes:
        """Return content from one byte on and before another, once its chunks are known to be sound; empty at the end.

        One reading brings as many chunks as ``most`` bytes are, four at most, one at least: whoever reads as many
        bytes as whole chunks have gets them without a copy.
        """
        stop = min(stop, self.size_bytes)
        if start >= stop:
            return b""
        number = start // self._chunk_bytes
        wanted = min(max(most // self._chunk_bytes, self._least_chunks), _MOST_CHUNKS)
        # To the end of the chunk that ``stop`` lies in at most.
        end = min(number + wanted, -(-stop // self._chunk_bytes)) * self._chunk_bytes
        first, last = number * self._chunk_bytes, min(end, self.size_bytes)
        data = self._read(self.start + first, last - first)
        self._check(first, last, data)
        return data if start == first and last <= stop else data[start - first : stop - first]

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the content from one byte up to another, some chunks at a time."""
        while data := self.piece(start, stop, _MOST_CHUNKS * self._chunk_bytes):
            yield data
            start += len(data)

    def _check(self, first: int, last: int, data: bytes) -> None:
        view = memoryview(data)
        for at in range(first, last, self._chunk_bytes):
            chunk = view[at - first : at - first + self._chunk_bytes]
            expected = self._checksums[at // self._chunk_bytes]
            if len(data) < last - first or xxhash.xxh3_64_intdigest(chunk) != expected:
                raise self._damaged(f"its bytes {at} to {min(at + self._chunk_bytes, last)} do not fit their checksum")

    def whole(self) -> Iterator[bytes]:
        """Yield all of the content; at its end also its SHA-256 is known to be the one it was put with."""
        digest = Digesting()
        try:
            for data in self.chunks(0, self.size_bytes):
                digest.update(data)
                yield data
        finally:
            found = digest.finish()
        if found != self.known.sha256:
            raise self._damaged(f"its SHA-256 is {found}, and was {self.known.sha256} when it was put")

    def _read(self, start: int, size: int) -> bytes:
        if self._tail and start >= self._tail_start:
            return self._tail[start - self._tail_start :][:size]
        return read_between(self._stream, start, start + size)

    def _damaged(self, problem: str) -> BadDataError:
        return damaged(self._source, problem)


def damaged(source: str, problem: str) -> BadDataError:
    """Return the error of a blob that is not what was put."""
    return BadDataError(
        f"{source} is damaged: {problem}",
        mend="yarnmill blobs quarantine sets it aside; then put the blob again from its source",
    )


def read_between(stream: IO[bytes], start: int, stop: int) -> bytes:
    """Return the bytes of an open file from one up to another, fewer if it ends before."""
    stream.seek(start)
    parts, size = [], stop - start
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
