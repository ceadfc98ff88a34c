"""A readable stream over bytes that come in chunks."""

import io
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Final

from typing_extensions import override

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER_BYTES: Final = 256 * 1024


class ChunkStream(io.RawIOBase):
    """A stream over an iterator of chunks; ``done`` is called when it is closed."""

    def __init__(self, chunks: Iterator[bytes], done: Callable[[], object]) -> None:
        super().__init__()
        self._chunks, self._done = chunks, done
        self._rest = memoryview(b"")

    @classmethod
    def buffered(cls, chunks: Iterator[bytes], done: Callable[[], object]) -> IO[bytes]:
        """Return a stream that may be read line by line too."""
        return io.BufferedReader(cls(chunks, done), _BUFFER_BYTES)

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

    @override
    def close(self) -> None:
        if not self.closed:
            super().close()
            self._done()
