"""The immutable blob store: bytes written once, named for ever, verified on read.

It knows file systems and hashes; it does not know what a blob holds.
"""

from urllib.parse import urlsplit

from yarnmill.blobs.filesystem import FileSystemBlobStore
from yarnmill.blobs.ids import BlobName, is_content_id, parse_blob_id, parse_name
from yarnmill.blobs.store import Attributes, BlobInfo, BlobStore, Damage, OpenBlob
from yarnmill.errors import ConfigurationError

__all__ = [
    "Attributes",
    "BlobInfo",
    "BlobName",
    "BlobStore",
    "Damage",
    "FileSystemBlobStore",
    "OpenBlob",
    "is_content_id",
    "open_store",
    "parse_blob_id",
    "parse_name",
]


def open_store(url: str) -> BlobStore:
    """Return the blob store rooted at ``url``: a folder (``file://…``), HDFS (``hdfs://…``) or Ambry (``ambry+http://…``).

    Nothing is made or contacted before the first call on the store.

    Raises
    ------
    ConfigurationError
        If the URL names another kind of file system.
    """
    scheme = urlsplit(url).scheme
    if scheme in {"ambry+http", "ambry+https"}:
        from yarnmill.blobs.ambry import AmbryBlobStore  # noqa: PLC0415  # only those who use it pay for it

        return AmbryBlobStore(url)
    if scheme not in {"", "file", "hdfs"}:
        raise ConfigurationError(f"{url}: unknown file system {scheme!r}", expected="hdfs://, file:// or ambry+http://")
    return FileSystemBlobStore(url)
