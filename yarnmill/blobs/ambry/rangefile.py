"""A blob of Ambry's as a file that can seek: each read is a request for a range."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from yarnmill.blobs.ambry.rest import AmbryRest
from yarnmill.blobs.ids import BlobName

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_TAIL_BYTES: Final = 64 * 1024


class RangeFile(io.RawIOBase):
    """Opened by one request for its end, which brings a small blob whole.

    Parameters
    ----------
    rest
        What sends the requests.
    name
        The blob's name.
    """

    def __init__(self, rest: AmbryRest, name: BlobName) -> None:
        super().__init__()
        self._rest, self._name = rest, name
        self._tail = rest.tail(name, _TAIL_BYTES)
        self._at = 0

    @property
    def size_bytes(self) -> int:
        """The size of the whole."""
        return self._tail.size_bytes

    @property
    def headers(self) -> Mapping[str, str]:
        """What Ambry says of it."""
        return self._tail.headers

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size_bytes}[whence]
        self._at = base + offset
        return self._at

    @override
    def tell(self) -> int:
        return self._at

    @override
    def read(self, size: int | None = -1) -> bytes:
        stop = self.size_bytes if size is None or size < 0 else min(self._at + size, self.size_bytes)
        start = self._at
        if start >= stop:
            return b""
        kept = self._tail.start
        if start >= kept:
            data = self._tail.data[start - kept : stop - kept]
        else:
            data = self._rest.range(self._name, start, stop).data
        self._at += len(data)
        return data

    @override
    def readinto(self, buffer: "WriteableBuffer") -> int:
        target = memoryview(buffer).cast("B")
        data = self.read(len(target))
        target[: len(data)] = data
        return len(data)
