"""Large records in pieces: the JVM, which keeps what Python made, takes every record as one array of bytes.

The rows of an entity lie in one partition however many they are, and a partition's block is one record. As one
array of some hundred megabytes it is copied several times over in the heap of an executor, which ends there; in
pieces it streams into the cache, or to the disk when memory is short.
"""

import io
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PIECE_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a pickled record; a record's pieces follow one another."""

    data: bytes
    is_last: bool


def in_pieces(partition: int, record: object) -> Iterator[tuple[int, Piece]]:
    """Yield a record as pieces of at most ``PIECE_BYTES``."""
    written = _Written()
    pickle.dump(record, written, protocol=5)
    yield from written.pieces(partition)


def whole(records: Iterable[tuple[int, Any]]) -> Iterator[Any]:
    """Yield the records of a partition; those that were taken apart are put together again."""
    rest = iter(records)
    for _, record in rest:
        # What is read was pickled by in_pieces on its way through Spark, which pickles all else alike.
        yield pickle.load(io.BufferedReader(_Read(record, rest))) if isinstance(record, Piece) else record  # noqa: S301


class _Written:
    """Collects what a pickler writes; large arrays come as views and are copied once."""

    def __init__(self) -> None:
        self._pieces: list[bytearray] = [bytearray()]

    def write(self, data: "bytes | memoryview | pickle.PickleBuffer") -> int:
        view = memoryview(data).cast("B")
        start = 0
        while start < len(view):
            if len(self._pieces[-1]) == PIECE_BYTES:
                self._pieces.append(bytearray())
            taken = min(PIECE_BYTES - len(self._pieces[-1]), len(view) - start)
            self._pieces[-1] += view[start : start + taken]
            start += taken
        return len(view)

    def pieces(self, partition: int) -> Iterator[tuple[int, Piece]]:
        self._pieces.reverse()
        while self._pieces:  # each is let go as it is handed out
            data = bytes(self._pieces.pop())
            yield partition, Piece(data, is_last=not self._pieces)


class _Read(io.RawIOBase):
    """Reads a record from its first piece on, and none of what comes after its last."""

    def __init__(self, first: Piece, rest: Iterator[tuple[int, Any]]) -> None:
        super().__init__()
        self._piece, self._rest, self._at = first, rest, 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: "WriteableBuffer") -> int:
        if self._at == len(self._piece.data):
            if self._piece.is_last:
                return 0
            _, self._piece = next(self._rest)
            self._at = 0
        target = memoryview(buffer).cast("B")
        taken = min(len(target), len(self._piece.data) - self._at)
        target[:taken] = self._piece.data[self._at : self._at + taken]
        self._at += taken
        return taken
