"""Blobs as bytes: whatever of them is flipped, cut or added is found; parts are what they would be of the whole."""

import hashlib
import io
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yarnmill.blobs.record import CHUNK_BYTES, Known, RecordReader, RecordWriter
from yarnmill.blobs.store import Attributes
from yarnmill.errors import BadDataError


def written(data: bytes, *, step: int = 100_000) -> bytes:
    target = io.BytesIO()
    writer = RecordWriter(target)
    for at in range(0, len(data), step):
        writer.write(data[at : at + step])
    assert (writer.size_bytes, writer.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    writer.finish(Known(id="a" * 32, sha256=writer.sha256, created_at_ms=7, attributes=Attributes(user={"k": "é"})))
    return target.getvalue()


def reader_of(record: bytes, before: bytes = b"") -> RecordReader:
    return RecordReader(io.BytesIO(before + record), len(before) + len(record), "blob x")


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 5])
@pytest.mark.parametrize("before", [b"", b"another record"])
def test_what_was_written_is_read(size: int, before: bytes) -> None:
    data = secrets.token_bytes(size)
    reader = reader_of(written(data), before)
    assert b"".join(reader.whole()) == data
    assert (reader.start, reader.size_bytes) == (len(before), size)
    assert reader.known.attributes == Attributes(user={"k": "é"})


@given(start=st.integers(0, 700_000), stop=st.integers(0, 700_000))
def test_a_part_is_a_part_of_the_whole(start: int, stop: int) -> None:
    assert b"".join(READER.chunks(start, stop)) == DATA[start:stop]


DATA = secrets.token_bytes(600_000)
READER = reader_of(written(DATA))


@given(bit=st.integers(0, 8 * (2000 + 500) - 1))
def test_no_flipped_bit_is_ever_read(bit: int) -> None:
    record = bytearray(SMALL)
    bit %= 8 * len(record)
    record[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadDataError, match="blob x is damaged"):
        list(reader_of(bytes(record)).whole())


SMALL = written(secrets.token_bytes(2000))


@given(cut=st.integers(1, len(SMALL)), front=st.booleans())
def test_no_cut_record_is_ever_read(cut: int, front: bool) -> None:  # noqa: FBT001  # hypothesis' own
    record = SMALL[cut:] if front else SMALL[:-cut]
    with pytest.raises(BadDataError):
        list(reader_of(record).whole())


def test_what_lies_before_a_damaged_chunk_is_handed_out_and_it_is_not() -> None:
    data = secrets.token_bytes(2 << 20)
    record = bytearray(written(data))
    record[(1 << 20) + CHUNK_BYTES + 10] ^= 4
    chunks = reader_of(bytes(record)).chunks(0, len(data))
    assert next(chunks) == data[: 1 << 20]
    bad = (1 << 20) + CHUNK_BYTES
    with pytest.raises(BadDataError, match=f"its bytes {bad} to {bad + CHUNK_BYTES}"):
        next(chunks)
