"""Photon ML's Avro in one process: rows read into Arrow, coefficients written and read, per second of CPU.

    python benchmarks/photon_avro.py [--rows 50000] [--entities 50000]

A row has a uid, a weight, an offset, two ids and ``--features`` features in two bags; a model has five coefficients an
entity. Every executor core does this on its own ranges and parts, so these figures multiply by the cores.
"""

import argparse
import io
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.game.coordinates import ShardOption
from jobs.game.examples import Columns, ExampleForm, _Reader
from jobs.game.files import Range
from jobs.game.models import _ToRecords, _ToRows
from photon.avro.container import read_records, write_records
from photon.avro.schemas import BAYESIAN_LINEAR_MODEL

FEATURE = {
    "type": "record",
    "name": "FeatureAvro",
    "fields": [
        {"name": "name", "type": "string"},
        {"name": "term", "type": "string"},
        {"name": "value", "type": "double"},
    ],
}
ROW = {
    "type": "record",
    "name": "Row",
    "fields": [
        {"name": "uid", "type": "string"},
        {"name": "response", "type": "double"},
        {"name": "weight", "type": ["null", "double"]},
        {"name": "offset", "type": ["null", "double"]},
        {"name": "features", "type": {"type": "array", "items": FEATURE}},
        {"name": "userFeatures", "type": {"type": "array", "items": "FeatureAvro"}},
        {"name": "userId", "type": "long"},
        {"name": "metadataMap", "type": {"type": "map", "values": "string"}},
    ],
}
ONE = Range(number=0, url="", start=0, stop=0)


def rows(count: int, features: int) -> Iterator[dict[str, Any]]:
    """Yield records."""
    random = np.random.default_rng(0)
    values = random.normal(size=features + 1)
    for row in range(count):
        yield {
            "uid": str(row),
            "response": float(row % 2),
            "weight": None,
            "offset": 0.5,
            "features": [{"name": "f", "term": str(j), "value": values[j]} for j in range(features)],
            "userFeatures": [{"name": "age", "term": "", "value": values[-1]}],
            "userId": row % 1000,
            "metadataMap": {"itemId": str(row % 100)},
        }


def measure(what: str, count: int, work: Callable[[], object]) -> None:
    """Print how many things a second of CPU did."""
    started = time.process_time()
    work()
    print(f"| {what} | {count / (time.process_time() - started):,.0f} |")


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--features", type=int, default=5)
    parser.add_argument("--entities", type=int, default=50_000)
    options = parser.parse_args()
    stream = io.BytesIO()
    write_records(stream, ROW, rows(options.rows, options.features))
    shards = (ShardOption(name="g", bags=("features", "userFeatures")), ShardOption(name="u", bags=("userFeatures",)))
    reader = _Reader(form=ExampleForm(columns=Columns(), shards=shards, keys=("userId", "itemId")))
    count = options.entities * 5
    batch = pa.RecordBatch.from_pydict(
        {
            "model_id": pa.array([f"u{i // 5}" for i in range(count)]),
            "key": pa.array([f"f\x01{i % 5}" for i in range(count)]),
            "mean": pa.array(np.random.default_rng(1).normal(size=count) + 1.0),
            "variance": pa.array([None] * count, pa.float64()),
        }
    )
    models = io.BytesIO()
    to_records, to_rows = _ToRecords(task="logistic", threshold=1e-4), _ToRows(task="logistic")
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n\n| what | a second of CPU |\n|---|---|")
    measure("rows read", options.rows, lambda: list(reader(ONE, read_records(stream))))
    measure(
        "coefficients written", count, lambda: write_records(models, BAYESIAN_LINEAR_MODEL, to_records(iter([batch])))
    )
    measure("coefficients read", count, lambda: list(to_rows(ONE, read_records(models))))


if __name__ == "__main__":
    main()
