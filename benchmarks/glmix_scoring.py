"""Rows a second and core of the NumPy scorer and of the Spark job, beside what the same rows cost otherwise.

The model has a fixed effect of 50 features (30 % dense) and effects per user (100,000) and item (20,000) of 8
features and an intercept. For the scorer the limit is a plain gather and multiply of the same entries whose places are
known beforehand: no search, no check; CPU time of one process, best of five. For the job see
glmix_scoring_on_spark.py, which runs as a program of its own. Run with ``python benchmarks/glmix_scoring.py``; about
three minutes on an idle machine, and ``--no-spark`` leaves the job out.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from photon.model import Effect, FixedEffect, GlmixModel, RandomEffect
from photon.rows import Floats, SparseRows, sums_by
from photon.scoring import contributions, margins

ROWS, USERS, ITEMS, GLOBAL, OWN = 50_000, 100_000, 20_000, 50, 8


def effect(name: str, entities: int, random: np.random.Generator, kept: float) -> RandomEffect:
    """Return an effect whose entities have a share ``kept`` of all columns."""
    cells = np.flatnonzero(random.random(entities * (OWN + 1)) < kept)
    return RandomEffect(name, name, name, OWN + 1, np.arange(entities), cells, random.normal(size=len(cells)))


def best(work: Callable[[], object]) -> float:
    """Return rows a CPU second, the best of five."""
    found = []
    for _ in range(5):
        started = time.process_time()
        work()
        found.append(ROWS / (time.process_time() - started))
    return max(found)


def gathered(model: GlmixModel, shards: dict[str, SparseRows], ids: dict[str, np.ndarray]) -> Callable[[], Floats]:
    """Return the limit: entries times coefficients at places that are known, summed by row."""
    plans = []
    for one in model.effects:
        rows = shards[one.shard]
        coefficients, place = np.append(one.coefficients, 0.0), rows.indices.astype(np.int64)
        if isinstance(one, RandomEffect):
            wanted = ids[one.entity][rows.row_of] * np.int64(one.columns) + rows.indices
            found = np.minimum(np.searchsorted(one.cells, wanted), len(one.cells) - 1)
            place = np.where(one.cells[found] == wanted, found, len(one.cells))
        plans.append((rows.row_of, rows.values, coefficients, place))

    def work() -> Floats:
        total = np.zeros(ROWS)
        for row_of, values, coefficients, place in plans:
            total += sums_by(row_of, values * coefficients[place], ROWS)
        return total

    return work


def main() -> None:
    """Print one line a model, then one a way of the job."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-spark", action="store_true", help="leave the job out")
    print_scorer()
    if not parser.parse_args().no_spark:
        subprocess.run([sys.executable, Path(__file__).with_name("glmix_scoring_on_spark.py")], check=True)


def print_scorer() -> None:
    """Print the speed of the scorer, by how many of their columns entities have."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; rows a second and core")
    print(f"{'cells kept':>10} {'scorer':>12} {'with parts':>12} {'limit':>12} {'of limit':>9}")
    for kept in (1.0, 0.5):
        random = np.random.default_rng(0)
        dense = np.where(random.random((ROWS, GLOBAL)) < 0.3, random.normal(size=(ROWS, GLOBAL)), 0.0)
        own = SparseRows.from_dense(np.column_stack([random.normal(size=(ROWS, OWN)), np.ones(ROWS)]))
        shards = {"global": SparseRows.from_dense(dense), "user": own, "item": own}
        ids = {"user": random.integers(0, USERS, ROWS), "item": random.integers(0, ITEMS, ROWS)}
        effects: tuple[Effect, ...] = (
            FixedEffect("global", "global", random.normal(size=GLOBAL)),
            effect("user", USERS, random, kept),
            effect("item", ITEMS, random, kept),
        )
        model, offsets = GlmixModel("logistic", effects), np.zeros(ROWS)
        limit = gathered(model, shards, ids)
        np.testing.assert_allclose(margins(model, shards, ids, offsets), limit(), atol=1e-12)
        figures = [
            best(lambda: margins(model, shards, ids, offsets)),  # noqa: B023  # called at once
            best(lambda: contributions(model, shards, ids)),  # noqa: B023
            best(limit),
        ]
        print(f"{kept:10.0%} " + " ".join(f"{one:12,.0f}" for one in figures) + f" {figures[0] / figures[-1]:9.0%}")


if __name__ == "__main__":
    main()
