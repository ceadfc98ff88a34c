"""Photon's records as rows: every field, every id, every feature, and what is wrong said with its file."""

from pathlib import Path
from typing import Any

import fastavro
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812

from jobs.failures import own_cause
from jobs.game import files
from jobs.game.coordinates import ShardOption
from jobs.game.examples import Columns, ExampleForm, _Reader, feature_key, name_and_term, read_examples
from jobs.game.files import Range, avro_files, input_folders, qualified, ranges
from jobs.game.grammar import parse_days
from jobs.game.indexes import checked_maps, index_of_lists, index_of_rows, read_index, vectors, write_index
from photon.avro.schemas import RESPONSE_PREDICTION, TRAINING_EXAMPLE, Schema
from yarnmill import fs
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError
from yarnmill.trainingset import INTERCEPT

SHARDS = (
    ShardOption(name="global", bags=("features", "userFeatures")),
    ShardOption(name="user", bags=("userFeatures",)),
    ShardOption(name="bias"),
)
FORM = ExampleForm(columns=Columns(), shards=SHARDS, keys=("userId", "itemId"))
RANGE = Range(number=0, url="x", start=0, stop=1)


def read(spark: SparkSession, folder: str, form: ExampleForm = FORM, least: int = 1) -> Any:
    return read_examples(spark, ranges(avro_files([folder]), least), form)


def write_one(folder: Path, schema: Schema, *records: dict[str, Any]) -> str:
    folder.mkdir()
    with (folder / "x.avro").open("wb") as stream:
        fastavro.writer(stream, fastavro.parse_schema(schema), records)
    return f"file://{folder}"


def test_rows_are_the_records_however_the_files_are_cut(spark: SparkSession, clicks: Any, tmp_path: Path) -> None:
    folder = clicks.write(tmp_path / "clicks", files=2)
    whole = read(spark, folder)
    cut = read(spark, folder, least=9)
    assert cut.rdd.getNumPartitions() >= 9
    found = {row.given_uid: row for row in cut.collect()}
    assert len(found) == len({row.uid for row in found.values()}) == len(clicks.records) == whole.count()
    for record in clicks.records:
        row = found[record["uid"]]
        assert row.response == record["response"]
        assert row.weight == (1.0 if record["weight"] is None else record["weight"])
        assert row.offset == (record["offset"] or 0.0)
        assert row.ids.asDict() == {"userId": str(record["userId"]), "itemId": record["metadataMap"]["itemId"]}
        expected = {feature_key(one["name"], one["term"]): one["value"] for one in record["features"]}
        assert row.features.features == expected
        assert row.features.userFeatures == {"age": record["userFeatures"][0]["value"]}
    # The same reading gives the same uids: a lost partition is read again as it was.
    assert sorted(row.uid for row in cut.collect()) == sorted(row.uid for row in found.values())


def test_vectors_hold_every_feature_of_their_bags(spark: SparkSession, clicks: Any, tmp_path: Path) -> None:
    rows = read(spark, clicks.write(tmp_path / "clicks")).persist()
    index = index_of_rows(spark, rows, SHARDS)
    maps = checked_maps(index, SHARDS)
    assert {name: one.dimension for name, one in maps.items()} == {"global": 8, "user": 2, "bias": 1}
    columns = {(row.shard, row.term or row.name): row["index"] for row in index.collect()}
    found = {row.given_uid: row.shards for row in vectors(rows, index, maps, SHARDS).collect()}
    for record in clicks.records:
        entries = [(feature_key(one["name"], one["term"]), one["value"]) for one in record["features"]]
        entries += [("age", record["userFeatures"][0]["value"]), (INTERCEPT, 1.0)]
        shard = found[record["uid"]]["global"]
        expected = sorted((columns["global", key], value) for key, value in entries)
        assert list(zip(shard["indices"], shard["values"], strict=True)) == expected
        assert list(found[record["uid"]]["bias"]["values"]) == [1.0]

    write_index(index, SHARDS, f"file://{tmp_path}/index", files=1)
    again = read_index(spark, f"file://{tmp_path}/index", SHARDS)
    assert checked_maps(again, SHARDS) == maps
    with pytest.raises(ConfigurationError, match="an index of"):
        read_index(spark, f"file://{tmp_path}/index", [ShardOption(name="global", bags=("features",))])
    with pytest.raises(NotFoundError, match="no index map"):
        read_index(spark, f"file://{tmp_path}/index", [ShardOption(name="item")])
    (tmp_path / "index" / "paldb-partition-global-0.dat").touch()
    with pytest.raises(ConfigurationError, match="PalDB"):
        read_index(spark, f"file://{tmp_path}/index", SHARDS)
    rows.unpersist()


def test_lists_of_features_choose_the_columns(spark: SparkSession, clicks: Any, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "features").write_text("f1\t\nf4\tx\nf5\ty\n")
    (tmp_path / "lists" / "userFeatures").mkdir()
    (tmp_path / "lists" / "userFeatures" / "part-0").write_text("age\nage\n")
    index = index_of_lists(spark, f"file://{tmp_path}/lists", SHARDS)
    maps = checked_maps(index, SHARDS)
    assert {name: one.dimension for name, one in maps.items()} == {"global": 5, "user": 2, "bias": 1}
    rows = read(spark, clicks.write(tmp_path / "clicks"))
    sizes = vectors(rows, index, maps, SHARDS).select("given_uid", F.size("shards.global.indices").alias("size"))
    found = {row.given_uid: row.size for row in sizes.collect()}
    for record in clicks.records:
        kept = [one["name"] for one in record["features"] if (one["name"], one["term"]) in {("f1", None), ("f4", "x")}]
        assert found[record["uid"]] == len(kept) + 2


def test_photons_own_schemas_are_read(spark: SparkSession, tmp_path: Path) -> None:
    feature = {"name": "7", "term": "33", "value": 1.5}
    example = {"uid": None, "label": 1.0, "features": [feature], "metadataMap": {"u": "a"}, "weight": None}
    form = ExampleForm(columns=Columns(), shards=(ShardOption(name="g", bags=("features",)),), keys=("u",))
    (row,) = read(spark, write_one(tmp_path / "a", TRAINING_EXAMPLE, example | {"offset": 0.25}), form).collect()
    assert (row.response, row.weight, row.offset, row.ids.u) == (1.0, 1.0, 0.25, "a")
    assert row.features.features == {"7\x0133": 1.5}
    assert name_and_term("7\x0133") == ("7", "33")
    simple = {"response": 3.0, "features": [feature], "weight": 2.0, "offset": 0.0}
    alone = ExampleForm(columns=Columns(), shards=form.shards, keys=())
    (row,) = read(spark, write_one(tmp_path / "b", RESPONSE_PREDICTION, simple), alone).collect()
    assert (row.response, row.weight, row.given_uid) == (3.0, 2.0, None)
    renamed = ExampleForm(columns=Columns(response="weight", weight="w"), shards=form.shards, keys=())
    (row,) = read(spark, f"file://{tmp_path}/b", renamed).collect()
    assert (row.response, row.weight) == (2.0, 1.0)


@pytest.mark.parametrize(
    ("change", "form", "said"),
    [
        (
            {"features": [{"name": "a", "term": "b", "value": 1.0}] * 2},
            FORM,
            r"feature \(name 'a', term 'b'\) stands twice",
        ),
        ({"userFeatures": [{"name": "f", "term": "", "value": 1.0}]}, FORM, "features and userFeatures: feature"),
        ({"metadataMap": None}, FORM, "a record without 'itemId'"),
        # The saved model had the name twice, and could not be read again.
        ({"features": [{"name": INTERCEPT, "term": "", "value": 1.0}]}, FORM, "'features': a feature is named"),
        (
            {},
            ExampleForm(columns=Columns(response="clicked"), shards=SHARDS, keys=()),
            "a record without clicked: its fields are uid, response",
        ),
        (
            {},
            ExampleForm(columns=Columns(), shards=(ShardOption(name="g", bags=("more",)),), keys=()),
            "'more': missing",
        ),
    ],
)
def test_what_is_wrong_is_said(clicks: Any, change: dict[str, Any], form: ExampleForm, said: str) -> None:
    record = clicks.records[0] | {"features": [{"name": "f", "term": "", "value": 1.0}]} | change
    with pytest.raises(BadDataError, match=said):
        list(_Reader(form=form)(RANGE, iter([record])))


def test_a_wrong_record_is_said_with_its_file(spark: SparkSession, clicks: Any, tmp_path: Path) -> None:
    folder = clicks.write(tmp_path / "bad", files=1, records=[clicks.records[0] | {"metadataMap": None}])
    with pytest.raises(Exception, match="BadDataError") as raised:
        read(spark, folder).collect()
    cause = own_cause(raised.value)
    assert isinstance(cause, BadDataError)
    assert cause.what == f"{folder}/part-0.avro: a record without 'itemId'"


def test_a_feature_without_value_is_refused() -> None:
    """As null it was left out of its row's vector, so it counted as 0."""
    features = [{"name": "a", "term": None, "value": 1.0}, {"name": "a", "term": "b", "value": None}]
    record = {"response": 1.0, "features": features}
    form = ExampleForm(columns=Columns(), shards=(ShardOption(name="g", bags=("features",)),), keys=())
    with pytest.raises(BadDataError, match=r"feature \(name 'a', term 'b'\) has no value"):
        list(_Reader(form=form)(RANGE, iter([record])))


def test_bags_that_share_a_feature_are_refused(spark: SparkSession, clicks: Any, tmp_path: Path) -> None:
    def record(**bags: list[dict[str, Any]]) -> dict[str, Any]:
        return clicks.records[0] | {"features": [], "userFeatures": []} | bags

    one = [{"name": "a", "term": "b", "value": 1.0}]
    folder = clicks.write(tmp_path / "x", files=1, records=[record(features=one), record(userFeatures=one)])
    index = index_of_rows(spark, read(spark, folder), SHARDS)
    with pytest.raises(BadDataError, match=r"shard 'global': feature \(name 'a', term 'b'\) is in the bags"):
        checked_maps(index, SHARDS)


def test_folders_and_days(clicks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in ("2026/02/27", "2026/03/01"):
        clicks.write(tmp_path / "daily" / day, files=1)
    root = f"file://{tmp_path}/daily"
    days = parse_days("20260227-20260302", None, "UTC", __import__("datetime").datetime.now(), "--x")
    assert input_folders([root, root], days) == (f"{root}/2026/02/27", f"{root}/2026/03/01")
    assert input_folders([root], None) == (root,)
    with pytest.raises(NotFoundError, match=r"no \.avro file"):
        avro_files([root])
    early = parse_days("20250101-20250103", None, "UTC", __import__("datetime").datetime.now(), "--x")
    with pytest.raises(NotFoundError, match="no day from 2025-01-01 to 2025-01-03"):
        input_folders([root], early)

    monkeypatch.setattr(files, "RANGE_BYTES", 1000)
    found = avro_files([f"{root}/2026/02/27"])
    cut = ranges(found)
    assert [one.start for one in cut] == list(range(0, found[0].size_bytes, 1000))
    assert cut[-1].stop == found[0].size_bytes

    monkeypatch.delenv("HADOOP_CONF_DIR", raising=False)
    assert qualified("/data/x") == "file:///data/x"
    assert qualified("hdfs:///x") == "hdfs:///x"
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    (tmp_path / "core-site.xml").write_text(
        "<c><property><name>fs.defaultFS</name><value>hdfs://nn:8020</value></property></c>"
    )
    assert qualified("/data/x") == "hdfs://nn:8020/data/x"
    assert qualified("x").startswith("hdfs://nn:8020/user/")
    assert fs.join(qualified("x"), "y").endswith("/x/y")
