"""Linear models by NumPy alone against scikit-learn's own answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PolynomialFeatures, RobustScaler, StandardScaler
from sklearn.svm import LinearSVC

from yarnmill.bundle.example import write_example
from yarnmill.bundle.manifest import Dtype, Field, Signature
from yarnmill.flavours.example import made_example
from yarnmill.flavours.linear import LinearPredictor, linear_form, quickest
from yarnmill.flavours.sklearn import SklearnPredictor

RANDOM = np.random.default_rng(5)
MATRIX = RANDOM.normal(loc=[0, 50, -3, 1e6], scale=[1, 10, 0.01, 1e4], size=(400, 4))
LATENT = (MATRIX - MATRIX.mean(axis=0)) / MATRIX.std(axis=0) @ np.array([1.0, -0.5, 2.0, 0.3])
TWO = LATENT + RANDOM.normal(size=400) > 0
THREE = np.array(["low", "middle", "high"])[np.digitize(LATENT + RANDOM.normal(size=400), [-1, 1])]
VECTOR = (Field(name="features", dtype="float64", shape=(4,)),)
SCALERS = (StandardScaler(), StandardScaler(with_mean=False), StandardScaler(with_std=False), RobustScaler())
OF_CLASSES = {"label": "predict", "probabilities": "predict_proba", "score": "decision_function"}


def output(name: str, answer: Any) -> Field:
    dtypes: dict[str, Dtype] = {"U": "string", "f": "float64", "i": "int64", "b": "int64"}
    return Field(name=name, dtype=dtypes[answer.dtype.kind], shape=answer.shape[1:])


def signature_of(model: Any, outputs: dict[str, str]) -> Signature:
    found = {name: getattr(model, method)(MATRIX[:2]) for name, method in outputs.items()}
    return Signature(inputs=VECTOR, outputs=tuple(output(name, answer) for name, answer in found.items()))


def assert_same(model: Any, outputs: dict[str, str], tmp_path: Path) -> None:
    found = linear_form(model, signature_of(model, outputs), tmp_path)
    assert isinstance(found, LinearPredictor)
    answers = found.predict({"features": MATRIX})
    for name, method in outputs.items():
        expected = getattr(model, method)(MATRIX)
        if expected.dtype.kind in "fc":
            np.testing.assert_allclose(answers[name], expected, rtol=1e-9, atol=1e-10)
        else:
            assert answers[name].tolist() == expected.astype(answers[name].dtype).tolist()


@pytest.mark.parametrize("response", [TWO, THREE], ids=["two classes", "three"])
@pytest.mark.parametrize("scaler", [*SCALERS, MinMaxScaler(), MaxAbsScaler(), "passthrough"], ids=str)
def test_a_scaled_logistic_regression(scaler: Any, response: Any, tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), scaler, LogisticRegression()).fit(MATRIX, response)
    assert_same(model, OF_CLASSES, tmp_path)


@pytest.mark.parametrize(
    "estimator", [RidgeClassifier(), LinearSVC(), SGDClassifier(random_state=1)], ids=lambda one: type(one).__name__
)
def test_classifiers_without_probabilities(estimator: Any, tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), estimator)
    assert_same(model.fit(MATRIX, TWO), {"label": "predict", "score": "decision_function"}, tmp_path)
    assert_same(model.fit(MATRIX, THREE), {"prediction": "predict", "score": "decision_function"}, tmp_path)


@pytest.mark.parametrize(
    "estimator", [LinearRegression(), ElasticNet(alpha=0.01), PoissonRegressor()], ids=lambda one: type(one).__name__
)
def test_regressors(estimator: Any, tmp_path: Path) -> None:
    model = make_pipeline(MinMaxScaler(), estimator).fit(MATRIX, np.exp(LATENT / 4))
    assert_same(model, {"prediction": "predict"}, tmp_path)


def test_the_probability_of_the_second_of_two_classes(tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression(solver="liblinear")).fit(MATRIX, TWO)
    signature = Signature(inputs=VECTOR, outputs=(Field(name="probability", dtype="float32"),))
    found = linear_form(model, signature, tmp_path)
    assert found is not None
    answer = found.predict({"features": MATRIX})["probability"]
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, model.predict_proba(MATRIX)[:, 1], atol=1e-7)


def test_a_model_over_named_columns_gets_them_in_its_own_order(tmp_path: Path) -> None:
    table = pd.DataFrame(MATRIX, columns=["a", "b", "c", "d"])
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(table, TWO)
    inputs = tuple(Field(name=name, dtype="float64") for name in "dbca")
    found = linear_form(model, Signature(inputs=inputs, outputs=(Field(name="score", dtype="float64"),)), tmp_path)
    assert found is not None
    answer = found.predict({name: table[name].to_numpy() for name in "dbca"})["score"]
    np.testing.assert_allclose(answer, model.decision_function(table), rtol=1e-9)


class Bold(LogisticRegression):
    """What looks like a linear model and is none."""

    def decision_function(self, X: Any) -> Any:  # noqa: N803  # scikit-learn's own name
        """Answer twice the score."""
        return 2 * super().decision_function(X)


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(PolynomialFeatures(), LogisticRegression()),
        make_pipeline(MinMaxScaler(clip=True), LogisticRegression()),
        make_pipeline(StandardScaler(), Bold()),
    ],
    ids=["a step that is no scaler", "a scaler that cuts off", "a type of somebody's own"],
)
def test_what_is_no_linear_model_has_no_linear_form(model: Any, tmp_path: Path) -> None:
    model.fit(MATRIX, TWO)
    outputs = (Field(name="score", dtype="float64"),)
    assert linear_form(model, Signature(inputs=VECTOR, outputs=outputs), tmp_path) is None


@pytest.fixture
def opened(tmp_path: Path) -> SklearnPredictor:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(MATRIX, TWO)
    skops.io.dump(model, tmp_path / "model.skops")
    outputs = (Field(name="probability", dtype="float64"),)
    return SklearnPredictor(tmp_path, Signature(inputs=VECTOR, outputs=outputs))


def test_the_linear_form_answers_where_it_agrees_with_the_example(opened: SklearnPredictor, tmp_path: Path) -> None:
    assert quickest(opened, tmp_path) is opened  # no example, no proof
    asked = {"features": MATRIX[:5]}
    write_example(tmp_path, made_example(asked, opened.predict(asked)))
    found = quickest(opened, tmp_path)
    assert isinstance(found, LinearPredictor)
    np.testing.assert_allclose(found.predict(asked)["probability"], opened.predict(asked)["probability"], rtol=1e-12)


def test_it_does_not_where_it_differs(
    opened: SklearnPredictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"features": MATRIX[:5]}
    answers = opened.predict(asked)
    write_example(tmp_path, made_example(asked, answers))
    monkeypatch.setattr(opened, "predict", lambda _: {"probability": answers["probability"] + 1e-6})
    assert quickest(opened, tmp_path) is opened
