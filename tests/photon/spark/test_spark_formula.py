"""Formulas on Spark DataFrames: the model of one process, and coefficients that stay where they were solved."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from photon import Glmix
from photon.empirical_bayes import EmpiricalBayesSettings
from photon.model import RandomEffect
from photon.spark import formula, kept, posterior
from photon.spark.arrow_rows import to_bytes
from photon.spark.rows import coefficient_rows, coefficient_tables
from yarnmill.errors import ConfigurationError, NotFoundError

ADDED = ("contribution_fixed", "contribution_user", "contribution_item", "margin", "prediction")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    users, x = random.integers(0, 20, 400), random.normal(size=400)
    margin = (0.5 + random.normal(size=20)[users]) * x + random.normal(size=20)[users]
    return pd.DataFrame(
        {
            "y": np.where(random.random(400) < 1 / (1 + np.exp(-margin)), "yes", "no"),
            "x": x,
            "g": random.choice(list("abc"), 400),
            "user": users,
            "item": np.array([f"i{i}" for i in range(9)])[random.integers(0, 9, 400)],
            "w": random.uniform(0.5, 2.0, 400),
        }
    )


def refuse(*_: object) -> None:
    raise AssertionError("coefficients came to the driver")


@pytest.fixture(scope="module")
def local(rows: pd.DataFrame) -> Glmix:
    model = Glmix("y ~ x + g + (1 + x | user) + (1 | item)", weights="w", l2=2.0, max_sweeps=4, standard_errors=False)
    return model.set_params(terms={"user": {"variances": "full"}}).fit(rows)


@pytest.fixture(scope="module")
def found(spark: SparkSession, rows: pd.DataFrame, local: Glmix) -> Glmix:
    """The model of ``local``, fitted on Spark without a coefficient at the driver."""
    frame = spark.createDataFrame(pa.Table.from_pandas(rows)).repartition(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "collected_effect", refuse)
        return Glmix(**local.get_params()).fit(frame)


@pytest.fixture(scope="module")
def others(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with unknown entities and without any, and columns of the names that rows have inside a scoring."""
    users = np.where(np.arange(120) % 7 == 0, 1000, rows["user"].head(120))
    items = np.where(np.arange(120) % 5 == 0, "an item that nobody knows", rows["item"].head(120))
    found = rows.head(120).assign(user=pd.array(users, "Int64"), item=items, ids=np.arange(120), offset="o", shards=1.5)
    found.loc[3, "user"], found.loc[4, "item"] = pd.NA, None
    return found


@pytest.fixture(scope="module")
def on_spark(spark: SparkSession, others: pd.DataFrame) -> DataFrame:
    return spark.createDataFrame(pa.Table.from_pandas(others)).repartition(3)


@contextmanager
def nothing_collected() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "collected_effect", refuse)
        for name in ("collected", "effect"):  # which know what was collected before
            patch.setattr(kept.SparkFitted, name, refuse)
        yield


def compare(scored: pa.Table, model: Glmix, rows: pd.DataFrame) -> None:
    expected, table = model.transform(rows), scored.to_pandas().sort_values("ids")
    assert list(table.columns) == list(expected.columns)
    for name in ADDED:
        np.testing.assert_allclose(table[name], expected[name], rtol=0, atol=1e-12)
    for name in rows.columns:
        pd.testing.assert_series_equal(
            table[name].reset_index(drop=True), rows[name].reset_index(drop=True), check_dtype=False
        )


def test_spark_gives_the_model_of_one_process(rows: pd.DataFrame, local: Glmix, found: Glmix) -> None:
    theirs, ours = local.summary(), found.summary()
    np.testing.assert_allclose(ours.fixed["estimate"], theirs.fixed["estimate"], atol=1e-8)
    pd.testing.assert_frame_equal(ours.random, theirs.random)
    assert dict(ours.facts)["objective"] == dict(theirs.facts)["objective"]
    one, other = ([each.predicted for each in model.fitted_.record.training.bins] for model in (found, local))
    np.testing.assert_allclose(one, other, atol=1e-8)
    np.testing.assert_allclose(found.decision_function(rows), local.decision_function(rows), atol=1e-8)
    np.testing.assert_allclose(found.variances("user"), local.variances("user"), rtol=1e-6)


def test_rows_meet_the_coefficients_where_they_are(found: Glmix, on_spark: DataFrame, others: pd.DataFrame) -> None:
    with nothing_collected():
        scored, classes = found.transform(on_spark).toArrow(), found.predict(on_spark).toArrow()
    model = found.collected()
    assert not isinstance(model.fitted_, kept.SparkFitted)
    compare(scored, model, others)
    assert classes.column_names == [*others.columns, "predicted"]
    assert classes.sort_by("ids").column("predicted").to_pylist() == model.predict(others).tolist()
    with pytest.raises(ConfigurationError, match="leave it on Spark"):
        found.predict_mean(on_spark)
    # A collected model goes to the executors whole.
    compare(model.transform(on_spark).toArrow(), model, others)


def test_a_model_outlives_its_coefficients_in_the_executors_as_parquet(
    found: Glmix, on_spark: DataFrame, others: pd.DataFrame, tmp_path: Path
) -> None:
    url = str(tmp_path / "model")
    with nothing_collected():
        found.write(url)
        again = Glmix.read(url)
        scored = again.transform(on_spark).toArrow()
    compare(scored, found.collected(), others)
    assert again.fitted_.record == found.fitted_.record
    pd.testing.assert_frame_equal(again.variances("user").sort_index(), found.variances("user").sort_index())
    assert again.fitted_.coefficients("item").count() == again.fitted_.record.effects[2].entities == 9
    again.save(tmp_path / "arrays")
    np.testing.assert_array_equal(Glmix.load(tmp_path / "arrays").margin(others), again.margin(others))
    again.release()
    with pytest.raises(ConfigurationError, match="user: its coefficients were released"):
        again.transform(on_spark)
    np.testing.assert_array_equal(again.margin(others), found.margin(others))
    with pytest.raises(NotFoundError, match=r"a folder that Glmix\.write wrote"):
        Glmix.read(str(tmp_path / "nothing"))
    with pytest.raises(ConfigurationError, match=r"save\(folder\)"):
        found.collected().write(url)


def test_no_more_coefficients_come_to_the_driver_than_may(
    found: Glmix, others: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found.write(str(tmp_path / "model"))
    again = Glmix.read(str(tmp_path / "model"))
    monkeypatch.setattr(kept, "MOST_COEFFICIENTS", 48)
    assert len(again.coefficients("item")) == 9
    with pytest.raises(ConfigurationError, match="at most 48 in this process"):
        again.predict(others)
    page = again.report(tmp_path / "report.html").read_text()
    assert "stay on Spark" in page
    assert "stay on Spark" not in again.collected(49).report(tmp_path / "report.html").read_text()
    with pytest.raises(KeyError, match="there are user, item"):
        again.fitted_.coefficients("film")


def test_a_partition_of_many_entities_is_sent_in_parts() -> None:
    cells, entities = np.arange(140_000), np.arange(70_000)
    effect = RandomEffect("user", "user", "user", 2, entities, cells, np.random.default_rng(0).normal(size=140_000))
    parts = [pa.ipc.open_stream(to_bytes(one)).read_all() for one in coefficient_tables(effect)]
    assert len(parts) > 1
    assert pa.concat_tables(parts).combine_chunks().equals(coefficient_rows(effect).combine_chunks())
    nobody = RandomEffect("user", "user", "user", 2, entities[:0], cells[:0], np.zeros(0))
    assert not list(coefficient_tables(nobody))


def test_standard_errors_are_those_of_one_process(
    spark: SparkSession, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both are of the mode: four sweeps do not reach it to this precision, nor do solves that stop as for users.
    monkeypatch.setattr(posterior, "_ERROR_TOLERANCE", 1e-6)
    model = Glmix("y ~ x + g + (1 + x | user) + (1 | item)", weights="w", l2=2.0, max_sweeps=12).fit(rows)
    found = Glmix(**model.get_params()).fit(spark.createDataFrame(pa.Table.from_pandas(rows)))
    np.testing.assert_allclose(found.coefficients()["std_error"], model.coefficients()["std_error"], rtol=1e-4)


def test_variances_of_rows_at_the_driver_are_the_priors_of_the_fit_on_spark(
    spark: SparkSession, rows: pd.DataFrame, tmp_path: Path
) -> None:
    model = Glmix("y ~ x + (1 + x | user)", max_sweeps=3, standard_errors=False).fit(rows)
    spark.sparkContext.setCheckpointDir(str(tmp_path))
    try:
        found = Glmix(**model.get_params()).fit(spark.createDataFrame(pa.Table.from_pandas(rows)))
    finally:
        spark.sparkContext.setCheckpointDir(None)  # type: ignore[arg-type]  # which is how Spark forgets it
    assert list(tmp_path.rglob("part-*"))
    ours, theirs = found.fitted_.record, model.fitted_.record
    np.testing.assert_allclose(ours.effects[1].covariance, theirs.effects[1].covariance, rtol=1e-6)
    np.testing.assert_allclose(ours.training.objective, theirs.training.objective, rtol=0.01)
    assert ours.training.objective >= theirs.training.objective - 1e-6
    assert len(ours.training.iterations) == len(theirs.training.iterations)


def test_variances_of_more_rows_are_estimated_from_all_of_them(
    spark: SparkSession, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formula, "_SAMPLE_ROWS", 60)
    options = EmpiricalBayesSettings(max_iterations=2, draws=16)
    model = Glmix("w ~ x + (1 | user)", task="linear", empirical_bayes=options, standard_errors=False, max_sweeps=5)
    theirs = model.fit(rows).fitted_.record
    found = Glmix(**model.get_params()).fit(spark.createDataFrame(pa.Table.from_pandas(rows)))
    ours = found.fitted_.record
    np.testing.assert_allclose(ours.effects[1].covariance, theirs.effects[1].covariance, rtol=0.05)
    np.testing.assert_allclose(ours.training.residual_variance, theirs.training.residual_variance, rtol=0.01)
    np.testing.assert_allclose(found.decision_function(rows), model.decision_function(rows), atol=0.01)
    assert len(ours.training.iterations) == 2
    assert sum(one.number for one in ours.training.bins) < 400
