"""What features at request time cost: microseconds of CPU a request, for the lookup alone and for a whole transformer.

Keys are drawn anew for every request, so few of them are in a cache. Beside the lookup, which is what a worker does
over a file that all workers share, stand what keeps every entity in each worker's own memory: a dictionary of tuples,
pandas' reindex, and Arrow's take at the places that a binary search finds. Beside the transformer, the same in plain
Python.

    python benchmarks/serving_features.py [--entities 1000000] [--requests 2000]

Asked: the lookup of 100 entities in no more than any rival takes, and the transformer of 1 in less than a third of what
its request costs the tier otherwise (`serving_tier.py`). Plain Python is far ahead for one entity, at the price of
every entity in each worker's own memory, and of code that nobody checks before it is deployed.
"""

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from serving.transformer.definition import parse_transformer
from serving.transformer.lookups import Snapshot
from serving.transformer.transformer import Transformer
from yarnmill import fs
from yarnmill.bundle.manifest import Field, Signature
from yarnmill.featuresnapshot import ROWS_NAME, SNAPSHOT_NAME
from yarnmill.flavours.features import FeaturesPredictor
from yarnmill.flavours.features_files import prepare_features
from yarnmill.units import render_bytes

FEATURES: Final = tuple(f"f{number}" for number in range(10))
TRANSFORMER: Final = f"""
inputs:
  - {{name: user, json_path: "$.rows[*].user", dtype: int64}}
  - {{name: hour, json_path: $.hour, dtype: float64}}
lookups:
  - {{table: bench.users, entities: {{user: user}}, features: [{", ".join(FEATURES)}]}}
transformations:
  - {{column: f0, expression: log1p(abs(f0))}}
  - {{column: f1, standard_scaler: {{mean: 1, std: 2}}}}
  - {{column: hour, cyclical_encoder: {{min: 0, max: 24}}}}
outputs: {{x: [{", ".join(FEATURES)}, hour_x, hour_y]}}
"""
WARM_UP: Final = 50

Ask = Callable[[list[int]], Any]


def write_snapshot(folder: Path, values: np.ndarray) -> FeaturesPredictor:
    """Return an opened snapshot with an entity a row, whose keys are the even numbers."""
    features = ", ".join(f'{{"name": "{name}", "dtype": "float64", "default": 0.0}}' for name in FEATURES)
    keys = '[{"name": "user", "dtype": "int64"}]'
    record = f'{{"table": "bench.users", "ds": "2026-01-01", "keys": {keys}, "features": [{features}]}}'
    (folder / "output").mkdir()
    (folder / "output" / SNAPSHOT_NAME).write_text(record)
    columns = {"user": np.arange(len(values)) * 2} | dict(zip(FEATURES, values.T, strict=True))
    with fs.open_write(folder / "output" / ROWS_NAME / "part-0.parquet") as stream:
        pq.write_table(pa.table(columns), stream)
    (folder / "bundle").mkdir()
    signature = prepare_features(str(folder / "output"), folder / "bundle")
    return FeaturesPredictor(folder / "bundle", signature)


def lookups(snapshot: FeaturesPredictor, values: np.ndarray) -> Iterator[tuple[str, Ask]]:
    """Yield ways to get the features of some users, of whom half are known."""
    places = snapshot.places(FEATURES)
    yield "lookup over the mapped file", lambda keys: snapshot.numbers(places, snapshot.find({"user": np.array(keys)}))
    rows = {key * 2: tuple(row) for key, row in enumerate(values.tolist())}
    nothing = (0.0,) * len(FEATURES)
    yield "a dictionary of tuples", lambda keys: np.array([rows.get(key, nothing) for key in keys])
    frame = pd.DataFrame(values, columns=list(FEATURES), index=np.arange(len(values)) * 2)
    yield "pandas, reindex", lambda keys: frame.reindex(keys).to_numpy()
    table = pa.table(dict(zip(FEATURES, values.T, strict=True)))
    known = np.arange(len(values)) * 2

    def take(keys: list[int]) -> pa.Table:
        places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        return table.take(pa.array(places, mask=known[places] != keys))

    yield "Arrow, take", take


def transformers(snapshot: FeaturesPredictor, values: np.ndarray) -> Iterator[tuple[str, Ask]]:
    """Yield ways to get from a document to what the model takes."""
    signature = Signature(inputs=(Field(name="x", dtype="float32", shape=(len(FEATURES) + 2,)),), outputs=())
    definition = parse_transformer(TRANSFORMER, source="transformer.yaml")
    transformer = Transformer(definition, signature, lambda table: Snapshot(table, 1, snapshot))
    yield "the transformer", lambda keys: transformer(_document(keys)).columns["x"]
    rows = {key * 2: tuple(row) for key, row in enumerate(values.tolist())}
    nothing = (0.0,) * len(FEATURES)

    def plain(keys: list[int]) -> np.ndarray:
        document = _document(keys)
        angle = 2 * math.pi * document["hour"] / 24
        made = []
        for one in document["rows"]:
            f0, f1, *rest = rows.get(one["user"], nothing)
            made.append((math.log1p(abs(f0)), (f1 - 1) / 2, *rest, math.cos(angle), math.sin(angle)))
        return np.array(made, np.float32)

    yield "plain Python over a dictionary", plain


def _document(keys: list[int]) -> dict[str, Any]:
    return {"hour": 9.5, "rows": [{"user": key} for key in keys]}


def cost_us(ask: Ask, asked: list[list[int]]) -> float:
    """Return the median CPU time of a request, in microseconds."""
    seen = []
    for number, keys in enumerate(asked):
        started = time.process_time_ns()
        ask(keys)
        if number >= WARM_UP:
            seen.append(time.process_time_ns() - started)
    return float(np.median(seen)) / 1000


def main() -> None:
    """Print one line a way, in a folder that is gone afterwards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=2000)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    values = random.normal(size=(options.entities, len(FEATURES)))
    with tempfile.TemporaryDirectory() as name:
        began = time.perf_counter()
        snapshot = write_snapshot(Path(name), values)
        taken = sum(path.stat().st_size for path in (Path(name) / "bundle").rglob("*") if path.is_file())
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print(f"{options.entities:,} entities, {render_bytes(taken)}, written in {time.perf_counter() - began:.1f} s")
        print(f"{'CPU microseconds a request':<34}{'1 entity':>12}{'100 entities':>14}")
        for number, ways in enumerate((lookups, transformers)):
            expected: Any = None
            for title, ask in ways(snapshot, values):
                costs = []
                for size in (1, 100):
                    drawn = random.integers(0, options.entities * 4, (options.requests + WARM_UP, size))
                    costs.append(cost_us(ask, drawn.tolist()))
                print(f"{title:<34}{costs[0]:>12.1f}{costs[1]:>14.1f}")
                if number == 1:  # both ways of the whole are the same numbers
                    found = ask([2, 3, 4])
                    expected = found if expected is None else expected
                    np.testing.assert_allclose(found, expected, rtol=1e-6)


if __name__ == "__main__":
    main()
