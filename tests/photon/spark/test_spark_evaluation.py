"""Distributed evaluation is the local one, however the rows lie and whatever ties there are."""

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession, functions

from photon.entities import Keys
from photon.evaluation import Evaluation, Question, Scored, group_table, parse_evaluators
from photon.evaluation import evaluate as evaluate_locally
from photon.spark.evaluation import evaluate, group_results
from yarnmill.errors import BadDataError

NAMES = (
    "AUC", "AUPR", "RMSE", "LOGISTIC_LOSS", "SQUARED_LOSS", "CALIBRATION", "ECE", "LIFT@10", "LIFT@50",
    "AUC:user", "AUPR:user", "PRECISION@2:user", "NDCG@3:user", "RMSE:user", "AUC:film", "NDCG@2:film",
)  # fmt: skip


DISTRIBUTIONS = ("few scores", "one score", "all different")


def rows_with(distribution: str) -> tuple[Scored, dict[str, Keys]]:
    random = np.random.default_rng(7)
    count = 600
    scores = {
        "few scores": random.integers(-3, 4, count) / 3.0,
        "one score": np.where(random.random(count) < 0.5, 0.0, -0.0),
        "all different": random.normal(size=count),
    }[distribution]
    weights = np.where(random.random(count) < 0.1, 0.0, random.uniform(0.1, 3.0, count))
    films = np.array([f"film {i}" for i in range(30)])[random.integers(0, 30, count)]
    ids = {"user": random.integers(0, 150, count), "film": films}
    return Scored(scores, random.integers(0, 2, count) * 1.0, weights), ids


def frame_of(spark: SparkSession, rows: Scored, ids: dict[str, Keys]) -> DataFrame:
    return spark.createDataFrame(table_of(rows, ids, "m"))


def table_of(rows: Scored, ids: dict[str, Keys], name: str) -> pa.Table:
    return pa.table(
        {
            "measure": pa.array([f"{name} {place % 2}" for place in range(len(rows.scores))]),
            "score": pa.array(rows.scores),
            "label": pa.array(rows.labels),
            "weight": pa.array(rows.weights),
        }
        | {key: pa.array(column.tolist()) for key, column in ids.items()}
    )


def assert_equal(found: Evaluation, expected: Evaluation) -> None:
    assert (found.measure, found.rows) == (expected.measure, expected.rows)
    assert found.weight == pytest.approx(expected.weight, rel=1e-12)
    for one, other in zip(found.figures, expected.figures, strict=True):
        assert (one.evaluator, one.groups, one.unanswered) == (other.evaluator, other.groups, other.unanswered)
        assert one.value == pytest.approx(other.value, rel=1e-12), one.evaluator.name
    for one, other in zip(found.bins, expected.bins, strict=True):
        assert (one.number, one.lowest, one.highest) == (other.number, other.lowest, other.highest)
        sums = (other.weight, other.predicted_sum, other.observed_sum)
        assert (one.weight, one.predicted_sum, one.observed_sum) == pytest.approx(sums, rel=1e-11)


@pytest.mark.parametrize("partitions", [1, 5])
def test_spark_says_what_numpy_says(spark: SparkSession, partitions: int) -> None:
    """Of six measures at once: two of each distribution of the scores."""
    rows = {name: rows_with(name) for name in DISTRIBUTIONS}
    tables = [table_of(scored, ids, name) for name, (scored, ids) in rows.items()]
    frame = spark.createDataFrame(pa.concat_tables(tables))
    question = Question(parse_evaluators(NAMES), bins=4)
    found = evaluate(frame.repartition(partitions, functions.hash("score", "label", "user")), question)
    assert [one.measure for one in found] == sorted(f"{name} {place}" for name in rows for place in range(2))
    for one in found:
        name, _, place = one.measure.rpartition(" ")
        scored, ids = rows[name]
        own = np.arange(int(place), len(scored.scores), 2)
        local = {key: column[own] for key, column in ids.items()}
        assert_equal(one, evaluate_locally(scored.take(own), question, local, measure=one.measure))


def test_results_of_each_group_are_a_table(spark: SparkSession) -> None:
    random = np.random.default_rng(3)
    scored = Scored(random.integers(0, 5, 80) * 1.0, random.integers(0, 2, 80) * 1.0, random.random(80))
    films = np.array([f"film {i}" for i in range(20)])[random.integers(0, 20, 80)]
    frame = frame_of(spark, scored, {"film": films}).withColumn("measure", functions.lit("test"))
    question = Question(parse_evaluators(["AUC:film", "PRECISION@2:film", "RMSE"]))
    found = group_results(frame, "film", question).orderBy("film").collect()
    expected = group_table(films, scored, question.within("film"))
    assert [row["film"] for row in found] == expected.keys.tolist()
    assert [row["rows"] for row in found] == expected.rows.tolist()
    np.testing.assert_allclose([row["weight"] for row in found], expected.weights, rtol=1e-12)
    aucs = [np.nan if row["auc"] is None else row["auc"] for row in found]
    assert np.isnan(aucs).any()
    np.testing.assert_allclose(aucs, expected.values[:, 0], rtol=1e-12)
    np.testing.assert_allclose([row["precision_at_2"] for row in found], expected.values[:, 1], rtol=1e-12)


def test_rows_without_weight_count_one_without_a_label_nothing_and_without_an_id_are_in_no_group(
    spark: SparkSession,
) -> None:
    schema = "measure string, score double, label double, weight double, user long"
    table = [("m", 1.0, 1.0, None, 1), ("m", 0.0, 0.0, None, 1), ("m", 2.0, 0.0, None, None)]
    table += [("m", 9.0, None, 5.0, 1), ("m", 8.0, float("nan"), None, 2)]
    (found,) = evaluate(
        spark.createDataFrame(table, schema), Question(parse_evaluators(["AUC", "AUC:user", "PRECISION@1:user"]))
    )
    assert (found.rows, found.weight) == (5, 3.0)
    assert [one.value for one in found.figures] == [0.5, 1.0, 1.0]
    assert [one.groups for one in found.figures] == [0, 1, 1]


def test_a_score_that_is_no_number_is_refused(spark: SparkSession) -> None:
    table = [("fine", 1.0, 1.0, 1.0), ("broken", float("nan"), 1.0, 1.0)]
    frame = spark.createDataFrame(table, "measure string, score double, label double, weight double")
    with pytest.raises(BadDataError, match="broken: 1 of 1 rows have no finite score"):
        evaluate(frame, Question(parse_evaluators(["AUC"])))
