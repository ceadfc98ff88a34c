"""Container files: any partition of the bytes is a partition of the records."""

import io
from itertools import pairwise

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photon.avro.container import naming, read_header, read_records, write_records
from photon.avro.schemas import NAMESPACE, TRAINING_EXAMPLE
from yarnmill.errors import BadDataError


def examples(count: int, width: int = 3) -> list[dict[str, object]]:
    return [
        {
            "uid": str(row),
            "label": row % 2,
            "features": [{"name": f"n{j}", "term": f"t{row}", "value": row / 7 + j} for j in range(width)],
            "metadataMap": {"user": str(row % 5)} if row % 3 else None,
            "weight": None if row % 4 else 0.5,
            "offset": None,
        }
        for row in range(count)
    ]


def container(count: int, codec: str, interval: int) -> bytes:
    stream = io.BytesIO()
    schema = fastavro.parse_schema(TRAINING_EXAMPLE)
    fastavro.writer(stream, schema, examples(count), codec=codec, sync_interval=interval)
    return stream.getvalue()


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(0, 60),
    codec=st.sampled_from(["null", "deflate"]),
    interval=st.sampled_from([1, 200, 100_000]),
    cuts=st.lists(st.floats(0.0, 1.0), max_size=6),
)
def test_ranges_that_partition_the_bytes_partition_the_records(
    count: int, codec: str, interval: int, cuts: list[float]
) -> None:
    data = container(count, codec, interval)
    places = [0, *sorted(int(cut * len(data)) for cut in cuts), len(data)]
    found = [
        record["uid"]
        for start, end in pairwise(places)
        for record in read_records(io.BytesIO(data), start=start, end=end)
    ]
    assert found == [str(row) for row in range(count)]


def test_what_is_written_is_read_by_another_reader_and_by_ours() -> None:
    stream = io.BytesIO()
    write_records(stream, TRAINING_EXAMPLE, examples(20))
    stream.seek(0)
    assert list(fastavro.reader(stream)) == examples(20)
    assert list(read_records(stream)) == examples(20)
    assert read_header(stream).schema["name"] == f"{NAMESPACE}.TrainingExampleAvro"


@pytest.mark.slow
def test_a_big_file_is_searched_across_buffers() -> None:
    data = container(40_000, "null", 16_000)
    assert len(data) > 3 << 20
    middle = len(data) // 2
    first = sum(1 for _ in read_records(io.BytesIO(data), end=middle))
    second = sum(1 for _ in read_records(io.BytesIO(data), start=middle))
    assert first + second == 40_000
    assert abs(first - second) < 2_000


def test_damage_is_named() -> None:
    with pytest.raises(BadDataError, match=r"rows\.avro: no Avro container file"), naming("rows.avro"):
        list(read_records(io.BytesIO(b"PAR1 and more")))
    data = container(50, "deflate", 100)
    with pytest.raises(BadDataError, match=r"cut\.avro: damaged"), naming("cut.avro"):
        list(read_records(io.BytesIO(data[:-40])))


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(place=st.floats(0.0, 1.0), bit=st.integers(0, 7))
def test_one_wrong_bit_is_named_wherever_it_is(place: float, bit: int) -> None:
    """Or not seen at all: Avro has no checksum of deflated blocks."""
    data = bytearray(container(50, "deflate", 10_000))
    data[int(place * (len(data) - 1))] ^= 1 << bit
    try:
        with naming("bit.avro"):
            list(read_records(io.BytesIO(bytes(data))))
    except BadDataError as problem:
        assert problem.what.startswith("bit.avro: ")  # noqa: PT017  # most bits raise, some do not
