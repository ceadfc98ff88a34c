"""How GLMix on Spark grows: ten times the rows may cost eleven times, within 4 GiB of executors.

Both sets have a fixed effect of 10 features, an effect per user and one per item of 3 features each, intercepts,
ten rows for every entity, and one user who has a tenth of all rows (with 10 million rows: 10⁶ of them). Each is
fitted by a program of its own with two executors as processes of their own; what is printed of it: wall time,
CPU of all its processes, the most memory that its executors and their Python workers had at once (proportional
set size, sampled twice a second), the most that the driver had, and the joint objective.

    python benchmarks/glmix_growth.py [--rows 1000000] [--times 10] [--sweeps 4] [--folder DIR]

Times are of the fit without Spark's start. Prints the machine's load; compare the ratio of CPU times on a busy one.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec
import numpy as np
import pyarrow as pa
import pyspark
from glmix_data import SETTINGS, frame_of
from pyspark.sql import SparkSession
from spark_session import quiet_session

from photon.local import LocalData
from photon.loss import LOGISTIC
from photon.rows import SparseRows
from photon.spark.session_settings import SESSION_SETTINGS
from photon.spark.train import ShardShape, SparkGlmix

LIMIT_RATIO, LIMIT_GIB = 1.1, 4.0
COLUMNS = {"global": 11, "user": 4, "item": 4}
ROWS_PER_ENTITY, USERS_PER_ITEM, HEAVY_SHARE = 10, 9, 0.1
ROWS_PER_PARTITION = 250_000


def main() -> None:
    """Print one line a size, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--sweeps", type=int, default=4)
    parser.add_argument("--folder", type=Path, help="where the sets lie, some 2 GB; a temporary folder if not given")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--fit", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write is not None:
        write(options.write, options.rows)
        return
    if options.fit is not None:
        fit(options.fit, options.rows, options.sweeps)
        return
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'rows':>12}{'entities':>12}{'wall s':>9}{'CPU s':>9}{'executors GiB':>15}{'driver GiB':>12}  objective")
    with tempfile.TemporaryDirectory() as temporary:
        small, large = (
            measured(rows, options.sweeps, (options.folder or Path(temporary)) / str(rows))
            for rows in (options.rows, options.rows * options.times)
        )
    wall, cpu = (
        after / before / options.times for before, after in ((small.wall_s, large.wall_s), (small.cpu_s, large.cpu_s))
    )
    print(f"rows x {options.times}: time x {wall * options.times:.1f}, CPU x {cpu * options.times:.1f}", end="; ")
    print(f"{wall / LIMIT_RATIO:.2f} of the time allowed, {large.executors_gib / LIMIT_GIB:.2f} of the memory")
    print(f"load average {os.getloadavg()[0]:.1f} at the end")


def entities_of(rows: int) -> tuple[int, int]:
    """Return how many users and items a set has."""
    items = rows // ROWS_PER_ENTITY // (USERS_PER_ITEM + 1)
    return items * USERS_PER_ITEM, items


@dataclass(frozen=True)
class Grown:
    """What one fit took."""

    wall_s: float
    cpu_s: float
    executors_gib: float


def measured(rows: int, sweeps: int, folder: Path) -> Grown:
    """Write the set if it is not there, fit it, print the line."""
    command = [sys.executable, __file__, "--rows", str(rows), "--sweeps", str(sweeps)]
    if not (folder / "_SUCCESS").exists():
        subprocess.run([*command, "--write", str(folder)], check=True)
    command += ["--fit", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program, Watch(program.pid) as watch:
        answer, _ = program.communicate()
    if program.returncode:
        sys.exit(program.returncode)
    told = json.loads(answer.splitlines()[-1])
    gib = [peak / 2**20 for peak in (watch.executors_kib, watch.driver_kib)]
    print(
        f"{rows:>12,}{sum(entities_of(rows)):>12,}{told['wall_s']:>9.1f}{told['cpu_s']:>9.1f}{gib[0]:>15.2f}{gib[1]:>12.2f}"
        f"  {told['objective']:.6f}",
        flush=True,
    )
    return Grown(told["wall_s"], told["cpu_s"], gib[0])


def session(master: str) -> SparkSession:
    """Return a quiet session; its executors have 700 MiB of heap each."""
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")])
    )
    settings = {
        "spark.driver.memory": "1g",
        "spark.executor.memory": "700m",
        **SESSION_SETTINGS,
        "spark.sql.execution.arrow.maxRecordsPerBatch": "50000",
    }
    return quiet_session(master, settings)


def write(folder: Path, rows: int) -> None:
    """Draw the set from a true model and write it, a file a partition."""
    spark = session("local[2]")
    users, items = entities_of(rows)

    def draw(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        truth = np.random.default_rng(1)
        own = {"user": truth.normal(scale=0.5, size=(users, 4)), "item": truth.normal(scale=0.3, size=(items, 4))}
        fixed = truth.normal(scale=0.4, size=COLUMNS["global"])
        for batch in batches:
            uids = batch.column(0).to_numpy()
            yield from drawn(uids, fixed, own).to_batches()

    numbers = spark.range(rows, numPartitions=max(2, rows // ROWS_PER_PARTITION))
    numbers.mapInArrow(draw, SCHEMA).write.parquet(str(folder))
    spark.stop()


_VECTOR = "struct<indices: array<int>, values: array<double>>"
SCHEMA = (
    "uid long, role tinyint, response double, weight double, offset double, ids struct<user: long, item: long>, "
    f"shards struct<global: {_VECTOR}, user: {_VECTOR}, item: {_VECTOR}>"
)


def drawn(uids: np.ndarray, fixed: np.ndarray, own: dict[str, np.ndarray]) -> pa.Table:
    """Return rows of these numbers: a function of the first of them."""
    random, rows = np.random.default_rng(int(uids[0])), len(uids)
    ids = {name: random.integers(0, len(truth), rows) for name, truth in own.items()}
    ids["user"][random.random(rows) < HEAVY_SHARE] = 0
    dense = {name: np.column_stack([random.normal(size=(rows, n - 1)), np.ones(rows)]) for name, n in COLUMNS.items()}
    margins = dense["global"] @ fixed
    margins += sum(np.sum(dense[name] * truth[ids[name]], axis=1) for name, truth in own.items())
    data = LocalData(
        labels=(random.random(rows) < LOGISTIC.mean(margins)).astype(np.float64),
        weights=np.ones(rows),
        offsets=np.zeros(rows),
        shards={name: SparseRows.from_dense(matrix) for name, matrix in dense.items()},
        ids=ids,
        intercepts={name: n - 1 for name, n in COLUMNS.items()},
    )
    table = frame_of(data)
    return table.set_column(0, "uid", pa.array(uids))


def fit(folder: Path, rows: int, sweeps: int) -> None:
    """Fit on two executors and print what it took, as JSON in the last line."""
    home = Path(tempfile.mkdtemp(dir=folder.parent))
    # Spark's workers keep their logs below its home: one of links keeps them out of the installed package.
    for part in Path(pyspark.__file__).parent.iterdir():
        (home / part.name).symlink_to(part)
    os.environ["SPARK_HOME"] = str(home)
    spark = session("local-cluster[2,1,700]")
    spark.range(2, numPartitions=2).mapInArrow(lambda batches: batches, "id long").count()  # Spark has begun
    shapes = {name: ShardShape(columns, columns - 1) for name, columns in COLUMNS.items()}
    settings = msgspec.structs.replace(SETTINGS, max_sweeps=sweeps, tolerance=0.0)
    started, used = time.monotonic(), cpu_of_descendants()
    data = spark.read.parquet(str(folder))
    glmix = SparkGlmix(data, settings, shapes, ("train",), partitions=max(2, rows // ROWS_PER_PARTITION))
    glmix.check()
    said = f"loaded after {time.monotonic() - started:.0f} s"
    print(said, file=sys.stderr)
    descent = glmix.fit(
        ["train"], progress=lambda sweep: print(f"sweep {sweep.number}: {sweep.objective:.3f}", file=sys.stderr)
    )
    for effect in glmix.random:
        glmix.coefficients(effect).write.mode("overwrite").parquet(
            str(folder.with_name(f"{folder.name}-{effect.name}"))
        )
    told = {"wall_s": time.monotonic() - started, "cpu_s": cpu_of_descendants() - used, "objective": descent.objective}
    print(json.dumps(told))
    spark.stop()
    shutil.rmtree(home)


def processes() -> dict[int, tuple[int, str, float]]:
    """Return the parent, the command line and the CPU seconds of every process."""
    found, tick = {}, os.sysconf("SC_CLK_TCK")
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                command = (folder / "cmdline").read_text()
            except OSError:
                continue
            # Children that have ended are in their parents' count.
            found[int(folder.name)] = int(fields[1]), command, sum(map(int, fields[11:15])) / tick
    return found


def below(root: int, known: dict[int, tuple[int, str, float]]) -> set[int]:
    """Return a process and its descendants."""
    family, grows = {root}, True
    while grows:
        new = {pid for pid, (parent, _, _) in known.items() if parent in family} - family
        family, grows = family | new, bool(new)
    return family & known.keys()


def cpu_of_descendants() -> float:
    """Return the CPU seconds of this process and its descendants so far."""
    known = processes()
    own = resource.getrusage(resource.RUSAGE_SELF)
    rest = sum(known[pid][2] for pid in below(os.getpid(), known) - {os.getpid()})
    return rest + own.ru_utime + own.ru_stime


class Watch:
    """Looks twice a second at the memory of a program's executors and of all its other processes."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.executors_kib = self.driver_kib = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.5):
            known = processes()
            family = below(self._root, known)
            heads = [pid for pid in family if "CoarseGrainedExecutorBackend" in known[pid][1]]
            executors = {pid for head in heads for pid in below(head, known)}
            self.executors_kib = max(self.executors_kib, sum(map(proportional_kib, executors)))
            self.driver_kib = max(self.driver_kib, sum(map(proportional_kib, family - executors)))


def proportional_kib(pid: int) -> int:
    """Return a process' memory, of shared pages its share; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
