import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from photon import Glmix


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


def test_spark_gives_the_model_of_one_process(spark: SparkSession, rows: pd.DataFrame) -> None:
    model = Glmix("y ~ x + g + (1 + x | user) + (1 | item)", weights="w", l2=2.0, max_sweeps=4)
    model.set_params(terms={"user": {"variances": "full"}})
    expected = model.fit(rows).decision_function(rows)
    frame = spark.createDataFrame(pa.Table.from_pandas(rows))
    found = Glmix(**model.get_params()).fit(frame.repartition(2))
    np.testing.assert_allclose(found.decision_function(rows), expected, atol=1e-8)
    np.testing.assert_allclose(found.coefficients()["std_error"], model.coefficients()["std_error"], rtol=2e-3)
    np.testing.assert_allclose(found.variances("user"), model.variances("user"), rtol=1e-6)
    scored, local = found.transform(frame).toArrow().to_pandas(), found.transform(rows)
    for name in ("contribution_user", "contribution_item", "margin", "prediction"):
        np.testing.assert_allclose(np.sort(scored[name]), np.sort(local[name]), atol=1e-12)


def test_variances_of_a_sample_are_the_priors_of_the_fit_on_spark(spark: SparkSession, rows: pd.DataFrame) -> None:
    model = Glmix("y ~ x + (1 + x | user)", max_sweeps=3).fit(rows)
    found = Glmix(**model.get_params()).fit(spark.createDataFrame(pa.Table.from_pandas(rows)))
    ours, theirs = found.fitted_.record, model.fitted_.record
    np.testing.assert_allclose(ours.effects[1].covariance, theirs.effects[1].covariance, rtol=1e-6)
    np.testing.assert_allclose(ours.training.objective, theirs.training.objective, rtol=0.01)
    assert ours.training.objective >= theirs.training.objective - 1e-6
