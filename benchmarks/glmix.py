"""How fast GLMix trains in one process, and how near the joint optimum it ends.

The data follow the set that Photon ML was measured on: 200,000 rows, 5,000 users (Zipf exponent 0.7),
1,000 items; 50 global features, 30 % dense, 8 features a user effect and 8 an item effect, intercepts.

    python benchmarks/glmix.py [--rows 200000] [--sweeps 3] [--optimum]
"""

import argparse
import os
import time

import numpy as np

from photon.entities import cell_penalties, group
from photon.local import LocalData, LocalFit, fit
from photon.loss import LOGISTIC
from photon.random_effect import solve_entities
from photon.rows import Examples, Floats, SparseRows
from photon.settings import CoordinateSettings, FitSettings

USERS, ITEMS = 5_000, 1_000
GLOBAL_FEATURES, ENTITY_FEATURES = 50, 8
LIMIT_SWEEPS = 60


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--sweeps", type=int, default=3)
    parser.add_argument(
        "--optimum", action="store_true", help=f"compare with the objective after {LIMIT_SWEEPS} sweeps"
    )
    options = parser.parse_args()
    data = make_data(options.rows, np.random.default_rng(7))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'first solve, compiler included':<44}{_timed(lambda: entities_per_second(100)):>12.2f} s")
    print(f"{'random-effect solves, 10 rows x 5 features':<44}{entities_per_second(50_000):>12,.0f} entities/s/core")
    started, cpu = time.perf_counter(), time.process_time()
    fitted = fit_with(data, options.sweeps)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(f"{f'fit, {options.rows:,} rows, {options.sweeps} sweeps':<44}{wall:>12.2f} s wall, {cpu:.2f} s CPU")
    print(f"{'objective':<44}{fitted.descent.objective:>12.2f}")
    if options.optimum:
        best = fit_with(data, LIMIT_SWEEPS).descent.objective
        print(f"{'above the optimum, relative':<44}{(fitted.descent.objective - best) / best:>12.1e}")


def _timed(work: object) -> float:
    started = time.perf_counter()
    if callable(work):
        work()
    return time.perf_counter() - started


def make_data(rows: int, random: np.random.Generator) -> LocalData:
    """Return a training set of the description above, labels drawn from a true model."""
    popularity = 1.0 / np.arange(1, USERS + 1) ** 0.7
    users = random.choice(USERS, rows, p=popularity / popularity.sum())
    items = random.integers(0, ITEMS, rows)
    dense = {
        "global": np.where(
            random.random((rows, GLOBAL_FEATURES)) < 0.3, random.normal(size=(rows, GLOBAL_FEATURES)), 0.0
        ),
        "user": random.normal(size=(rows, ENTITY_FEATURES)),
        "item": random.normal(size=(rows, ENTITY_FEATURES)),
    }
    dense = {name: np.column_stack([matrix, np.ones(rows)]) for name, matrix in dense.items()}
    margins = dense["global"] @ random.normal(scale=0.4, size=GLOBAL_FEATURES + 1)
    margins += np.sum(dense["user"] * random.normal(scale=0.5, size=(USERS, ENTITY_FEATURES + 1))[users], axis=1)
    margins += np.sum(dense["item"] * random.normal(scale=0.3, size=(ITEMS, ENTITY_FEATURES + 1))[items], axis=1)
    return LocalData(
        labels=(random.random(rows) < LOGISTIC.mean(margins)).astype(np.float64),
        weights=np.ones(rows),
        offsets=np.zeros(rows),
        shards={name: SparseRows.from_dense(matrix) for name, matrix in dense.items()},
        ids={"user": users, "item": items},
        intercepts={"global": GLOBAL_FEATURES, "user": ENTITY_FEATURES, "item": ENTITY_FEATURES},
    )


def fit_with(data: LocalData, sweeps: int) -> LocalFit:
    """Fit with the penalties of the measured run: 1, 4 and 10, the fixed intercept free."""
    coordinates = (
        CoordinateSettings(name="global", kind="fixed", shard="global", l2=1.0),
        CoordinateSettings(name="per_user", kind="random", shard="user", entity="user", l2=4.0),
        CoordinateSettings(name="per_item", kind="random", shard="item", entity="item", l2=10.0),
    )
    return fit(data, FitSettings(task="logistic", coordinates=coordinates, max_sweeps=sweeps, tolerance=0.0))


def entities_per_second(entities: int) -> float:
    """Return how many entities of 10 rows and 5 features are solved in a second."""
    random = np.random.default_rng(0)
    rows = entities * 10
    matrix = SparseRows.from_dense(random.normal(size=(rows, 5)))
    labels: Floats = (random.random(rows) < 0.5).astype(np.float64)
    grouped, _ = group(np.repeat(np.arange(entities), 10), Examples(matrix, labels, np.ones(rows), np.zeros(rows)))
    l2, start = cell_penalties(grouped, np.ones(5)), np.zeros(len(grouped.cells))
    started = time.perf_counter()
    solve_entities(grouped, np.zeros(rows), l2, start, LOGISTIC)
    return entities / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
