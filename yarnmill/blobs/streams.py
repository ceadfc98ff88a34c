"""A readable stream over bytes that come in pieces."""

import io
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from typing_extensions import override

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class PieceStream(io.RawIOBase):
    """A stream over pieces.

    Parameters
    ----------
    piece
        Gives the next piece, of whatever size but empty only at the end; its argument is how many bytes are wanted.
    done
        Is called when the stream is closed.
    """

    def __init__(self, piece: Callable[[int], bytes], done: Callable[[], object]) -> None:
        super().__init__()
        self._piece, self._done = piece, done
        self._rest = memoryview(b"")

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: "WriteableBuffer") -> int:
        target = memoryview(buffer).cast("B")
        data = self._take(len(target))
        target[: len(data)] = data
        return len(data)

    @override
    def read(self, size: int | None = -1) -> bytes:
        """Return as many bytes as were asked for, fewer only at the end; a piece that fits is not copied."""
        wanted = sys.maxsize if size is None or size < 0 else size
        parts = []
        while wanted > 0 and (part := self._take(wanted)):
            parts.append(part)
            wanted -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _take(self, most: int) -> bytes:
        if not self._rest:
            piece = self._piece(most)
            if len(piece) <= most:
                return piece
            self._rest = memoryview(piece)
        taken, self._rest = bytes(self._rest[:most]), self._rest[most:]
        return taken

    @override
    def close(self) -> None:
        if not self.closed:
            super().close()
            self._done()


def stream_of(chunks: Iterator[bytes]) -> PieceStream:
    """Return a stream over an iterator of chunks, none of them empty."""
    return PieceStream(lambda _: next(chunks, b""), lambda: None)
