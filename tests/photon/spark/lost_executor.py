"""A fit whose executor is killed in the middle of a sweep, as a program: it needs a cluster of its own.

Prints the objectives of the disturbed fit and of one in this process, and the largest difference of their coefficients.
"""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from photon.local import LocalData, fit
from photon.rows import SparseRows
from photon.settings import CoordinateSettings, FitSettings
from photon.spark.arrow_rows import vectors
from photon.spark.train import ShardShape, SparkGlmix

ROWS = 200
SETTINGS = FitSettings(
    task="logistic",
    coordinates=(
        CoordinateSettings(name="global", kind="fixed", shard="x", l2=1.0),
        CoordinateSettings(name="per_user", kind="random", shard="x", entity="user", l2=2.0),
    ),
    max_sweeps=2,
    tolerance=0.0,
)


def rows() -> LocalData:
    random = np.random.default_rng(0)
    matrix = np.column_stack([random.normal(size=(ROWS, 2)), np.ones(ROWS)])
    return LocalData(
        labels=random.integers(0, 2, ROWS).astype(float),
        weights=np.ones(ROWS),
        offsets=np.zeros(ROWS),
        shards={"x": SparseRows.from_dense(matrix)},
        ids={"user": random.integers(0, 20, ROWS)},
        intercepts={"x": 2},
    )


def table(data: LocalData) -> pa.Table:
    return pa.table(
        {
            "uid": pa.array(np.arange(ROWS)),
            "role": pa.array(np.zeros(ROWS, np.int8)),
            "response": pa.array(data.labels),
            "weight": pa.array(data.weights),
            "offset": pa.array(data.offsets),
            "ids": pa.StructArray.from_arrays([pa.array(data.ids["user"])], ["user"]),
            "shards": pa.StructArray.from_arrays([vectors(data.shards["x"])], ["x"]),
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
    data = rows()
    glmix = SparkGlmix(spark.createDataFrame(table(data)), SETTINGS, {"x": ShardShape(3, 2)}, ("train",), partitions=2)
    user, killed, sweeps = glmix.random[0], [], []
    update = user.update

    def disturbed(scores: object) -> object:
        if len(sweeps) == 1 and not killed:
            killed.append(executors()[0])
            os.kill(killed[0], signal.SIGKILL)
        return update(scores)

    user.update = disturbed
    glmix.fit(["train"], progress=sweeps.append)
    solved = glmix.coefficients(user).orderBy("entity").collect()
    expected = fit(data, SETTINGS)
    found = np.concatenate([glmix.fixed.coefficients, *(row["values"] for row in solved)])
    apart = np.abs(found - np.concatenate([effect.coefficients for effect in expected.model.effects])).max()
    report = {
        "disturbed": [sweep.objective for sweep in sweeps],
        "expected": [sweep.objective for sweep in expected.descent.sweeps],
        "apart": float(apart),
        "killed": len(killed),
    }
    print(json.dumps(report))  # noqa: T201  # a program
    spark.stop()


if __name__ == "__main__":
    main()
