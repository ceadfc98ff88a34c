"""Rows a second and core of the scoring job, mapped and joined, and of a plain Spark SQL join: a program of its own.

Each way scores two parts of one training set and writes the scores; the difference of both is what rows cost after the
start. CPU time is that of this process and all below it, the JVM and the Python workers, compiling of the JVM included.
The rival joins rows with one array of coefficients an entity, adds up the products in SQL and writes the same columns.
Evaluation is left out: the rival has none.
"""

import datetime as dt
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from glmix_scoring import GLOBAL, ITEMS, OWN, USERS, effect
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it
from spark_session import quiet_session

from jobs.score import Config, ScoredModel, plan_models, write_scores
from photon.model import EffectRecord, FixedEffect, ModelRecord, RandomEffect, save_model
from photon.rows import SparseRows
from photon.spark.arrow_rows import vectors
from photon.spark.session_settings import SESSION_SETTINGS
from yarnmill import fs
from yarnmill.blobs import open_store
from yarnmill.bundle.example import Example, write_example
from yarnmill.bundle.manifest import Field, Lineage, Signature
from yarnmill.bundle.pack import pack
from yarnmill.bundle.store import put_bundle
from yarnmill.records import canonical_json
from yarnmill.trainingset import RECORD_NAME, Shard, TrainingSet, read_training_set, split_url

SMALL, LARGE, FILE_ROWS = 200_000, 800_000, 200_000
SHARDS = {"global": GLOBAL, "user": OWN + 1, "item": OWN + 1}
SIZES = {"validation": SMALL, "test": LARGE}
TARGET = 200_000


def cpu_s() -> float:
    """Return the CPU seconds of this process and all below it, ended ones included."""
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:  # it has just ended, and its parent counts it
                continue
            parents[int(folder.name)] = int(fields[1])
            spent[int(folder.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    own = {os.getpid()}
    while below := {process for process, parent in parents.items() if parent in own} - own:
        own |= below
    return sum(spent.get(process, 0.0) for process in own)


def write_rows(url: str, split: str, rows: int, random: np.random.Generator) -> None:
    """Write rows of a training set."""
    for part in range(rows // FILE_ROWS):
        dense = np.where(random.random((FILE_ROWS, GLOBAL)) < 0.3, random.normal(size=(FILE_ROWS, GLOBAL)), 0.0)
        own = SparseRows.from_dense(np.column_stack([random.normal(size=(FILE_ROWS, OWN)), np.ones(FILE_ROWS)]))
        ids = [pa.array(random.integers(0, known, FILE_ROWS)) for known in (USERS, ITEMS)]
        table = pa.table(
            {
                "uid": pa.array(np.arange(FILE_ROWS) + part * FILE_ROWS),
                "event_time": pa.array(np.zeros(FILE_ROWS, np.int64), pa.timestamp("us", "UTC")),
                "response": random.integers(0, 2, FILE_ROWS).astype(np.float64),
                "weight": np.ones(FILE_ROWS),
                "ids": pa.StructArray.from_arrays(ids, ["user", "item"]),
                "shards": pa.StructArray.from_arrays(
                    [vectors(SparseRows.from_dense(dense)), vectors(own), vectors(own)], list(SHARDS)
                ),
            }
        )
        with fs.open_write(fs.join(split_url(url, split), f"part-{part:03d}.parquet")) as stream:
            pq.write_table(table, stream)


def prepared(folder: Path) -> tuple[Config, tuple[FixedEffect, RandomEffect, RandomEffect]]:
    """Return a job on a fresh training set and model below a folder, and the model's effects."""
    random, url, blobs = np.random.default_rng(0), (folder / "rows").as_uri(), (folder / "blobs").as_uri()
    for split, rows in SIZES.items():
        write_rows(url, split, rows, random)
    record = TrainingSet(
        response="response",
        keys={"user": "int64", "item": "int64"},
        features=(),
        shards=tuple(Shard(name=name, features=(), dimension=size, index_sha256=name) for name, size in SHARDS.items()),
        rows={"train": 0, **SIZES},
        inputs=(),
    )
    fs.write_bytes(fs.join(url, RECORD_NAME), canonical_json(record))
    effects = (
        FixedEffect("global", "global", random.normal(size=GLOBAL)),
        effect("user", USERS, random, 0.5),
        effect("item", ITEMS, random, 0.5),
    )
    (folder / "model").mkdir()
    records = tuple(
        EffectRecord(
            name=one.name,
            shard=one.shard,
            columns=SHARDS[one.shard],
            entity=getattr(one, "entity", None),
            index_sha256=one.shard,
        )
        for one in effects
    )
    save_model(folder / "model", ModelRecord(task="logistic", effects=records), iter(effects))
    signature = Signature(
        inputs=(Field(name="user", dtype="int64"), Field(name="item", dtype="int64")),
        outputs=(Field(name="probability", dtype="float64"),),
    )
    # Nobody asks this model by its features: the rows bring their vectors.
    write_example(folder / "model", Example(inputs={"user": (0,), "item": (0,)}, outputs={"probability": (0.5,)}))
    manifest = pack(
        folder / "model",
        flavour="glmix",
        signature=signature,
        lineage=Lineage(inputs=(), code_version="0", run_id="r", application_id="", configuration={}),
        metrics={},
        environment={},
        created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )
    bundle_id = put_bundle(open_store(blobs), folder / "model", manifest)
    model = ScoredModel(name="glmix", bundle_id=bundle_id)
    return Config(output="", training_set=url, blobs=blobs, models=(model,)), effects


def by_job(spark: SparkSession, config: Config) -> None:
    """Score and write as the job does."""
    write_scores(spark, config, plan_models(config, read_training_set(config.training_set)))


def coefficient_arrays(spark: SparkSession, folder: Path, one: RandomEffect) -> DataFrame:
    """Return one dense array of coefficients an entity."""
    dense = np.zeros(len(one.entities) * one.columns)
    dense[one.cells] = one.coefficients
    offsets = pa.array(np.arange(len(one.entities) + 1) * one.columns, pa.int32())
    lists = pa.ListArray.from_arrays(offsets, pa.array(dense))
    path = str(folder / f"{one.name}.parquet")
    pq.write_table(pa.table({f"_{one.name}": pa.array(one.entities), f"of_{one.name}": lists}), path)
    return spark.read.parquet(path)


def product(shard: str, coefficients: Column) -> Column:
    """Return the sum of a vector's values times their coefficients."""
    entries = F.zip_with(
        F.col(f"shards.{shard}.indices"),
        F.col(f"shards.{shard}.values"),
        lambda index, value: value * F.get(coefficients, index),
    )
    return F.aggregate(entries, F.lit(0.0), lambda total, one: total + F.coalesce(one, F.lit(0.0)))


def by_sql(config: Config, rows: DataFrame, coefficients: dict[str, DataFrame], fixed: FixedEffect) -> None:
    """Score and write as one would in plain Spark SQL."""
    for name, one in coefficients.items():
        rows = rows.join(one, F.col(f"ids.{name}") == F.col(f"_{name}"), "left")
    margin = product("global", F.array(*map(F.lit, fixed.coefficients.tolist())))
    for name in coefficients:
        margin += product(name, F.col(f"of_{name}"))
    score = 1.0 / (1.0 + F.exp(-margin))
    rows.select("uid", "event_time", "response", "weight", "ids", score.alias("score")).write.parquet(config.output)


def session() -> SparkSession:
    """Return a Spark of two cores in this process, set as that of a job is."""
    settings = {
        **SESSION_SETTINGS,
        "spark.driver.extraJavaOptions": SESSION_SETTINGS["spark.executor.extraJavaOptions"],
        "spark.driver.memory": "2g",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.session.timeZone": "UTC",
    }
    return quiet_session("local[2]", settings)


def largest_difference(spark: SparkSession, one: str, other: str) -> float:
    """Return how far the scores of two outputs are apart."""
    others = spark.read.parquet(other).select("uid", F.col("score").alias("other"))
    pairs = spark.read.parquet(one).select("uid", "score").join(others, "uid")
    found = pairs.agg(F.max(F.abs(F.col("score") - F.col("other"))), F.count(F.lit(1))).head()
    if found is None or found[1] != SMALL:
        raise RuntimeError(f"{one} and {other} have not the same rows")
    return float(found[0])


def main() -> None:
    """Print one line a way."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        config, (fixed, *random) = prepared(folder)
        spark = session()
        coefficients = {one.name: coefficient_arrays(spark, folder, one) for one in random}

        def rival(asked: Config) -> None:
            rows = spark.read.parquet(*(split_url(asked.training_set, split) for split in asked.splits))
            by_sql(asked, rows, coefficients, fixed)

        ways: dict[str, Callable[[Config], None]] = {
            "mapped": lambda asked: by_job(spark, asked),
            "joined by entity": lambda asked: by_job(spark, msgspec.structs.replace(asked, join_above_mib=0)),
            "Spark SQL join": rival,
        }
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; job after its start, {LARGE - SMALL:,} rows")
        print(f"{'':<18}{'rows/s/core':>14}{'us a row':>10}{'of the goal':>13}{'wall rows/s':>13}{'as mapped':>12}")
        for number, (name, way) in enumerate(ways.items()):
            spent = {}
            for time_round, split in enumerate(("validation", "validation", "test")):  # the first one warms up
                output = str(folder / f"scores-{number}-{time_round}")
                asked = msgspec.structs.replace(config, output=output, splits=(split,))
                before, started = cpu_s(), time.perf_counter()
                way(asked)
                spent[split] = (cpu_s() - before, time.perf_counter() - started)
            cpu, wall = (large - small for large, small in zip(spent["test"], spent["validation"], strict=True))
            first, own = (str(folder / f"scores-{one}-0") for one in (0, number))
            below = "" if way is rival else "/model=glmix"
            apart = largest_difference(spark, f"{own}{below}", f"{first}/model=glmix")
            rate = (LARGE - SMALL) / cpu
            line = f"{name:<18}{rate:>14,.0f}{1e6 / rate:>10.2f}{rate / TARGET:>13.0%}{(LARGE - SMALL) / wall:>13,.0f}"
            print(f"{line}{apart:>12.0e}", flush=True)
        print(f"load {os.getloadavg()[0]:.1f} at the end")
        spark.stop()


if __name__ == "__main__":
    main()
