"""The reader of the prediction log: which hours it looks at, which rows it gives, what it says of what is not there."""

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yarnmill import fs
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError
from yarnmill.predictions import SCHEMAS, Span, Table, hour_url, read_labelled, read_labels, read_predictions

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
VALUES = {"numbers": [("x", 1.0), ("y", None)], "integers": [], "texts": [("word", "a")]}
ANSWER = {
    "model": "m",
    "session_id": "s",
    "row_id": 0,
    "version": 1,
    "arm": "main",
    "unit": None,
    "time": NOON,
    "latency_s": 0.1,
    "features": VALUES,
    "outputs": VALUES,
    "snapshots": "t.t/1 ds=2026-02-28",
}


def write(url: str, table: Table, moment: dt.datetime, rows: list[dict[str, Any]], name: str = "x.parquet") -> None:
    data = pa.Table.from_pylist(rows, SCHEMAS[table])
    with fs.open_write(fs.join(hour_url(url, table, moment), name)) as stream:
        pq.write_table(data, stream)


def answers(url: str, *rows: dict[str, Any], name: str = "x.parquet") -> None:
    for row in rows:
        whole = {**ANSWER, **row}
        write(url, "predictions", whole["time"], [whole], name=f"{whole['session_id']}-{whole['row_id']}-{name}")


def labels(url: str, *rows: tuple[str, float, dt.timedelta]) -> None:
    for number, (session_id, label, after) in enumerate(rows):
        moment = NOON + after
        row = {"model": "m", "session_id": session_id, "row_id": 0, "label": label, "time": NOON, "received_at": moment}
        write(url, "labels", moment, [row], name=f"{number}.parquet")


def hours(count: float) -> dt.timedelta:
    return dt.timedelta(hours=count)


def test_files_of_a_time_without_snapshots_are_read_beside_others(tmp_path: Path) -> None:
    url = str(tmp_path)
    answers(url, {})
    older = pa.Table.from_pylist([{**ANSWER, "session_id": "t"}], SCHEMAS["predictions"]).drop_columns(["snapshots"])
    with fs.open_write(fs.join(hour_url(url, "predictions", NOON), "older.parquet")) as stream:
        pq.write_table(older, stream)
    rows = [row for batch in read_predictions(url, "m", Span(NOON)) for row in batch.to_pylist()]
    found = {row["session_id"]: row["snapshots"] for row in rows}
    assert found == {"s": "t.t/1 ds=2026-02-28", "t": None}


def test_rows_come_back_as_they_were_written(root: str) -> None:
    answers(root, {}, {"session_id": "t", "time": NOON + hours(1)}, {"session_id": "u", "model": "other"})
    (batch,) = read_predictions(root, "m", Span(NOON, NOON + hours(1)))
    assert batch.to_pylist() == [ANSWER]
    (some,) = read_predictions(root, "m", Span(NOON, NOON + hours(1)), columns=["latency_s", "model"])
    assert some.to_pylist() == [{"latency_s": 0.1, "model": "m"}]
    zone = dt.timezone(hours(5))
    there = [Span((NOON + hours(1)).astimezone(zone)), Span(NOON + hours(2)), Span(NOON - hours(99), NOON)]
    assert [sum(batch.num_rows for batch in read_predictions(root, "m", span)) for span in there] == [1, 0, 0]


def test_the_last_label_counts_until_a_moment(root: str) -> None:
    answers(
        root, {"session_id": "a"}, {"session_id": "b"}, {"session_id": "b", "version": 2, "arm": "mirror", "row_id": 1}
    )
    answers(root, {"session_id": "b", "version": 2, "arm": "mirror"}, name="mirror.parquet")
    labels(root, ("b", 0.0, hours(1)), ("b", 1.0, hours(30)), ("c", 5.0, hours(1)), ("b", 9.0, hours(-2)))
    assert sorted(read_labels(root, "m", Span(NOON))["label"].to_pylist()) == [1.0, 5.0]

    def labelled(until: dt.datetime | None) -> list[tuple[Any, ...]]:
        columns = ["version", "row_id"]
        rows = read_labelled(root, "m", Span(NOON), columns=columns, labels_until=until)
        assert rows.column_names == [*columns, "label", "label_time"]
        return sorted((tuple(row.values()) for row in rows.to_pylist()), key=str)

    late, early = (1.0, NOON), (0.0, NOON)
    assert labelled(None) == [(1, 0, *late), (1, 0, None, None), (2, 0, *late), (2, 1, None, None)]
    assert labelled(NOON + hours(2)) == [(1, 0, *early), (1, 0, None, None), (2, 0, *early), (2, 1, None, None)]


def test_what_is_under_way_is_nobodys_business(root: str) -> None:
    answers(root, {})
    folder = hour_url(root, "predictions", NOON)
    for name in ("_x.parquet", ".x.parquet", ".x.parquet.1.tmp", "x.crc"):
        fs.write_bytes(fs.join(folder, name), b"no Parquet")
    assert len(list(read_predictions(root, "m", Span(NOON)))) == 1


def test_a_log_that_is_not_there_or_no_log_is_said(root: str) -> None:
    with pytest.raises(NotFoundError, match="no prediction log there"):
        list(read_predictions(root, "m", Span(NOON)))
    fs.make_folder(fs.join(root, "predictions"))
    assert list(read_predictions(root, "m", Span(NOON))) == []
    assert read_labelled(root, "m", Span(NOON)).num_rows == 0
    with pytest.raises(ConfigurationError, match="no time zone"):
        list(read_predictions(root, "m", Span(dt.datetime(2026, 1, 1))))  # noqa: DTZ001  # on purpose
    fs.make_folder(fs.join(root, "predictions", "ds=today"))
    with pytest.raises(BadDataError, match="ds=today: no partition"):
        list(read_predictions(root, "m", Span(NOON)))
