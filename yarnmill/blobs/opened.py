"""A blob that was found and opened: what is known of it and its bytes are one answer of the file system."""

from abc import abstractmethod
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import IO, Final

from typing_extensions import override

from yarnmill import fs
from yarnmill.blobs.ids import BlobName, fresh_id
from yarnmill.blobs.record import Known, RecordReader, RecordWriter
from yarnmill.blobs.states import now_ms
from yarnmill.blobs.store import Attributes, BlobInfo, BlobStore
from yarnmill.blobs.streams import PieceStream

_READ_BYTES: Final = 1 << 20


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
        at = start

        def piece(most: int) -> bytes:
            nonlocal at
            with fs.translated(self._url):
                found = self._reader.piece(at, end, most)
            at += len(found)
            return found

        return PieceStream(piece, self.close)  # type: ignore[return-value]  # typeshed

    def close(self) -> None:
        """Close the file; nothing happens if it is."""
        self._stack.close()


class RecordStore(BlobStore):
    """Blobs that lie as records somewhere: how they are read, wherever that is."""

    @abstractmethod
    def _opened(self, blob_id: str) -> AbstractContextManager[tuple[RecordReader, BlobInfo]]:
        """Open a blob that is neither deleted nor expired."""

    @override
    def opened(self, blob_id: str) -> OpenRecord:
        return OpenRecord(self._opened(blob_id), self.url)

    @override
    def open(self, blob_id: str, start: int = 0, stop: int | None = None) -> IO[bytes]:
        return self.opened(blob_id).part(start, stop)

    @override
    def read_part(self, blob_id: str, start: int, size_bytes: int) -> bytes:
        with self.open(blob_id, start, start + size_bytes) as stream:
            return stream.read()

    @override
    def download(self, blob_id: str, path: Path) -> BlobInfo:
        with self._opened(blob_id) as (reader, info), fs.open_write(path) as target:
            for chunk in reader.whole():
                target.write(chunk)
        return info


def write_record(
    source: IO[bytes], target: IO[bytes], attributes: Attributes | None, name: BlobName | None
) -> tuple[Known, int]:
    """Write what a stream still holds as the record of a blob; return what is known of it and the content's size."""
    writer = RecordWriter(target)
    while chunk := source.read(_READ_BYTES):
        writer.write(chunk)
    own = None if attributes is None else fresh_id()
    blob_id = name.id if name is not None else own or writer.sha256
    known = Known(id=blob_id, sha256=writer.sha256, created_at_ms=now_ms(), attributes=attributes)
    writer.finish(known)
    return known, writer.size_bytes
