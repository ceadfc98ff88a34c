"""The problems of the local tests as DataFrames in the training set's columns."""

from collections.abc import Callable

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from photon.local import LocalData
from photon.spark.arrow_rows import vectors


def _table(data: LocalData) -> pa.Table:
    rows = len(data.labels)
    return pa.table(
        {
            "uid": pa.array([row * 7919 for row in range(rows)], pa.int64()),
            "role": pa.array([0] * rows, pa.int8()),
            "response": pa.array(data.labels),
            "weight": pa.array(data.weights),
            "offset": pa.array(data.offsets),
            "ids": pa.StructArray.from_arrays([pa.array(ids.tolist()) for ids in data.ids.values()], list(data.ids)),
            "shards": pa.StructArray.from_arrays([vectors(rows) for rows in data.shards.values()], list(data.shards)),
        }
    )


@pytest.fixture
def as_frame(spark: SparkSession) -> Callable[[LocalData], DataFrame]:
    return lambda data: spark.createDataFrame(_table(data))
