"""What a blob store is to those who use it, whatever keeps the bytes."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from yarnmill.records import Record


class BlobInfo(Record, frozen=True):
    """A blob: its id, which is the SHA-256 (hex) of its bytes, and its size."""

    id: str
    size_bytes: int


class Damage(Record, frozen=True):
    """Something in a store that is not what its name says, and where it lies."""

    blob: str
    url: str
    problem: str
    size_bytes: int


class BlobStore(Protocol):
    """Immutable bytes by id. Every method is safe to call from several processes and threads at once.

    A method that takes an id raises ConfigurationError if the text is no id, NotFoundError if the store
    has no such blob, and BadDataError if the bytes do not hash to the id. Damaged blobs stay where they are.
    """

    @property
    def url(self) -> str:
        """Root of the store, as :func:`yarnmill.blobs.open_store` takes it."""

    def put(self, stream: IO[bytes]) -> BlobInfo:
        """Store what ``stream`` still holds, in constant memory; the same bytes again are the same blob.

        The blob is whole and durable when this returns, and not there at all when it fails.
        """

    def open(self, blob_id: str) -> IO[bytes]:
        """Return the verified bytes as a stream. Not one is handed out before all were checked."""

    def read_part(self, blob_id: str, start: int, size_bytes: int) -> bytes:
        """Return bytes from the middle of a blob as they lie there, fewer at its end.

        A part cannot be verified: it is for whoever has had the blob checked and now reads it from many places.
        """

    def download(self, blob_id: str, path: Path) -> BlobInfo:
        """Write the verified bytes to a fresh local file, visible at once and whole.

        Raises
        ------
        ConflictError
            If ``path`` is there already.
        """

    def exists(self, blob_id: str) -> bool:
        """Return whether the store has the blob, without reading it."""

    def stat(self, blob_id: str) -> BlobInfo:
        """Return what is known of a blob without reading it."""

    def ids(self) -> Iterator[str]:
        """Yield the id of every blob, ascending."""

    def check(self, blob_id: str) -> BlobInfo:
        """Read a blob from end to end and throw the bytes away; BadDataError if they are not the blob's."""

    def strays(self) -> Iterator[Damage]:
        """Yield what lies among the blobs and is none. What unfinished puts left behind does not count."""
