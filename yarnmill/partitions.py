"""Partitions of tables as Parquet: written whole or not at all, and checked against their definition.

This module does not know what the rows mean, nor Spark.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq

from yarnmill import fs
from yarnmill.errors import BadDataError
from yarnmill.tables import SUCCESS_NAME, FeatureTable, ObservationTable, Partition, partition_url, table_url

_ARROW = {
    "int64": pa.int64(),
    "string": pa.string(),
    "float64": pa.float64(),
    "bag": pa.map_(pa.string(), pa.float64()),
}
_TIME = pa.timestamp("us", tz="UTC")
_READERS = 8  # footers read side by side: the NameNode's answer time, not bandwidth, is what it costs


def arrow_schema(table: FeatureTable | ObservationTable) -> pa.Schema:
    """Return the columns that a definition promises, in its order."""
    if isinstance(table, FeatureTable):
        named = {key.name: _ARROW[key.dtype] for key in table.keys} | {table.event_time: _TIME}
        return pa.schema(named | {feature.name: _ARROW[feature.dtype] for feature in table.features})
    named = {table.uid: pa.int64()} | {key.name: _ARROW[key.dtype] for key in table.keys}
    named |= {table.event_time: _TIME, table.response: pa.float64()}
    return pa.schema(named | {name: pa.float64() for name in (table.weight, table.offset) if name})


def is_written(root: str, table: FeatureTable | ObservationTable, day: dt.date, fingerprint: str) -> bool:
    """Return whether the partition is complete and holds what ``fingerprint`` stands for."""
    url = partition_url(root, table, day)
    return fs.exists(fs.join(url, _file_name(fingerprint))) and fs.exists(fs.join(url, SUCCESS_NAME))


def write_partition(
    root: str, table: FeatureTable | ObservationTable, day: dt.date, rows: pa.Table, fingerprint: str
) -> None:
    """Write one partition beside its place and rename it there; whatever stood there is replaced.

    Parameters
    ----------
    root, table, day
        Which partition.
    rows
        Its rows, columns as in :func:`arrow_schema` and, for observations, any others.
    fingerprint
        What decides the rows: it names the file, so that :func:`is_written` can tell.
    """
    fresh = fs.join(table_url(root, table), f".ds={day.isoformat()}.{fingerprint[:12]}.tmp")
    target = partition_url(root, table, day)
    fs.delete(fresh)
    try:
        with fs.open_write(fs.join(fresh, _file_name(fingerprint))) as stream:
            # Spark reads zstd natively; dictionaries make ids and repeated shares small.
            pq.write_table(rows, stream, compression="zstd")
        fs.write_bytes(fs.join(fresh, SUCCESS_NAME), b"")
        fs.delete(target)
        fs.rename(fresh, target)
    except BaseException:
        with suppress(Exception):
            fs.delete(fresh)
        raise


def _file_name(fingerprint: str) -> str:
    return f"part-00000-{fingerprint[:12]}.parquet"


def check_columns(table: FeatureTable | ObservationTable, partitions: Sequence[Partition]) -> None:
    """Compare the Parquet files of partitions with the definition, reading footers only.

    Raises
    ------
    BadDataError
        If a column is missing, has another type, or (in a feature table) is not in the definition: the
        column, the table and the file are named.
    """
    expected = arrow_schema(table)
    with ThreadPoolExecutor(_READERS) as pool:
        for url, found in pool.map(_first_schema, partitions):
            _compare(table, expected, found, url)


def _first_schema(partition: Partition) -> tuple[str, pa.Schema]:
    """Return the schema of a partition's first file: one writer wrote them all."""
    for file in fs.children(partition.url):
        if file.name.endswith(".parquet"):
            with fs.open_read(file.url) as stream:
                return file.url, pq.read_schema(stream)
    return partition.url, None


def _compare(table: FeatureTable | ObservationTable, expected: pa.Schema, found: pa.Schema | None, url: str) -> None:
    if found is None:  # a day on which nothing happened is complete and empty
        return
    name = f"{table.namespace}.{table.name}"
    for column in expected:
        if column.name not in found.names:
            raise BadDataError(
                f"{url}: no column {column.name!r}",
                expected=f"the columns of {name}: {_listed(expected.names)}",
                mend=f"write the partition with this column, or take it out of the definition of {name}",
            )
        actual = found.field(column.name).type
        if not _is_alike(actual, column.type):
            raise BadDataError(f"{url}: column {column.name!r} of {name} is {actual}", expected=str(column.type))
    unknown = [column for column in found.names if column not in expected.names]
    if unknown and isinstance(table, FeatureTable):
        raise BadDataError(
            f"{url}: column {unknown[0]!r} is not in the definition of {name}",
            expected=f"the columns {_listed(expected.names)}",
            mend=f"add the feature to the definition of {name}, or write the partition without it",
        )


def _is_alike(actual: pa.DataType, expected: pa.DataType) -> bool:
    if pa.types.is_timestamp(expected):
        return bool(pa.types.is_timestamp(actual) and actual.tz is not None)
    if pa.types.is_map(expected):  # names and nullability inside a map differ from writer to writer
        return bool(
            pa.types.is_map(actual) and actual.key_type == expected.key_type and actual.item_type == expected.item_type
        )
    return bool(actual == expected)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
