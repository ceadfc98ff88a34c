from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone, is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from photon import Fixed, Glmix, Random
from photon.empirical_bayes import EmpiricalBayesSettings
from photon.frames import entity_ids
from photon.scoring import positions
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError

FORMULA = "y ~ x + g + (1 + x | user) + (1 | item)"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    random = np.random.default_rng(0)
    rows = 600
    users, items = random.integers(0, 25, rows), random.integers(0, 12, rows)
    x = random.normal(size=rows)
    margin = 0.4 + (0.8 + random.normal(scale=0.7, size=25)[users]) * x
    margin += random.normal(size=25)[users] + random.normal(scale=0.6, size=12)[items]
    return pd.DataFrame(
        {
            "y": np.where(random.random(rows) < 1.0 / (1.0 + np.exp(-margin)), "yes", "no"),
            "z": margin + random.normal(size=rows),
            "x": x,
            "g": random.choice(list("abc"), rows),
            "user": users,
            "item": np.array([f"item-{i}" for i in range(12)])[items],
            "w": random.uniform(0.5, 2.0, rows),
            "o": random.normal(scale=0.3, size=rows),
        }
    )


@pytest.fixture(scope="module")
def fitted(frame: pd.DataFrame) -> Glmix:
    return Glmix(FORMULA, weights="w", offset="o").fit(frame)


def test_contributions_add_up_to_the_margin(fitted: Glmix, frame: pd.DataFrame) -> None:
    parts = fitted.contributions(frame)
    assert list(parts.columns) == ["fixed", "user", "item", "offset"]
    np.testing.assert_allclose(parts.sum(axis=1), fitted.decision_function(frame), atol=1e-12)
    np.testing.assert_allclose(fitted.predict_proba(frame)[:, 1], fitted.predict_mean(frame), rtol=1e-15)
    assert set(fitted.predict(frame)) == {"no", "yes"}
    assert fitted.score(frame) > 0.1


def test_the_kind_of_table_changes_nothing(fitted: Glmix, frame: pd.DataFrame) -> None:
    table = pa.Table.from_pandas(frame)
    expected = fitted.decision_function(frame)
    np.testing.assert_array_equal(fitted.decision_function(table), expected)
    np.testing.assert_array_equal(fitted.decision_function(frame.to_dict("list")), expected)
    again = Glmix(FORMULA, weights="w", offset="o").fit(table)
    np.testing.assert_allclose(again.decision_function(frame), expected, atol=1e-9)
    with pytest.raises(ConfigurationError, match="no named columns"):
        fitted.predict(np.zeros((3, 3)))


def test_a_saved_model_predicts_the_same_to_the_last_bit(fitted: Glmix, frame: pd.DataFrame, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    found = Glmix.load(tmp_path / "model")
    np.testing.assert_array_equal(found.decision_function(frame), fitted.decision_function(frame))
    assert str(found.summary()) == str(fitted.summary())
    assert list(found.classes_) == ["no", "yes"]
    assert not list((tmp_path / "model").rglob("*.pkl"))
    assert found.score(frame) == fitted.score(frame)
    with pytest.raises(NotFoundError):
        Glmix.load(tmp_path / "nowhere")


def test_unknown_users_items_and_levels_count_nothing(fitted: Glmix, frame: pd.DataFrame) -> None:
    other = frame.iloc[:4].assign(
        user=pd.array([99, None, 3, 3], dtype="Int64"), item=["item-1", "item-1", "new", None], g="never seen"
    )
    parts = fitted.contributions(other)
    assert parts["user"].iloc[:2].tolist() == [0.0, 0.0]
    assert parts["item"].iloc[2:].tolist() == [0.0, 0.0]
    fixed = fitted.coefficients()["estimate"]
    np.testing.assert_allclose(parts["fixed"], fixed["Intercept"] + fixed["x"] * other["x"], atol=1e-12)


def test_without_random_effects_it_is_logistic_regression(frame: pd.DataFrame) -> None:
    model = Glmix("y ~ x + z", l2=2.0).fit(frame, sample_weight=frame["w"])
    theirs = LogisticRegression(C=0.5, tol=1e-12).fit(frame[["x", "z"]], frame["y"], sample_weight=frame["w"])
    ours = model.coefficients()["estimate"]
    np.testing.assert_allclose([ours["x"], ours["z"]], theirs.coef_[0], rtol=1e-5)
    np.testing.assert_allclose(ours["Intercept"], theirs.intercept_[0], rtol=1e-5)
    free = Glmix("y ~ x + z").fit(frame)
    unpenalised = LogisticRegression(C=np.inf, tol=1e-12).fit(frame[["x", "z"]], frame["y"])
    np.testing.assert_allclose(free.coefficients()["estimate"][["x", "z"]], unpenalised.coef_[0], rtol=1e-5)


def test_penalties_by_name_leave_the_others_to_the_data(frame: pd.DataFrame) -> None:
    model = Glmix(FORMULA, l2={"user": 3.0, "fixed": 1.0}).fit(frame)
    user, item = model.fitted_.record.effects[1:]
    assert (user.prior, user.l2) == (None, 3.0)
    assert item.prior is not None
    given = 1.0 / float(item.prior.variances[0])
    # The same penalties, all given: the same optimum by the other way, coordinate descent.
    again = Glmix(FORMULA, l2={"user": 3.0, "fixed": 1.0, "item": given}, tolerance=1e-13).fit(frame)
    np.testing.assert_allclose(again.decision_function(frame), model.decision_function(frame), atol=1e-4)
    np.testing.assert_allclose(
        again.fitted_.record.training.objective, model.fitted_.record.training.objective, rtol=1e-9
    )


def test_coordinates_are_a_formula_in_other_words(frame: pd.DataFrame) -> None:
    coordinates = [Fixed(("x", "g")), Random("user", ("x",)), Random("item")]
    model = Glmix(coordinates=coordinates, l2=1.0).fit(frame, frame["y"])
    expected = Glmix(FORMULA, l2=1.0).fit(frame)
    np.testing.assert_allclose(model.decision_function(frame), expected.decision_function(frame), atol=1e-12)


def test_a_linear_response_may_be_an_expression(frame: pd.DataFrame) -> None:
    model = Glmix("np.exp(z / 9) ~ x + (x || user)", task="linear").fit(frame)
    by_column = Glmix("e ~ x + (x || user)", task="linear").fit(frame.assign(e=np.exp(frame["z"] / 9)))
    np.testing.assert_allclose(model.predict(frame), by_column.predict(frame), rtol=1e-9)
    assert "residual" in str(model.summary())
    with pytest.raises(AttributeError):
        model.predict_proba(frame)


def test_it_goes_through_scikit_learn(frame: pd.DataFrame) -> None:
    model = Glmix("~ x + (1 | user)", l2=1.0)
    assert is_classifier(model)
    assert not is_classifier(Glmix("~ x", task="linear"))
    assert clone(model).get_params() == model.get_params()
    scores = cross_val_score(model, frame, frame["y"], scoring="roc_auc", cv=3)
    assert scores.mean() > 0.6
    pipeline = Pipeline([("more", FunctionTransformer(lambda rows: rows.assign(x=rows["x"] * 2))), ("glmix", model)])
    assert len(pipeline.fit(frame, frame["y"]).predict(frame)) == len(frame)
    search = GridSearchCV(model, {"l2": [0.1, 10.0]}, cv=2, scoring="neg_log_loss").fit(frame, frame["y"])
    assert search.best_params_["l2"] in (0.1, 10.0)
    assert cross_val_score(Glmix("~ x", task="linear", l2=0.0), frame, frame["z"], cv=2).mean() > 0.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"formula": "y ~ x + (1 | nobody)"}, "entity: no column 'nobody'"),
        ({"formula": "y ~ nowhere"}, "no column 'nowhere'"),
        ({"formula": "z ~ x"}, "two values for the logistic task"),
        ({"formula": "y ~ x", "task": "linear"}, "response: holds"),
        ({"formula": None}, "neither or both"),
        ({"formula": "~ x"}, "no labels"),
        ({"formula": FORMULA, "l2": {"users": 1.0}}, "l2: no effect 'users'"),
        ({"formula": "y ~ x", "weights": "x"}, r"\d+ rows with a weight that is negative"),
    ],
)
def test_what_cannot_be_meant_is_refused(frame: pd.DataFrame, change: dict[str, object], said: str) -> None:
    with pytest.raises((ConfigurationError, BadDataError), match=said):
        Glmix().set_params(**change).fit(frame)


def test_parameters_that_are_none_and_models_that_are_not_fitted(frame: pd.DataFrame) -> None:
    with pytest.raises(ConfigurationError, match="no parameter 'lambda_'"):
        Glmix().set_params(lambda_=1)
    with pytest.raises(ConfigurationError, match="never fitted"):
        Glmix(FORMULA).predict(frame)
    settings = EmpiricalBayesSettings(draws=2)
    assert repr(Glmix("~ x", empirical_bayes=settings)) == f"Glmix(formula='~ x', empirical_bayes={settings!r})"


def test_an_id_that_is_missing_in_training_is_an_error(frame: pd.DataFrame) -> None:
    broken = frame.assign(item=[None, *frame["item"][1:]])
    with pytest.raises(BadDataError, match="item: missing in 1 rows, the first of them 0"):
        Glmix("y ~ (1 | item)").fit(broken)


def test_the_summary_shows_as_text_and_html(fitted: Glmix) -> None:
    text, html = str(fitted.summary()), fitted.summary()._repr_html_()  # what notebooks call
    for said in ("Random effects", "corr_1", "std_error", "Intercept", "converged", "yes"):
        assert said in text
        assert said in html
    assert fitted.coefficients("user").shape == (25, 2)
    with pytest.raises(KeyError, match="there are fixed, user, item"):
        fitted.coefficients("nobody")


def test_pairs_of_ids_with_colons_are_told_apart() -> None:
    pairs = pd.DataFrame({"a": ["p:q", "p", "p\\", "p"], "b": ["r", "q:r", "q", "\\:q"]})
    assert len(set(entity_ids(pairs, ("a", "b")).tolist())) == 4
    known = np.array(["", "a"])
    missing = entity_ids(pd.DataFrame({"a": ["a", None]}), ("a",), like=known)
    assert positions(known, missing).tolist() == [1, -1]


def test_a_penalty_of_the_linear_task_is_a_variance_in_units_of_the_residual(frame: pd.DataFrame) -> None:
    found = Glmix("z ~ x + (1 | user)", task="linear", l2={"user": 2.0}).fit(frame.assign(z=10.0 * frame["z"]))
    residual = found.fitted_.record.training.residual_variance
    assert residual > 10.0
    assert found.summary().random["variance"].tolist() == [residual / 2.0]
