"""A blob store in a folder of any file system: a local disk or HDFS.

Layout below the root::

    sha256/<first two digits>/<id>     a blob; never changed, never overwritten
    incoming/<random>                  a put under way, or the leftover of one that died

256 folders keep a listing of some million blobs within what one NameNode call returns in pages, and do
not cost the NameNode an object for nearly every blob as two levels of folders would.
"""

import hashlib
import io
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from typing_extensions import override

from yarnmill import fs
from yarnmill.blobs.contents import ChunkStream, is_blob_id, parse_blob_id, verified
from yarnmill.blobs.store import BlobInfo, BlobStore, Damage
from yarnmill.errors import ConflictError, NotFoundError

_CHUNK_BYTES: Final = 1024 * 1024
_SMALL_BYTES: Final = 8 * 1024 * 1024
"""Up to this size an opened blob is held in memory; a larger one is read twice: to check, then to hand out."""


class FileSystemBlobStore(BlobStore):
    """Content-addressed blobs below ``url``; see :class:`yarnmill.blobs.store.BlobStore`."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    @property
    @override
    def url(self) -> str:
        return self._url

    @override
    def put(self, stream: IO[bytes]) -> BlobInfo:
        digest = hashlib.sha256()
        size_bytes = 0
        fresh = fs.join(self._url, "incoming", secrets.token_hex(16))
        with fs.open_fresh(fresh) as target:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
                target.write(chunk)
                size_bytes += len(chunk)
        info = BlobInfo(id=digest.hexdigest(), size_bytes=size_bytes)
        try:
            fs.rename(fresh, self._blob_url(info.id))
        except ConflictError:
            # The bytes are here already. Their writer was told that they are safe, and so will ours be:
            # only after a look at every one of them.
            fs.delete(fresh)
            self.check(info.id)
        except BaseException:
            with suppress(Exception):
                fs.delete(fresh)
            raise
        return info

    @override
    def open(self, blob_id: str) -> IO[bytes]:
        if self.stat(blob_id).size_bytes <= _SMALL_BYTES:
            return io.BytesIO(b"".join(self._verified_chunks(blob_id)))
        self.check(blob_id)
        # Checked once more while it flows: a disk may go bad between the two readings.
        return io.BufferedReader(ChunkStream(self._verified_chunks(blob_id)), _CHUNK_BYTES)

    @override
    def read_part(self, blob_id: str, start: int, size_bytes: int) -> bytes:
        self.stat(blob_id)
        url = self._blob_url(blob_id)
        chunks = []
        with fs.open_read(url) as stream, fs.translated(url):
            stream.seek(start)
            while size_bytes > 0 and (chunk := stream.read(size_bytes)):
                chunks.append(chunk)
                size_bytes -= len(chunk)
        return b"".join(chunks)

    @override
    def download(self, blob_id: str, path: Path) -> BlobInfo:
        info = self.stat(blob_id)
        with fs.open_write(path) as target:
            for chunk in self._verified_chunks(blob_id):
                target.write(chunk)
        return info

    @override
    def exists(self, blob_id: str) -> bool:
        return fs.exists(self._blob_url(parse_blob_id(blob_id)))

    @override
    def stat(self, blob_id: str) -> BlobInfo:
        try:
            found = fs.info(self._blob_url(parse_blob_id(blob_id)))
        except NotFoundError:
            raise NotFoundError(
                f"{self._url}: no blob {blob_id}", mend=f"yarnmill blobs ls --root {self._url}"
            ) from None
        return BlobInfo(id=blob_id, size_bytes=found.size_bytes)

    @override
    def ids(self) -> Iterator[str]:
        for file in self._files():
            if self._is_blob(file):
                yield file.name

    @override
    def check(self, blob_id: str) -> BlobInfo:
        size_bytes = sum(len(chunk) for chunk in self._verified_chunks(blob_id))
        return BlobInfo(id=blob_id, size_bytes=size_bytes)

    @override
    def strays(self) -> Iterator[Damage]:
        for file in self._files():
            if not self._is_blob(file):
                problem = "no blob has this name in this place"
                yield Damage(blob=file.name, url=file.url, problem=problem, size_bytes=file.size_bytes)

    def _blob_url(self, blob_id: str) -> str:
        return fs.join(self._url, "sha256", blob_id[:2], blob_id)

    def _verified_chunks(self, blob_id: str) -> Iterator[bytes]:
        self.stat(blob_id)
        url = self._blob_url(blob_id)
        return verified(fs.read_chunks(url, _CHUNK_BYTES), blob_id, url)

    def _files(self) -> Iterator[fs.FileInfo]:
        folder = fs.join(self._url, "sha256")
        return fs.walk_files(folder) if fs.exists(folder) else iter(())

    def _is_blob(self, file: fs.FileInfo) -> bool:
        return is_blob_id(file.name) and file.url == self._blob_url(file.name)
