"""Saved models: what executors write is what Photon's schema says, and it comes back as it was."""

import io
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.failures import own_cause
from jobs.game import models
from jobs.game.examples import name_and_term
from jobs.game.models import ShardIndex, Writing, indexed, read_effect, read_saved_model, shard_index, write_effect
from photon.avro.layout import METADATA_NAME, EffectInfo, render_metadata
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError
from yarnmill.trainingset import INTERCEPT

COLUMNS = [*((f"f{j}\x01t" if j % 2 else f"f{j}") for j in range(9)), INTERCEPT]
FIXED, USER = EffectInfo("global", "s"), EffectInfo("per-user", "s", "userId")


@pytest.fixture(scope="module")
def index(spark: SparkSession) -> ShardIndex:
    rows = [
        ("s", INTERCEPT if key == INTERCEPT else "bag", "" if key == INTERCEPT else key, place)
        for place, key in enumerate(COLUMNS)
    ]
    rows.append(("other", "bag", "f0", 5))
    frame = spark.createDataFrame(rows, "shard string, name string, term string, index int")
    return shard_index(frame, "s", len(COLUMNS))


def coefficients(entities: int) -> dict[str, dict[int, float]]:
    random = np.random.default_rng(5)
    return {
        f"u{entity}": {int(j): float(random.normal()) for j in random.choice(10, random.integers(1, 10), replace=False)}
        for entity in range(entities)
    }


def read(part: Path) -> list[Any]:
    return list(fastavro.reader(io.BytesIO(part.read_bytes())))


def frame(spark: SparkSession, known: dict[str, dict[int, float]], partitions: int) -> DataFrame:
    rows = [(one, list(own), list(own.values()), [v * v for v in own.values()]) for one, own in known.items()]
    schema = "entity string, indices array<int>, values array<double>, variances array<double>"
    return spark.createDataFrame(spark.sparkContext.parallelize(rows, partitions), schema)


@pytest.mark.parametrize("small", [True, False])
def test_a_random_effect_is_written_by_the_executors_and_read_back(
    spark: SparkSession, index: ShardIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, small: bool
) -> None:
    monkeypatch.setattr(models, "SMALL_INDEX", 100 if small else 1)
    known = coefficients(40)
    url = f"file://{tmp_path}/model"
    assert write_effect(USER, frame(spark, known, 3), index, url, Writing("logistic", 0.0)) == 40
    folder = tmp_path / "model" / "random-effect" / "per-user"
    assert (folder / "id-info").read_text() == "userId\ns\n"
    parts = sorted((folder / "coefficients").glob("part-*.avro"))
    assert len(parts) == 3 if small else len(parts) >= 1
    records = [record for part in parts for record in read(part)]
    assert len(records) == 40
    for record in records:
        own = known[record["modelId"]]
        found = {(one["name"], one["term"]): one["value"] for one in record["means"]}
        expected = {name_and_term(COLUMNS[j]): value for j, value in own.items()}
        assert found == expected
        assert {one["value"] for one in record["variances"]} == {value * value for value in own.values()}
        assert record["modelClass"].endswith("LogisticRegressionModel")

    (tmp_path / "model" / METADATA_NAME).write_bytes(render_metadata("logistic", ()))
    model = read_saved_model(url)
    assert (model.task, model.effects) == ("logistic", (USER,))
    back = {row.entity: row for row in indexed(USER, read_effect(spark, model, USER), index).collect()}
    assert {one: dict(zip(row.indices, row["values"], strict=True)) for one, row in back.items()} == known
    assert all(list(row.indices) == sorted(row.indices) for row in back.values())
    assert all(list(row.variances) == [known[one][j] ** 2 for j in row.indices] for one, row in back.items())


def test_a_fixed_effect_is_one_record(spark: SparkSession, index: ShardIndex, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/model"
    values = [0.5, -2.0, 1e-5, 0.0, 3.0, 0.1, 0.2, 0.3, 0.4, -1.0]
    table = spark.createDataFrame(list(enumerate(values)), "index int, value double")
    assert write_effect(FIXED, table, index, url, Writing("linear")) == 1
    part = tmp_path / "model" / "fixed-effect" / "global" / "coefficients" / "part-00000.avro"
    (record,) = read(part)
    assert [one["value"] for one in record["means"]] == [3.0, -2.0, -1.0, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert record["means"][2] == {"name": INTERCEPT, "term": "", "value": -1.0}
    assert record["variances"] is None
    model = read_saved_model(url)
    assert (model.task, model.effects) == (None, (FIXED,))
    back = {row["index"]: row.value for row in indexed(FIXED, read_effect(spark, model, FIXED), index).collect()}
    assert back == {j: value for j, value in enumerate(values) if abs(value) > 1e-4}

    empty = spark.createDataFrame([(0, 1e-9)], "index int, value double")
    assert write_effect(FIXED, empty, index, f"{url}2", Writing("linear")) == 1
    (record,) = read(tmp_path / "model2" / part.relative_to(tmp_path / "model"))
    assert record["means"] == []


def test_folders_that_are_no_models_are_said_to_be_none(spark: SparkSession, index: ShardIndex, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no GAME model"):
        read_saved_model(f"file://{tmp_path}")
    (tmp_path / "matrix-factorization").mkdir()
    with pytest.raises(ConfigurationError, match="matrix factorisation"):
        read_saved_model(f"file://{tmp_path}")
    url = f"file://{tmp_path}/m"
    write_effect(USER, frame(spark, coefficients(2), 1), index, url, Writing("linear"))
    (tmp_path / "m" / METADATA_NAME).write_bytes(render_metadata("logistic", ()))
    with pytest.raises(Exception, match="BadDataError") as raised:
        read_effect(spark, read_saved_model(url), USER).collect()
    cause: Any = own_cause(raised.value)
    assert isinstance(cause, BadDataError)
    assert "is linear" in cause.what
