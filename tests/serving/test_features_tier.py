"""From feature tables to answers: what a tier says of entities alone is what the job that scores says of their rows."""

import datetime as dt
import random
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from shop import CLIENTS, DAY, GOODS, START
from waiting import eventually

from examples import add_example
from jobs import build_training_set, score, snapshot_features, train_glmix
from jobs.indexing import ShardConfig
from jobs.split import TimeSplit
from photon.settings import CoordinateSettings
from serving.transformer.bundled import add_transformer
from yarnmill.flavours.features_files import features_example, prepare_features
from yarnmill.flavours.glmix import prepare_glmix
from yarnmill.flavours.glmix_example import glmix_example
from yarnmill.partitions import arrow_schema, write_partition
from yarnmill.tables import (
    FeatureTable,
    ObservationTable,
    parse_observation_table,
    write_definition,
)

if TYPE_CHECKING:
    from conftest import Platform, Start
    from pyspark.sql import SparkSession

TRANSFORMER = """
inputs:
  - {name: client, json_path: $.client, dtype: string}
  - {name: goods, json_path: "$.shelf[*]", dtype: int64}
lookups:
  - {table: shop.clients, entities: {client: client}, features: [spent, {name: words, dtype: bag}]}
  - {table: shop.goods, entities: {goods: goods}, features: [price]}
"""
VISITS = parse_observation_table(
    """
namespace: shop
name: visits
meaning: Visits.
uid: uid
event_time: at
response: bought
keys:
  - {name: client, dtype: string, meaning: Who.}
  - {name: goods, dtype: int64, meaning: What.}
""",
    source="visits.yaml",
)
NAMES = [f"c{number}" for number in range(8)] + ["ünde", "nobody yet"]
WORDS = ["red", "blue", "grün"]


@pytest.fixture
def server() -> str:
    """Return the server of the tier: one of them shows it."""
    return "gunicorn"


def write(root: str, table: FeatureTable | ObservationTable, columns: list[list[Any]]) -> None:
    schema = arrow_schema(table)
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
    write_partition(root, table, DAY, pa.Table.from_arrays(arrays, schema=schema), "0" * 64)
    write_definition(root, table)


def write_tables(root: str) -> None:
    """Write change logs, and visits after the last change."""
    drawn = random.Random(7)
    moments = [START + dt.timedelta(minutes=minute) for minute in range(60)]
    clients = [drawn.choice(NAMES[:-1]) for _ in moments]
    bags = [[(word, drawn.random()) for word in drawn.sample(WORDS, drawn.randrange(3))] for _ in moments]
    write(root, CLIENTS, [clients, moments, [drawn.choice([None, drawn.gauss(0, 2)]) for _ in moments], bags])
    write(root, GOODS, [[drawn.randrange(6) for _ in moments], moments, [drawn.gauss(1, 1) for _ in moments]])
    visits = range(160)
    times = [START + dt.timedelta(hours=2, minutes=visit) for visit in visits]
    whom, what = [drawn.choice(NAMES) for _ in visits], [drawn.randrange(8) for _ in visits]
    write(root, VISITS, [list(visits), whom, what, times, [float(drawn.random() < 0.5) for _ in visits]])


def train(spark: "SparkSession", folder: Path) -> str:
    """Return the output of a model of the tables below a folder."""
    config = build_training_set.Config(
        output=f"{folder}/training_set",
        tables=f"{folder}/tables",
        observations="shop.visits",
        features=("shop.clients", "shop.goods"),
        split=TimeSplit(by="client", train=0.6, validation=0.2),
        shards=(ShardConfig(name="all", features=("words", "spent", "price")), ShardConfig(name="one")),
    )
    build_training_set.run(spark, config)
    coordinates = (
        CoordinateSettings(name="global", kind="fixed", shard="all", l2=1.0),
        CoordinateSettings(name="per_client", kind="random", shard="all", entity="client", l2=2.0),
        CoordinateSettings(name="per_goods", kind="random", shard="one", entity="goods", l2=2.0),
    )
    wanted = train_glmix.Config(
        output=f"{folder}/model", training_set=config.output, coordinates=coordinates, max_sweeps=1, partitions=1
    )
    train_glmix.run(spark, wanted)
    return wanted.output


def publish_model(platform: "Platform", output: str, folder: Path) -> str:
    """Register a model behind the transformer; return its bundle's id."""
    (folder / "bundle").mkdir()
    (folder / "transformer.yaml").write_text(TRANSFORMER)
    signature = prepare_glmix(output, folder / "bundle")
    add_example("glmix", folder / "bundle", signature, glmix_example(folder / "bundle", signature))
    add_transformer(folder / "transformer.yaml", folder / "bundle", signature)
    version, bundle_id = platform.register("shop", folder / "bundle", "glmix", signature, "shop")
    platform.answer("shop", version)
    return bundle_id


def publish_snapshot(spark: "SparkSession", platform: "Platform", table: str, folder: Path) -> None:
    config = snapshot_features.Config(output=f"{folder}/{table}", tables=f"{folder}/tables", table=table)
    snapshot_features.run(spark, config)
    bundle = folder / f"{table}.bundle"
    bundle.mkdir()
    signature = prepare_features(config.output, bundle)
    add_example("features", bundle, signature, features_example(bundle, signature))
    platform.answer(table, platform.register(table, bundle, "features", signature, table)[0])


def scores(spark: "SparkSession", platform: "Platform", bundle_id: str, folder: Path) -> list[dict[str, Any]]:
    """Return what the job says of every row of the training set."""
    config = score.Config(
        output=f"{folder}/scores",
        training_set=f"{folder}/training_set",
        blobs=platform.blobs_url,
        models=(score.ScoredModel(name="shop", bundle_id=bundle_id),),
        splits=("train", "validation", "test"),
    )
    score.run(spark, config)
    rows: list[dict[str, Any]] = pq.read_table(f"{folder}/scores/model=shop").to_pylist()
    return rows


def mapped(pid: int, name: str) -> set[tuple[str, str]]:
    """Return device and inode of the files of a name that a process has mapped."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {(line.split()[3], line.split()[4]) for line in lines if line.endswith(f"/{name}")}


def test_entities_alone_get_the_scores_of_their_rows_through_every_snapshot(
    spark: "SparkSession", platform: "Platform", start_tier: "Start", tmp_path: Path
) -> None:
    write_tables(f"{tmp_path}/tables")
    bundle_id = publish_model(platform, train(spark, tmp_path), tmp_path)
    for table in ("shop.clients", "shop.goods"):
        publish_snapshot(spark, platform, table, tmp_path)
    rows = scores(spark, platform, bundle_id, tmp_path)
    assert len(rows) == 160
    with start_tier("--workers", "2") as tier:
        url = f"{tier.url}/merlin/models/shop/v1/predict"
        shelves: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            shelves.setdefault(row["ids"]["client"], []).append(row)
        for client, shelf in shelves.items():
            body = {"client": client, "shelf": [row["ids"]["goods"] for row in shelf]}
            answer = requests.post(url, json=body, timeout=10)
            assert answer.status_code == 200, answer.text
            assert answer.headers["X-Feature-Snapshots"] == "shop.clients/1 ds=2026-01-31, shop.goods/1 ds=2026-01-31"
            expected = [row["score"] for row in shelf]
            np.testing.assert_allclose(answer.json()["predictions"], expected, rtol=0, atol=1e-12)
        assert len({row["score"] for row in rows}) > 50

        workers = tier.workers()
        files = [mapped(pid, "numbers.npy") for pid in workers]
        assert len(workers) == 2
        assert len(files[0]) == 2
        assert files[0] == files[1]  # the same pages, then, in both
        swap_under_load(platform, url, workers, files[0])


def swap_under_load(platform: "Platform", url: str, workers: list[int], before: set[tuple[str, str]]) -> None:
    """Publish another snapshot while requests run: none fails, each is of one snapshot, and the old one is let go."""
    body = {"client": "c1", "shelf": [1, 2, 3]}
    seen: dict[str, set[str]] = {}
    failures: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            while not stop.is_set():
                answer = session.post(url, json=body, timeout=10)
                if answer.status_code != 200:
                    failures.append(answer.text)
                found = re.search(r"shop.goods/(\d+)", answer.headers.get("X-Feature-Snapshots", ""))
                seen.setdefault(found[1] if found else "none", set()).add(answer.text)

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for one in askers:
        one.start()
    try:
        assert eventually(lambda: "1" in seen)
        prices = {number: (number * 3.0,) for number in range(6)}
        version, _ = platform.publish_snapshot("shop.goods", ("goods", "int64"), [("price", "float64", 0.0)], prices)
        platform.answer("shop.goods", version)
        # Both workers have it once neither maps the one before it any more.
        assert eventually(lambda: all(len(mapped(pid, "numbers.npy") & before) == 1 for pid in workers))
        assert eventually(lambda: "2" in seen)
    finally:
        stop.set()
        for one in askers:
            one.join()
    assert not failures
    assert set(seen) == {"1", "2"}
    assert [len(answers) for answers in seen.values()] == [1, 1]
    assert seen["1"] != seen["2"]
