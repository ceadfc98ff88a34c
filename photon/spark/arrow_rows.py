"""From NumPy arrays in the executors to rows of a DataFrame, as Arrow batches and never row by row."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark import RDD
from pyspark.sql import DataFrame, SparkSession

from photon.spark.worker import settle_worker


def to_bytes(table: pa.Table) -> bytes:
    """Return a table as Arrow's stream format."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def data_frame(spark: SparkSession, tables: "RDD[bytes]", schema: str) -> DataFrame:
    """Return the rows of all tables, each given as :func:`to_bytes`, as one DataFrame of ``schema``."""
    payloads = spark.createDataFrame(tables.map(lambda data: (data,)), "payload binary", verifySchema=False)
    return payloads.mapInArrow(_decode, schema)


def _decode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    settle_worker()
    for batch in batches:
        for payload in batch.column("payload"):
            yield from pa.ipc.open_stream(payload.as_buffer()).read_all().to_batches()
