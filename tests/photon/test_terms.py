"""What terms are told beside a formula: scikit-learn's optimum where it has the same model."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import Lasso, LinearRegression
from sklearn.model_selection import GridSearchCV

from photon import Glmix, Term
from photon.loss import loss_of
from yarnmill.errors import ConfigurationError

FORMULA = "z ~ a + b + c + (1 + a | user)"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    random = np.random.default_rng(2)
    matrix = random.normal(size=(300, 3)) * [1.0, 5.0, 0.2]
    users = random.integers(0, 15, 300)
    z = matrix @ [0.8, -0.1, 0.3] + random.normal(size=15)[users] + random.normal(size=300)
    columns = {"a": matrix[:, 0], "b": matrix[:, 1], "c": matrix[:, 2], "user": users, "z": z}
    return pd.DataFrame(columns | {"y": z > 0.0, "cost": np.where(z > 0.5, np.exp(z / 2), 0.0)})


def estimates(model: Glmix) -> np.ndarray:
    return model.coefficients()["estimate"][["a", "b", "c"]].to_numpy()


def test_l1_is_the_lasso(frame: pd.DataFrame) -> None:
    model = Glmix("z ~ a + b + c", task="linear", l2=0.0, terms={"fixed": Term(l1=30.0)}).fit(frame)
    theirs = Lasso(alpha=30.0 / 300, tol=1e-12).fit(frame[["a", "b", "c"]], frame["z"])
    np.testing.assert_allclose(estimates(model), theirs.coef_, atol=1e-6)
    assert "std_error" not in model.coefficients()
    apart = frame["z"] - model.predict(frame)
    free = 1 + np.count_nonzero(theirs.coef_)
    assert model.fitted_.record.training.residual_variance == pytest.approx(np.sum(apart**2) / (300 - free))


def test_bounds_are_by_the_names_of_columns(frame: pd.DataFrame) -> None:
    model = Glmix("z ~ a + b + c", task="linear", terms={"fixed": {"bounds": {"*": (0.0, None)}}}).fit(frame)
    theirs = LinearRegression(positive=True).fit(frame[["a", "b", "c"]], frame["z"])
    np.testing.assert_allclose(estimates(model), theirs.coef_, atol=1e-6)
    one = Glmix("z ~ a + b + c", task="linear", terms={"fixed": {"bounds": {"a": (None, 0.25)}}}).fit(frame)
    assert estimates(one)[0] == pytest.approx(0.25)


def test_normalisation_and_optimiser_leave_a_free_optimum_where_it_is(frame: pd.DataFrame) -> None:
    plain = Glmix("y ~ a + b + c").fit(frame)
    for term in ({"normalisation": "standardization"}, {"optimizer": "lbfgs", "tolerance": 1e-14}):
        other = Glmix("y ~ a + b + c", terms={"fixed": term}).fit(frame)
        np.testing.assert_allclose(estimates(other), estimates(plain), atol=1e-5)


def test_variances_are_squared_standard_errors(frame: pd.DataFrame) -> None:
    model = Glmix("y ~ a + b + (1 | user)", l2={"fixed": 0.0, "user": 2.0}, terms={"user": {"variances": "full"}})
    fitted = clone(model).set_params(terms={"user": {"variances": "full"}, "fixed": {"variances": "full"}}).fit(frame)
    variances = fitted.variances("user")
    assert variances.shape == fitted.coefficients("user").shape
    assert ((variances > 0.0) & (variances < 0.5)).to_numpy().all()
    alone = Glmix("y ~ a + b", terms={"fixed": {"variances": "full"}}).fit(frame)
    errors = alone.coefficients()["std_error"].to_numpy()
    np.testing.assert_allclose(alone.variances()["variance"], errors**2, rtol=1e-5)
    # Given the random effect's coefficients there is less left to be uncertain of.
    assert (fitted.variances()["variance"] < fitted.coefficients()["std_error"] ** 2).all()
    with pytest.raises(ConfigurationError, match="user: a model without variances"):
        Glmix("y ~ (1 | user)", l2=1.0).fit(frame).variances("user")


def test_the_power_of_tweedie_is_taken(frame: pd.DataFrame) -> None:
    for power in (1.2, 1.8):
        model = Glmix("cost ~ a + c", task="tweedie", tweedie_power=power).fit(frame)
        loss, margin = loss_of("tweedie", power), model.decision_function(frame)
        slope = loss.first(margin, frame["cost"].to_numpy())
        np.testing.assert_allclose([slope.sum(), slope @ frame["a"], slope @ frame["c"]], 0.0, atol=2e-3)


def test_terms_go_through_scikit_learn(frame: pd.DataFrame) -> None:
    model = Glmix("~ a + b + c", task="linear", terms={"fixed": Term(l1=1.0)}, acceleration=0)
    assert clone(model).get_params() == model.get_params()
    choices = [{"fixed": Term(l1=one)} for one in (1.0, 1e5)]
    search = GridSearchCV(model, {"terms": choices}, cv=2).fit(frame, frame["z"])
    assert search.best_params_["terms"] == choices[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"terms": {"users": {}}}, "terms: no effect 'users'\\nexpected: some of fixed, user"),
        ({"terms": {"user": {"l3": 1.0}}}, r"terms\['user'\].*l3"),
        (
            {"terms": {"fixed": {"bounds": {"nobody": (0.0, None)}}}, "l2": 1.0},
            r"terms\['fixed'\].bounds: no column 'nob",
        ),
        ({"terms": {"fixed": {"l1": 1.0}}}, r"terms\['fixed'\].l1: set, while the prior of 'user' is estimated"),
        ({"terms": {"user": {"bounds": {"*": (0.0, None)}}}}, r"terms\['user'\].bounds: set, while"),
        ({"terms": {"user": {"optimizer": "lbfgs"}}, "l2": 1.0}, "optimizer: lbfgs"),
    ],
)
def test_what_a_term_cannot_be_is_refused_by_its_name(
    frame: pd.DataFrame, change: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Glmix(FORMULA, task="linear").set_params(**change).fit(frame)
