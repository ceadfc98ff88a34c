"""A blob that was found and opened: what is known of it and its bytes are one answer of the file system."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import IO

from yarnmill import fs
from yarnmill.blobs.record import RecordReader
from yarnmill.blobs.store import BlobInfo
from yarnmill.blobs.streams import ChunkStream


class OpenRecord:
    """A blob in an open file; see :class:`yarnmill.blobs.store.OpenBlob`.

    Parameters
    ----------
    found
        What opens the file on entry, and closes it on exit.
    url
        What errors of the file system call it.
    """

    def __init__(self, found: AbstractContextManager[tuple[RecordReader, BlobInfo]], url: str) -> None:
        self._url = url
        self._stack = ExitStack()
        self._reader, self.info = self._stack.enter_context(found)

    def part(self, start: int = 0, stop: int | None = None) -> IO[bytes]:
        """Return bytes as a stream; closing it closes the blob."""
        end = self.info.size_bytes if stop is None else min(stop, self.info.size_bytes)
        return ChunkStream(self._chunks(start, end), self.close)  # type: ignore[return-value]  # typeshed

    def _chunks(self, start: int, end: int) -> Iterator[bytes]:
        if start < end:
            with fs.translated(self._url):
                yield from self._reader.chunks(start, end)

    def close(self) -> None:
        """Close the file; nothing happens if it is."""
        self._stack.close()
