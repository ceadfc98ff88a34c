import datetime as dt

import pyarrow as pa
import pytest

from yarnmill import fs
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError
from yarnmill.partitions import arrow_schema, check_columns, is_written, write_partition
from yarnmill.tables import (
    EntityKey,
    Feature,
    FeatureTable,
    complete_partitions,
    partition_url,
    read_feature_table,
    table_url,
    write_definition,
)

DAY = dt.date(2026, 1, 31)
TABLE = FeatureTable(
    namespace="shop",
    name="clients",
    meaning="",
    event_time="at",
    keys=(EntityKey(name="client", dtype="string", meaning=""),),
    features=(
        Feature(name="visits", dtype="float64", owner="me", meaning="", default=0.0),
        Feature(name="words", dtype="bag", owner="me", meaning=""),
    ),
)
ROWS = pa.table(
    {
        "client": ["a"],
        "at": pa.array([dt.datetime(2026, 1, 1, tzinfo=dt.UTC)], pa.timestamp("us", tz="UTC")),
        "visits": [1.0],
        "words": pa.array([[("x", 1.0)]], pa.map_(pa.string(), pa.float64())),
    }
)


@pytest.fixture
def root(tmp_path: object) -> str:
    return str(tmp_path)


def checked(root: str, rows: pa.Table) -> None:
    write_partition(root, TABLE, DAY, rows, "f" * 64)
    check_columns(TABLE, complete_partitions(root, TABLE))


def test_a_written_partition_is_complete_and_fits_its_definition(root: str) -> None:
    checked(root, ROWS)
    assert is_written(root, TABLE, DAY, "f" * 64)
    assert not is_written(root, TABLE, DAY, "e" * 64)
    assert arrow_schema(TABLE).names == ["client", "at", "visits", "words"]


def test_writing_again_replaces_what_stood_there(root: str) -> None:
    write_partition(root, TABLE, DAY, ROWS, "e" * 64)
    write_partition(root, TABLE, DAY, ROWS, "f" * 64)
    assert [file.name for file in fs.children(partition_url(root, TABLE, DAY))] == [
        "_SUCCESS",
        f"part-00000-{'f' * 12}.parquet",
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROWS.drop_columns(["visits"]), "no column 'visits'"),
        (ROWS.append_column("colour", pa.array(["red"])), "column 'colour' is not in the definition of shop.clients"),
        (ROWS.set_column(2, "visits", pa.array([1])), "column 'visits' of shop.clients is int64"),
        (ROWS.set_column(1, "at", pa.array(["today"])), "column 'at' of shop.clients is string"),
        (ROWS.set_column(3, "words", pa.array([["x"]])), "column 'words'"),
    ],
)
def test_columns_that_are_not_those_of_the_definition_are_named_with_their_file(
    root: str, rows: pa.Table, said: str
) -> None:
    with pytest.raises(BadDataError) as raised:
        checked(root, rows)
    assert said in str(raised.value)
    assert "ds=2026-01-31/part-00000" in str(raised.value)


def test_a_partition_without_success_is_refused_unless_out_of_range(root: str) -> None:
    write_partition(root, TABLE, DAY, ROWS, "f" * 64)
    later = DAY + dt.timedelta(days=1)
    write_partition(root, TABLE, later, ROWS, "f" * 64)
    fs.delete(fs.join(partition_url(root, TABLE, later), "_SUCCESS"))
    with pytest.raises(BadDataError, match=r"ds=2026-02-01: incomplete, it has no _SUCCESS"):
        complete_partitions(root, TABLE)
    assert [part.day for part in complete_partitions(root, TABLE, last=DAY)] == [DAY]


def test_a_missing_table_and_a_missing_day_are_told_apart(root: str) -> None:
    with pytest.raises(NotFoundError, match="no such table"):
        complete_partitions(root, TABLE)
    write_partition(root, TABLE, DAY, ROWS, "f" * 64)
    with pytest.raises(NotFoundError, match="no partition from 2027-01-01"):
        complete_partitions(root, TABLE, first=dt.date(2027, 1, 1))


def test_a_definition_is_found_by_root_and_name(root: str) -> None:
    write_definition(root, TABLE)
    assert read_feature_table(root, "shop.clients") == TABLE
    assert fs.exists(fs.join(table_url(root, TABLE), "_definition.yaml"))
    with pytest.raises(NotFoundError, match=r"shop\.cats: no such table"):
        read_feature_table(root, "shop.cats")
    for name in ("shop", "shop.", ".clients", "shop/x.clients"):
        with pytest.raises(ConfigurationError, match="no name of a table"):
            read_feature_table(root, name)
