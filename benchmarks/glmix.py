"""How fast GLMix trains and how near the joint optimum it ends, in one process and on Spark.

The data follow the set that Photon ML was measured on: 200,000 rows, 5,000 users (Zipf exponent 0.7),
1,000 items; 50 global features, 30 % dense, 8 features a user effect and 8 an item effect, intercepts.

    python benchmarks/glmix.py [--rows 200000] [--sweeps 6] [--no-spark] [--no-optimum]

The Spark fit is a program of its own (glmix_on_spark.py), timed from its start to its end with the CPU of all
its processes: driver, JVM and Python workers; its JVM compiles with the quick compiler alone and its workers are
forked from photon.spark.daemon, as is right for fits of seconds. The joint optimum is SciPy's, of the same
objective in all coefficients at once. Prints the machine's load: on a busy one wall times mean little, CPU
times something.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.optimize
import scipy.sparse
from glmix_data import SETTINGS, frame_of, make_data
from spark_session import run_whole

from photon.cell_terms import CellTerms
from photon.entities import group
from photon.local import LocalData, LocalFit, fit
from photon.loss import LOGISTIC
from photon.random_effect import solve_entities
from photon.rows import Examples, Floats, SparseRows

PHOTON = {"wall": 80.0, "cpu": 150.0, "above": 1.7e-4}
"""Photon ML for Spark 3.5 on two idle cores of a machine like this one, 3 sweeps, no validation."""


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--sweeps", type=int, default=6)
    parser.add_argument("--no-spark", action="store_true", help="leave Spark out")
    parser.add_argument("--no-optimum", action="store_true", help="leave SciPy's joint optimum out")
    options = parser.parse_args()
    data = make_data(options.rows, np.random.default_rng(7))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print_entities()
    best = None if options.no_optimum else joint_optimum(data)
    print_sweeps(data, best, options.sweeps + 8)
    print_fits(data, best, options.sweeps, on_spark=not options.no_spark)
    print(f"load average {os.getloadavg()[0]:.1f} at the end")


@dataclass(frozen=True)
class Spent:
    """What some work took, and what it gave."""

    wall_s: float
    cpu_s: float
    objective: float


def timed(work: Callable[[], float], who: int = resource.RUSAGE_SELF) -> Spent:
    """Return the wall and CPU time of this process, or of its ended children, and the objective reached."""

    def cpu() -> float:
        usage = resource.getrusage(who)
        return usage.ru_utime + usage.ru_stime

    started, before = time.perf_counter(), cpu()
    objective = work()
    return Spent(time.perf_counter() - started, cpu() - before, objective)


def print_entities() -> None:
    """Print the speed of the compiled solver, and of a loop over SciPy."""
    timed(lambda: entities_per_second(100))  # compiled, or read from the cache
    compiled, loop = entities_per_second(50_000), scipy_entities_per_second(200)
    print(f"{'random-effect solves, 10 rows x 5 features':<46}{compiled:>12,.0f} entities/s/core")
    print(f"{'the same, a loop over scipy.optimize':<46}{loop:>12,.0f} entities/s/core ({compiled / loop:,.0f} x)")


def print_sweeps(data: LocalData, best: float | None, sweeps: int) -> None:
    """Print how far the objective is above the optimum after each sweep, plain and accelerated."""
    plain, quick = (fit_with(data, sweeps, acceleration=window).descent for window in (0, 3))
    limit = min(plain.objective, quick.objective) if best is None else best
    print(
        f"\n{'sweep':<8}{'plain':>12}{'accelerated':>14}   relative to {'the best seen' if best is None else 'SciPy'}"
    )
    for one, other in zip(plain.sweeps, quick.sweeps, strict=True):
        print(f"{one.number:<8}{one.objective / limit - 1:>12.1e}{other.objective / limit - 1:>14.1e}")


def print_fits(data: LocalData, best: float | None, sweeps: int, *, on_spark: bool) -> None:
    """Print what the fits took."""
    limit = fit_with(data, 40).descent.objective if best is None else best
    print(f"\n{'':<46}{'wall s':>10}{'CPU s':>10}{'above the optimum':>20}")
    spent = {f"in one process, {sweeps} sweeps": timed(lambda: fit_with(data, sweeps).descent.objective)}
    if on_spark:
        with tempfile.TemporaryDirectory() as folder:
            write(data, Path(folder))
            spent[f"on Spark local[2], start included, {sweeps} sweeps"] = timed(
                lambda: spark_fit(Path(folder), sweeps), resource.RUSAGE_CHILDREN
            )
    for name, one in spent.items():
        print(f"{name:<46}{one.wall_s:>10.1f}{one.cpu_s:>10.1f}{one.objective / limit - 1:>20.1e}")
    print(f"{'Photon ML, idle machine':<46}{PHOTON['wall']:>10.1f}{PHOTON['cpu']:>10.1f}{PHOTON['above']:>20.1e}")


def fit_with(data: LocalData, sweeps: int, *, acceleration: int = SETTINGS.acceleration) -> LocalFit:
    """Fit in this process."""
    return fit(data, msgspec.structs.replace(SETTINGS, max_sweeps=sweeps, tolerance=0.0, acceleration=acceleration))


def write(data: LocalData, folder: Path) -> None:
    """Write the rows as Parquet in two files, as two cores read them."""
    table = frame_of(data)
    half = table.num_rows // 2
    for number, part in enumerate((table.slice(0, half), table.slice(half))):
        pq.write_table(pa.table(part), folder / f"part-{number}.parquet")


def spark_fit(folder: Path, sweeps: int) -> float:
    """Fit in a program of its own and return the objective; all its processes have ended then."""
    program = Path(__file__).with_name("glmix_on_spark.py")
    return float(run_whole([sys.executable, str(program), str(folder), str(sweeps)]).split()[-1])


def joint_optimum(data: LocalData) -> float:
    """Return SciPy's minimum of the objective in all coefficients at once: L-BFGS, then Newton-CG to the end."""
    blocks, penalties = [], []
    for one in SETTINGS.coordinates:
        rows = data.shards[one.shard]
        ids = np.zeros(len(rows), np.int64) if one.entity is None else np.asarray(data.ids[one.entity], np.int64)
        entities = int(ids.max()) + 1
        columns = ids[rows.row_of] * rows.columns + rows.indices
        blocks.append(
            scipy.sparse.csr_matrix((rows.values, columns, rows.indptr), shape=(len(rows), entities * rows.columns))
        )
        strengths = np.full(rows.columns, one.l2)
        if not one.intercept_is_penalised:
            strengths[data.intercepts[one.shard]] = 0.0
        penalties.append(np.tile(strengths, entities))
    matrix, l2 = scipy.sparse.hstack(blocks).tocsr(), np.concatenate(penalties)
    transposed = matrix.T.tocsr()

    def objective(point: Floats) -> tuple[float, Floats]:
        margins = matrix @ point
        value = LOGISTIC.value(margins, data.labels).sum() + 0.5 * l2 @ (point * point)
        return float(value), transposed @ LOGISTIC.first(margins, data.labels) + l2 * point

    def product(point: Floats, vector: Floats) -> Floats:
        curvature = LOGISTIC.second(matrix @ point, data.labels)
        found: Floats = transposed @ (curvature * (matrix @ vector)) + l2 * vector
        return found

    def lbfgs() -> float:
        nonlocal start
        found = scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
        start = found.x
        return float(found.fun)

    start = np.zeros(matrix.shape[1])
    spent = timed(lbfgs)
    end = scipy.optimize.minimize(objective, start, jac=True, hessp=product, method="trust-ncg", options={"gtol": 1e-4})
    took = f"{spent.wall_s:>12.1f} s wall, {spent.cpu_s:.1f} s CPU, {spent.objective / end.fun - 1:.1e} above"
    print(f"{'SciPy, L-BFGS on the joint problem':<46}{took}")
    print(f"{'joint optimum (SciPy, Newton-CG)':<46}{end.fun:>12.4f}")
    return float(end.fun)


def entities_per_second(entities: int) -> float:
    """Return how many entities of 10 rows and 5 features are solved in a second."""
    examples = _small_rows(entities)
    grouped, _ = group(np.repeat(np.arange(entities), 10), examples)
    terms, start = CellTerms.ridge(grouped, np.ones(5)), np.zeros(len(grouped.cells))
    started = time.process_time()
    solve_entities(grouped, examples.offsets, terms, start, LOGISTIC)
    return entities / (time.process_time() - started)


def scipy_entities_per_second(entities: int) -> float:
    """Return the same of one call of SciPy's L-BFGS an entity."""
    examples = _small_rows(entities)
    dense = examples.rows.to_dense().reshape(entities, 10, 5)
    labels = examples.labels.reshape(entities, 10)

    def solve(matrix: Floats, own: Floats) -> None:
        def objective(point: Floats) -> tuple[float, Floats]:
            margins = matrix @ point
            value = LOGISTIC.value(margins, own).sum() + 0.5 * point @ point
            return float(value), matrix.T @ LOGISTIC.first(margins, own) + point

        scipy.optimize.minimize(objective, np.zeros(5), jac=True, method="L-BFGS-B", options={"ftol": 1e-12})

    started = time.process_time()
    for matrix, own in zip(dense, labels, strict=True):
        solve(matrix, own)
    return entities / (time.process_time() - started)


def _small_rows(entities: int) -> Examples:
    random = np.random.default_rng(0)
    rows = entities * 10
    labels: Floats = (random.random(rows) < 0.5).astype(np.float64)
    return Examples(SparseRows.from_dense(random.normal(size=(rows, 5))), labels, np.ones(rows), np.zeros(rows))


if __name__ == "__main__":
    main()
