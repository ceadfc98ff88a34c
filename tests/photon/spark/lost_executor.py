"""A fit whose executor is killed in the middle of a sweep, as a program: it needs a cluster of its own.

Prints the objectives of an undisturbed fit and of a disturbed one, and the largest difference of their coefficients.
"""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from photon.rows import SparseRows
from photon.settings import CoordinateSettings, FitSettings
from photon.spark.train import ShardShape, SparkGlmix

ROWS = 400
SETTINGS = FitSettings(
    task="logistic",
    coordinates=(
        CoordinateSettings(name="global", kind="fixed", shard="x", l2=1.0),
        CoordinateSettings(name="per_user", kind="random", shard="x", entity="user", l2=2.0),
    ),
    max_sweeps=3,
    tolerance=0.0,
)


def table() -> pa.Table:
    random = np.random.default_rng(0)
    matrix = np.column_stack([random.normal(size=(ROWS, 2)), np.ones(ROWS)])
    rows = SparseRows.from_dense(matrix)
    parts = [
        pa.ListArray.from_arrays(pa.array(rows.indptr, pa.int32()), pa.array(p)) for p in (rows.indices, rows.values)
    ]
    return pa.table(
        {
            "uid": pa.array(np.arange(ROWS)),
            "role": pa.array(np.zeros(ROWS, np.int8)),
            "response": pa.array(random.integers(0, 2, ROWS).astype(float)),
            "weight": pa.array(np.ones(ROWS)),
            "offset": pa.array(np.zeros(ROWS)),
            "ids": pa.StructArray.from_arrays([pa.array(random.integers(0, 20, ROWS))], ["user"]),
            "shards": pa.StructArray.from_arrays([pa.StructArray.from_arrays(parts, ["indices", "values"])], ["x"]),
        }
    )


def executors() -> list[int]:
    """Return the processes of executors that descend from this one."""
    parents, found = {}, []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command, stat = (folder / "cmdline").read_text(), (folder / "stat").read_text()
            except OSError:
                continue
            parents[int(folder.name)] = int(stat.rsplit(")", 1)[1].split()[1])
            if "CoarseGrainedExecutorBackend" in command:
                found.append(int(folder.name))

    def is_ours(process: int) -> bool:
        while process > 1:
            if process == os.getpid():
                return True
            process = parents.get(process, 0)
        return False

    return sorted(process for process in found if is_ours(process))


def coefficients(glmix: SparkGlmix) -> np.ndarray:
    rows = glmix.coefficients(glmix.random[0]).orderBy("entity").collect()
    return np.concatenate([glmix.fixed.coefficients, *(row["values"] for row in rows)])


def main() -> None:
    spark = (
        SparkSession.builder.master("local-cluster[2,1,1024]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.executorEnv.PYTHONPATH", os.environ["PYTHONPATH"])
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    glmix = SparkGlmix(spark.createDataFrame(table()), SETTINGS, {"x": ShardShape(3, 2)}, ("train",), partitions=2)
    undisturbed = [sweep.objective for sweep in glmix.fit(["train"]).sweeps]
    before = coefficients(glmix)

    user, killed = glmix.random[0], []
    update = user.update

    def disturbed(scores: object) -> object:
        if len(glmix_sweeps) == 1 and not killed:
            killed.append(executors()[0])
            os.kill(killed[0], signal.SIGKILL)
        return update(scores)

    glmix_sweeps: list[object] = []
    user.update = disturbed
    objectives = [sweep.objective for sweep in glmix.fit(["train"], progress=glmix_sweeps.append).sweeps]
    apart = float(np.abs(coefficients(glmix) - before).max())
    print(json.dumps({"undisturbed": undisturbed, "disturbed": objectives, "apart": apart, "killed": len(killed)}))  # noqa: T201  # a program
    spark.stop()


if __name__ == "__main__":
    main()
