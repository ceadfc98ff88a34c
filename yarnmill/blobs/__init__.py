"""The immutable blob store: bytes written once, named by their hash, verified on read.

It knows file systems and hashes; it does not know what a blob holds.
"""

from yarnmill.blobs.contents import parse_blob_id
from yarnmill.blobs.filesystem import FileSystemBlobStore
from yarnmill.blobs.store import BlobInfo, BlobStore, Damage

__all__ = ["BlobInfo", "BlobStore", "Damage", "FileSystemBlobStore", "open_store", "parse_blob_id"]


def open_store(url: str) -> BlobStore:
    """Return the blob store rooted at ``url``: a folder (``file://…``) or HDFS (``hdfs://…``).

    Nothing is made or contacted before the first call on the store.

    Raises
    ------
    ConfigurationError
        If the URL names another kind of file system.
    """
    return FileSystemBlobStore(url)
