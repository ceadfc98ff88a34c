"""Snapshots of feature tables: what a fold over the change log gives, found again by its keys in mapped files."""

import datetime as dt
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.snapshot_features import Config, inputs, run
from yarnmill import fs
from yarnmill.errors import BadDataError, NotFoundError
from yarnmill.featuresnapshot import FeatureSnapshot, SnapshotFeature, SnapshotKey, read_snapshot
from yarnmill.flavours.features import FeaturesPredictor
from yarnmill.flavours.features_files import features_example, prepare_features
from yarnmill.partitions import arrow_schema, write_partition
from yarnmill.records import canonical_json
from yarnmill.tables import FeatureTable, parse_feature_table, write_definition

if TYPE_CHECKING:
    from conftest import Shop
    from pyspark.sql import SparkSession

PAIRS = parse_feature_table(
    """
namespace: shop
name: pairs
meaning: What a client does with goods.
event_time: since
keys:
  - {name: client, dtype: string, meaning: Who.}
  - {name: goods, dtype: int64, meaning: What.}
features:
  - {name: times, dtype: float64, owner: me, meaning: How often.}
  - {name: words, dtype: bag, owner: me, meaning: Words.}
  - {name: last, dtype: float64, owner: me, meaning: When., default: 5.0}
""",
    source="pairs.yaml",
)


def opened(output: str, folder: Path) -> FeaturesPredictor:
    folder.mkdir()
    signature = prepare_features(output, folder)
    return FeaturesPredictor(folder, signature)


def taken(spark: "SparkSession", shop: "Shop", tmp_path: Path, **settings: Any) -> FeaturesPredictor:
    config = Config(output=str(tmp_path / "snapshot"), tables=shop.root, **settings)
    run(spark, config)
    return opened(config.output, tmp_path / "bundle")


def test_the_last_change_of_an_entity_counts(spark: "SparkSession", shop: "Shop", tmp_path: Path) -> None:
    later = shop.day + dt.timedelta(days=1)
    shop.write_clients([("bob", 60, 11.0, [("new", 1.0)]), ("zoë", 70, None, [])], later)
    shop.write_clients([("ann", 80, 99.0, [])], later + dt.timedelta(days=1))
    found = taken(spark, shop, tmp_path, table="shop.clients", ds=later)
    assert found.record.ds == later
    assert found.entities == 3
    clients = np.array(["zoë", "ann", "nobody", "bob", "a name that is longer than any"])
    answer = found.predict({"client": clients})
    assert answer["spent"].tolist() == [-1.0, -1.0, -1.0, 11.0, -1.0]  # null, and unknown: the default
    assert answer["words"].tolist() == [{}, {"red": 3.0}, {}, {"new": 1.0}, {}]
    assert read_snapshot(str(tmp_path / "snapshot")).table == "shop.clients"


def test_pairs_of_keys_are_found_and_no_others(spark: "SparkSession", shop: "Shop", tmp_path: Path) -> None:
    drawn = random.Random(3)
    clients = ["ann", "bob", "cleo", "ännchen", "z"]
    log = [
        (
            drawn.choice(clients),
            drawn.randrange(40),
            minute,
            drawn.choice([None, drawn.random()]),
            [(word, drawn.random()) for word in drawn.sample(["a", "b", "c"], drawn.randrange(4))],
        )
        for minute in range(120)
    ]
    write_pairs(shop, PAIRS, log)
    found = taken(spark, shop, tmp_path, table="shop.pairs")
    last = {(client, goods): (times, dict(words)) for client, goods, _, times, words in log}
    assert found.entities == len(last)
    asked = [(client, goods) for client in [*clients, "", "zz"] for goods in range(-1, 41)]
    keys = {"client": np.array([one for one, _ in asked]), "goods": np.array([one for _, one in asked])}
    answer = found.predict(keys)
    for row, pair in enumerate(asked):
        times, words = last.get(pair, (None, {}))
        assert answer["times"][row] == times or (times is None and np.isnan(answer["times"][row]))
        assert answer["words"][row] == words
    assert set(answer["last"].tolist()) == {5.0}
    example = features_example(tmp_path / "bundle", found.signature)
    assert (found.find(example) >= 0).all()


def write_pairs(shop: "Shop", table: FeatureTable, log: list[tuple[Any, ...]]) -> None:
    client, goods, minutes, times, words = (list(column) for column in zip(*log, strict=True))
    columns = [client, goods, [shop.minute(one) for one in minutes], times, words, [None] * len(log)]
    schema = arrow_schema(table)
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
    write_partition(shop.root, table, shop.day, pa.Table.from_arrays(arrays, schema=schema), "0" * 64)
    write_definition(shop.root, table)


def test_a_day_that_was_not_loaded_is_refused(shop: "Shop", tmp_path: Path) -> None:
    config = Config(output=str(tmp_path / "snapshot"), tables=shop.root, table="shop.clients", ds=dt.date(2026, 2, 3))
    with pytest.raises(NotFoundError, match="the last one before it is 2026-01-31"):
        inputs(config)


def written(folder: Path, rows: dict[str, list[Any]], keys: tuple[SnapshotKey, ...]) -> str:
    """Write the rows of a snapshot by hand, as no job would."""
    features = tuple(SnapshotFeature(name=name, dtype="float64") for name in rows if name == "x")
    record = FeatureSnapshot(table="t.t", ds=dt.date(2026, 1, 1), keys=keys, features=features)
    (folder / "snapshot").mkdir()
    (folder / "snapshot" / "snapshot.json").write_bytes(canonical_json(record))
    with fs.open_write(folder / "snapshot" / "rows" / "part-0.parquet") as stream:
        pq.write_table(pa.table(rows), stream)
    return str(folder / "snapshot")


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ({"id": [1, 3, 2], "x": [1.0, 2.0, 3.0]}, "id 2 stands after 3"),
        ({"id": [1, 1], "x": [1.0, 2.0]}, "id 1 stands after 1"),
        ({"id": [1, 2], "x": [1.0, float("nan")]}, "'x' has NaN or infinite numbers"),
    ],
)
def test_rows_that_could_not_be_searched_are_refused(
    tmp_path: Path, rows: dict[str, list[Any]], complaint: str
) -> None:
    output = written(tmp_path, rows, (SnapshotKey(name="id", dtype="int64"),))
    (tmp_path / "bundle").mkdir()
    with pytest.raises(BadDataError, match=complaint):
        prepare_features(output, tmp_path / "bundle")


def test_more_pairs_than_a_number_tells_apart_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = (SnapshotKey(name="id", dtype="int64"), SnapshotKey(name="other", dtype="int64"))
    output = written(tmp_path, {"id": [1, 2], "other": [1, 1], "x": [0.0, 0.0]}, keys)
    for place, values in enumerate(([1, 2], [1])):
        with fs.open_write(f"{output}/keys/{place}/part-0.parquet") as stream:
            pq.write_table(pa.table({"value": values}), stream)
    monkeypatch.setattr("yarnmill.flavours.features_files._LARGEST_CELL", 1)
    (tmp_path / "bundle").mkdir()
    with pytest.raises(BadDataError, match="more pairs of id, other"):
        prepare_features(output, tmp_path / "bundle")


def test_a_table_of_bags_in_which_nothing_stands_is_a_snapshot_too(
    spark: "SparkSession", shop: "Shop", tmp_path: Path
) -> None:
    bags = parse_feature_table(
        """
namespace: shop
name: bags
meaning: Bags alone.
event_time: since
keys: [{name: client, dtype: string, meaning: Who.}]
features: [{name: words, dtype: bag, owner: me, meaning: Words.}]
""",
        source="bags.yaml",
    )
    schema = arrow_schema(bags)
    columns = [["ann", "bob", None], [shop.minute(1)] * 3, [[], None, [("lost", 1.0)]]]
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
    write_partition(shop.root, bags, shop.day, pa.Table.from_arrays(arrays, schema=schema), "0" * 64)
    write_definition(shop.root, bags)
    found = taken(spark, shop, tmp_path, table="shop.bags")
    assert found.entities == 2  # what names no entity is of none
    assert found.predict({"client": np.array(["bob", "ann", "lost"])})["words"].tolist() == [{}, {}, {}]
