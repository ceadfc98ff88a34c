"""What a blob store is to those who use it, whatever keeps the bytes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol

import msgspec

from yarnmill.blobs.ids import BlobName
from yarnmill.records import Record


class Attributes(Record, frozen=True):
    """What the owner of a blob says of it when it is put; none of it is ever changed.

    Parameters
    ----------
    content_type
        Media type, as HTTP has it.
    owner
        Who put it, in their own words.
    service
        The program that put it.
    account, container
        Whose it is, for a blob without a name; a name says it otherwise.
    private
        Whether who reads a blob without a name must be known to the server in front of the store.
    expires_at_ms
        When it is gone (milliseconds since 1970), None: never. :meth:`BlobStore.update_ttl` can move it.
    user
        Names and values of their own.
    """

    content_type: str = "application/octet-stream"
    owner: str = ""
    service: str = ""
    account: str = ""
    container: str = ""
    private: bool = True
    expires_at_ms: int | None = None
    user: Mapping[str, str] = msgspec.field(default_factory=dict)


class BlobInfo(Record, frozen=True):
    """A blob that is there.

    Parameters
    ----------
    id
        What it is asked for by.
    size_bytes, sha256
        Length and SHA-256 (hex) of the content.
    created_at_ms
        When it was put; milliseconds since 1970 as the next.
    expires_at_ms
        When it is gone, None: never.
    attributes
        Those it was put with; None if it was put for its content alone.
    """

    id: str
    size_bytes: int
    sha256: str
    created_at_ms: int
    expires_at_ms: int | None = None
    attributes: Attributes | None = None


class Damage(Record, frozen=True):
    """Something in a store that is not what its name says, and where it lies."""

    blob: str
    url: str
    problem: str
    size_bytes: int


class OpenBlob(Protocol):
    """A blob that is open, until it or a part of it is closed."""

    @property
    def info(self) -> BlobInfo:
        """What is known of it."""

    def part(self, start: int = 0, stop: int | None = None) -> IO[bytes]:
        """Return the bytes from ``start`` up to ``stop``; none is handed out before it was checked."""

    def close(self) -> None:
        """Close it; nothing happens if it is."""


class BlobStore(Protocol):
    """Immutable bytes by id. Every method is safe to call from several processes and threads at once.

    A method that takes an id raises ConfigurationError if the text is no id, NotFoundError if the store has no such
    blob, GoneError if it was deleted or has expired, and BadDataError if the bytes are not those that were put. Damaged
    blobs stay where they are.
    """

    @property
    def url(self) -> str:
        """Root of the store, as :func:`yarnmill.blobs.open_store` takes it."""

    def put(self, stream: IO[bytes], attributes: Attributes | None = None, *, name: BlobName | None = None) -> BlobInfo:
        """Store what ``stream`` still holds, in constant memory.

        The blob is whole and durable when this returns, and not there at all when it fails.

        Parameters
        ----------
        stream
            The bytes.
        attributes
            None without a name: the id is the SHA-256 of the bytes, and the same bytes again are the same blob, also
            where it was deleted. Otherwise this is a blob of its own.
        name
            A name that it has for ever.

        Raises
        ------
        ConflictError
            If a blob has or had the name already. Of several writers at once one wins.
        """

    def opened(self, blob_id: str) -> OpenBlob:
        """Return a blob for whoever wants to know something of it before its bytes: it is looked for once."""

    def open(self, blob_id: str, start: int = 0, stop: int | None = None) -> IO[bytes]:
        """Return the bytes from ``start`` up to ``stop`` as a stream; none is handed out before it was checked."""

    def read_part(self, blob_id: str, start: int, size_bytes: int) -> bytes:
        """Return bytes from the middle of a blob, checked as always; fewer at its end."""

    def download(self, blob_id: str, path: Path) -> BlobInfo:
        """Write the verified bytes to a fresh local file, visible at once and whole.

        Raises
        ------
        ConflictError
            If ``path`` is there already.
        """

    def exists(self, blob_id: str) -> bool:
        """Return whether the store has the blob, neither deleted nor expired, without reading it."""

    def stat(self, blob_id: str, *, ended: bool = False) -> BlobInfo:
        """Return what is known of a blob without reading it.

        Parameters
        ----------
        blob_id
            Which one.
        ended
            Tell also of one that was deleted or has expired, until it is collected.
        """

    def ids(self) -> Iterator[str]:
        """Yield the id of every blob, the deleted and expired ones too until they are collected."""

    def names(
        self, account: str, container: str, prefix: str = "", after: str = "", most: int | None = None
    ) -> list[BlobName]:
        """Return the names in a container, in order of their characters.

        Those of deleted and expired blobs too, until they are collected.

        Parameters
        ----------
        account, container
            Where.
        prefix
            What they begin with.
        after
            The name that they come after, such as the last one of a page.
        most
            How many at most, None: all of them.
        """

    def containers(self, account: str) -> list[str]:
        """Return the containers of an account that names are in, in order of their characters."""

    def delete(self, blob_id: str) -> None:
        """Make a blob gone; nothing happens if it is. Its bytes stay until they are collected."""

    def undelete(self, blob_id: str) -> BlobInfo:
        """Bring a deleted blob back that was not collected yet; nothing happens if it is not deleted.

        Raises
        ------
        GoneError
            If it has expired.
        """

    def update_ttl(self, blob_id: str, expires_at_ms: int | None) -> BlobInfo:
        """Set when a blob is gone, None: never."""

    def check(self, blob_id: str) -> BlobInfo:
        """Read a blob from end to end and throw the bytes away; BadDataError if they are not the blob's."""

    def strays(self) -> Iterator[Damage]:
        """Yield what lies among the blobs and is none. What unfinished puts left behind does not count."""
