"""Between NumPy arrays in the executors and rows of a DataFrame, as Arrow batches and never row by row."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark import RDD
from pyspark.sql import DataFrame, SparkSession

from photon.entities import Keys, has_no_id
from photon.rows import Mask, SparseRows
from photon.spark.worker import settle_worker

_BYTES_OF_CHARACTER = 4  # in NumPy's fixed-width text


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


def sparse_rows(vectors: pa.StructArray, columns: int) -> SparseRows:
    """Return a column of vectors (``indices``, ``values``) as rows; a null vector has no entry."""
    indices, values = vectors.field("indices"), vectors.field("values")
    if vectors.null_count:
        indices, values = (pa.compute.if_else(vectors.is_valid(), part, None) for part in (indices, values))
    if indices.null_count:
        lengths = pa.compute.list_value_length(indices).fill_null(0).to_numpy(zero_copy_only=False)
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    else:
        offsets = indices.offsets.to_numpy().astype(np.int64)
        indptr = offsets - offsets[0]
    return SparseRows(
        indptr,
        indices.flatten().to_numpy(zero_copy_only=False).astype(np.int32, copy=False),
        values.flatten().to_numpy(zero_copy_only=False).astype(np.float64, copy=False),
        columns,
    )


def vectors(rows: SparseRows) -> pa.StructArray:
    """Return rows as a column of vectors."""
    offsets = pa.array(rows.indptr, pa.int32())
    parts = (pa.array(rows.indices, pa.int32()), pa.array(rows.values, pa.float64()))
    return pa.StructArray.from_arrays(
        [pa.ListArray.from_arrays(offsets, part) for part in parts], ["indices", "values"]
    )


def id_array(ids: Keys) -> pa.Array:
    """Return entity ids as a column, text or int64; null where there is none."""
    kind = pa.string() if ids.dtype.kind == "U" else pa.int64()
    return pa.array(ids.tolist() if ids.dtype.kind == "U" else ids, kind, mask=has_no_id(ids))


def entity_keys(ids: pa.Array, known: Keys) -> tuple[Keys, Mask]:
    """Return entity ids in the form of the known ones, and which of them are there at all.

    NumPy gives every text the width of the longest: one character more than any known key has is enough to be none
    of them.
    """
    there: Mask = ids.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_integer(ids.type):
        integers: Keys = ids.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
        return integers, there
    longest = known.dtype.itemsize // _BYTES_OF_CHARACTER if known.dtype.kind == "U" else 0
    return np.array(ids.fill_null("").to_pylist(), dtype=f"U{longest + 1}"), there
