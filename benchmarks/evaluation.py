"""Rows a second and core that metrics take, in NumPy and on local Spark, with the machine's load.

    python benchmarks/evaluation.py [--rows 3000000] [--groups 300000] [--spark]

Scores are rounded so that about one in ten rows is tied; labels follow them; weights are uniform.
CPU seconds are this process's for NumPy. On Spark the wall time of two local cores counts, the session's start
and the first pass over the rows not included.
"""

import argparse
import os
import sys
import time

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from photon.evaluation import Question, Scored, evaluate, parse_evaluators
from photon.spark.evaluation import evaluate as evaluate_on_spark

QUESTIONS = (
    ("AUC",),
    ("AUC", "AUPR", "LOGISTIC_LOSS", "ECE", "LIFT@10"),
    ("AUC:id",),
    ("AUC:id", "PRECISION@5:id", "NDCG@10:id", "LOGISTIC_LOSS:id"),
)


def made(rows: int, groups: int) -> tuple[Scored, np.ndarray]:
    """Return scored rows and their groups."""
    random = np.random.default_rng(0)
    scores = np.round(random.normal(size=rows), 5)
    labels = (random.random(rows) < 1 / (1 + np.exp(-scores))).astype(np.float64)
    return Scored(scores, labels, random.uniform(0.5, 2.0, rows)), random.integers(0, groups, rows)


def tell(where: str, names: tuple[str, ...], seconds: float, rows: int) -> None:
    """Print one row of the table."""
    load = os.getloadavg()[0]
    print(f"{where:6} {', '.join(names):55} {seconds:8.2f} s {rows / seconds / 1e6:7.2f} M rows/s   load {load:.1f}")


def in_numpy(scored: Scored, ids: np.ndarray) -> None:
    """Measure one process."""
    for names in QUESTIONS:
        started = time.process_time()
        evaluate(scored, Question(parse_evaluators(names)), {"id": ids})
        tell("NumPy", names, time.process_time() - started, len(ids))


def on_spark(scored: Scored, ids: np.ndarray) -> None:
    """Measure two local cores."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.driver.memory", "2g").config("spark.sql.shuffle.partitions", "8").getOrCreate()
    columns = {"score": scored.scores, "label": scored.labels, "weight": scored.weights, "id": ids}
    table = pa.table({"measure": pa.array(["m"] * len(ids))} | {name: pa.array(each) for name, each in columns.items()})
    rows = spark.createDataFrame(table).repartition(8).cache()
    rows.count()
    for names in QUESTIONS:
        started = time.monotonic()
        evaluate_on_spark(rows, Question(parse_evaluators(names)))
        tell("Spark", names, time.monotonic() - started, len(ids))
    spark.stop()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--groups", type=int, default=300_000)
    parser.add_argument("--spark", action="store_true")
    options = parser.parse_args()
    scored, ids = made(options.rows, options.groups)
    in_numpy(scored, ids)
    if options.spark:
        on_spark(scored, ids)


if __name__ == "__main__":
    main()
