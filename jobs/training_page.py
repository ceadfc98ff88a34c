"""The page that a training run leaves beside its model: ``report.html``."""

from typing import Final

import numpy as np
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from photon.report.sections import Coefficient
from photon.report.training import TrainingReport, render_training
from photon.spark.fixed import SparkFixed
from yarnmill import fs
from yarnmill.trainingset import index_url

PAGE_NAME: Final = "report.html"

_SHOWN_COEFFICIENTS: Final = 200


def write_page(output: str, report: TrainingReport) -> str:
    """Write the page and return its URL."""
    url = fs.join(output, PAGE_NAME)
    fs.write_bytes(url, render_training(report).encode())
    return url


def largest_coefficients(spark: SparkSession, fixed: SparkFixed, training_set: str) -> list[Coefficient]:
    """Return the largest coefficients of the fixed effect under their features' names: one small query."""
    values = fixed.coefficients
    # Not a whole sort: a fixed effect may have 10⁸ columns.
    kept = np.argpartition(-np.abs(values), min(_SHOWN_COEFFICIENTS, len(values)) - 1)[:_SHOWN_COEFFICIENTS]
    largest = kept[np.argsort(-np.abs(values[kept]), kind="stable")].tolist()
    index = spark.read.parquet(index_url(training_set, fixed.settings.shard))
    rows = index.where(F.col("index").isin(largest)).select("index", "name", "term").collect()
    names = {row["index"]: f"{row['name']} {row['term'] or ''}".strip() for row in rows}
    return [Coefficient(names.get(place, str(place)), float(values[place])) for place in largest]
