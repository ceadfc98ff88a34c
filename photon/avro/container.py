"""Avro container files: written whole, read whole or by byte range.

A file is a header and blocks of records with a sync marker before each block. A range ``[start, end)`` of
bytes owns the blocks whose marker begins in it, which is Avro's own rule for splits: any ranges that
partition a file partition its records, so one big file is read by many workers.

References
----------
.. [1] Apache Avro 1.12 specification, "Object Container Files".
"""

import io
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Any, Final

import fastavro
import msgspec
from fastavro.schema import SchemaParseException
from typing_extensions import Buffer, override

from photon.avro.schemas import Schema
from yarnmill.errors import BadDataError

_DAMAGE: Final = (ValueError, EOFError, IndexError, KeyError, TypeError, zlib.error, SchemaParseException)
"""What fastavro raises on bytes that it cannot make sense of."""

Fields = dict[str, Any]
"""One record, as fastavro gives and takes it."""

_MARKER_BYTES: Final = 16
_BUFFER_BYTES: Final = 1 << 20

_HEADER: Final[Schema] = {
    "type": "record",
    "name": "org.apache.avro.file.Header",
    "fields": [
        {"name": "magic", "type": {"type": "fixed", "name": "Magic", "size": 4}},
        {"name": "meta", "type": {"type": "map", "values": "bytes"}},
        {"name": "sync", "type": {"type": "fixed", "name": "Sync", "size": _MARKER_BYTES}},
    ],
}


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a container file: its bytes, the marker between its blocks, the schema of its records."""

    data: bytes
    marker: bytes
    schema: Schema


def read_header(stream: IO[bytes]) -> Header:
    """Return the header of a container file; BadDataError if it has none."""
    stream.seek(0)
    if stream.read(4) != b"Obj\x01":
        raise BadDataError("no Avro container file", expected="a file that begins with Obj and the byte 1")
    stream.seek(0)
    found = fastavro.schemaless_reader(stream, _parsed_header(), None)
    if not isinstance(found, dict):
        raise TypeError("a header is a record")
    size = stream.tell()
    stream.seek(0)
    return Header(stream.read(size), found["sync"], msgspec.json.decode(found["meta"]["avro.schema"]))


@lru_cache(maxsize=1)
def _parsed_header() -> Schema:
    parsed: Schema = fastavro.parse_schema(_HEADER)  # type: ignore[assignment]  # a record's schema is a mapping
    return parsed


def read_records(stream: IO[bytes], *, start: int = 0, end: int | None = None) -> Iterator[Fields]:
    """Yield the records of the blocks whose markers begin in ``[start, end)``, all without bounds.

    Parameters
    ----------
    stream
        A container file, seekable.
    start, end
        Bytes; ``None``: to the end of the file.
    """
    header = read_header(stream)
    first = _after_marker(stream, header.marker, max(start, len(header.data) - _MARKER_BYTES))
    if first is None or (end is not None and first - _MARKER_BYTES >= end):
        return
    joined = io.BufferedReader(_Joined(header.data, stream, first), _BUFFER_BYTES)
    for block in fastavro.block_reader(joined):
        if end is not None and first + block.offset - len(header.data) - _MARKER_BYTES >= end:
            return
        yield from block  # type: ignore[misc]  # records, by the file's own schema


def _after_marker(stream: IO[bytes], marker: bytes, start: int) -> int | None:
    """Return the place behind the first marker that begins at ``start`` or later."""
    stream.seek(start)
    kept, place = b"", start
    while chunk := stream.read(_BUFFER_BYTES):
        window = kept + chunk
        found = window.find(marker)
        if found >= 0:
            return place - len(kept) + found + _MARKER_BYTES
        place += len(chunk)
        kept = window[-(_MARKER_BYTES - 1) :]
    return None


class _Joined(io.RawIOBase):
    """A header followed by a stream from some place on, read as one file."""

    def __init__(self, header: bytes, stream: IO[bytes], start: int) -> None:
        super().__init__()
        self._header, self._stream, self._at = header, stream, 0
        stream.seek(start)

    @override
    def readable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._at

    @override
    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer)
        data = self._header[self._at : self._at + len(view)] or self._stream.read(len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def write_records(stream: IO[bytes], schema: Schema, records: Iterable[Fields]) -> None:
    """Write a container file, deflated as Photon's own are."""
    fastavro.writer(stream, fastavro.parse_schema(schema), records, codec="deflate")


@contextmanager
def naming(source: str) -> Iterator[None]:
    """Turn what a damaged file makes fastavro raise into BadDataError that names ``source``."""
    try:
        yield
    except BadDataError as problem:
        raise BadDataError(f"{source}: {problem.what}", expected=problem.expected, mend=problem.mend) from None
    except _DAMAGE as problem:
        raise BadDataError(f"{source}: damaged, or no Avro ({type(problem).__name__}: {problem})") from problem
