"""Parquet in ranges: every row once, whatever the ranges; and parts that are whole and small."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.game.files import Range
from jobs.parquet_parts import PartWriter, ReadParquet, parquet_ranges
from yarnmill.errors import NotFoundError
from yarnmill.records import to_plain

ROWS = 500


def as_rows(cut: tuple[Range, ...]) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pylist([to_plain(one)]) for one in cut]


@pytest.mark.slow
@pytest.mark.parametrize("range_bytes", [1, 700, 5000, 1 << 20])
def test_ranges_of_any_size_give_every_row_once(tmp_path: Path, range_bytes: int) -> None:
    table = pa.table({"uid": range(ROWS), "shards": [{"user": one, "item": -one} for one in range(ROWS)]})
    pq.write_table(table.slice(0, 300), tmp_path / "part-0.parquet", row_group_size=70)
    pq.write_table(table.slice(300), tmp_path / "part-1.parquet", row_group_size=70)
    (tmp_path / "_SUCCESS").touch()
    batches = as_rows(parquet_ranges([str(tmp_path)], range_bytes))
    found = pa.Table.from_batches(list(ReadParquet(columns=("uid", "shards.item"), batch_rows=50)(batches)))
    assert sorted(found.column("uid").to_pylist()) == list(range(ROWS))
    assert all(
        row == {"uid": row["uid"], "shards": {"item": -row["uid"]}}  # the other shard was not read
        for row in found.to_pylist()
    )


def test_a_folder_without_rows_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no Parquet there"):
        parquet_ranges([str(tmp_path)])


def test_parts_hold_what_was_written_with_dictionaries_of_text_alone(tmp_path: Path) -> None:
    batch = pa.RecordBatch.from_pydict(
        {
            "at": pa.array([dt.datetime(2026, 1, 1, tzinfo=dt.UTC)] * 4, pa.timestamp("ns", "UTC")),
            "ids": pa.StructArray.from_arrays([pa.array(list("abab")), pa.array(range(4))], ["user", "film"]),
            "score": [0.5, 0.25, 0.125, 1.0],
        }
    )
    with PartWriter({"m": str(tmp_path)}) as parts:
        parts.write("m", batch)
        parts.write("m", batch)
    assert parts.rows == {"m": 8}
    file = pq.ParquetFile(tmp_path / "part-00000.parquet")
    assert file.schema_arrow.field("at").type == pa.timestamp("us", "UTC")  # what Spark reads
    group = file.metadata.row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    assert [one.path_in_schema for one in columns if one.has_dictionary_page] == ["ids.user"]
    assert file.read().column("score").to_pylist() == batch.column("score").to_pylist() * 2
