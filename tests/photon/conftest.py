"""Small GLMs and GLMix problems with dense twins, so that theorems can be checked with SciPy."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.optimize import minimize

from photon.local import LocalData
from photon.loss import LOGISTIC, RowLoss, loss_of
from photon.rows import Examples, Floats, SparseRows
from photon.settings import CoordinateSettings, FitSettings


@dataclass(frozen=True)
class Glm:
    """A generalized linear model's data, dense and sparse; the last column is 1 in every row."""

    matrix: Floats
    examples: Examples
    loss: RowLoss


TASKS = ("logistic", "linear", "poisson", "smoothed_hinge", "gamma", "tweedie")


def draw_labels(loss: RowLoss, margins: Floats, random: np.random.Generator) -> Floats:
    """Return labels that the task can have, drawn from its distribution where it has one."""
    if loss.task == "linear":
        return margins + random.normal(size=len(margins))
    if loss.task == "poisson":
        return random.poisson(np.exp(margins)).astype(np.float64)
    if loss.task == "gamma":
        return random.gamma(2.0, np.exp(margins) / 2.0)
    if loss.task == "tweedie":
        return np.where(random.random(len(margins)) < 0.3, 0.0, random.gamma(2.0, np.exp(margins) / 2.0))
    return (random.random(len(margins)) < LOGISTIC.mean(margins)).astype(np.float64)


@pytest.fixture(params=TASKS)
def loss(request: pytest.FixtureRequest) -> RowLoss:
    return loss_of(request.param)


@pytest.fixture
def make_labels() -> Callable[[RowLoss, Floats, np.random.Generator], Floats]:
    return draw_labels


@pytest.fixture
def make_glm() -> Callable[..., Glm]:
    def make(
        loss: RowLoss, rows: int = 120, columns: int = 6, seed: int = 0, *, weighted: bool = True, offset: bool = True
    ) -> Glm:
        random = np.random.default_rng(seed)
        matrix = np.where(random.random((rows, columns)) < 0.5, random.normal(size=(rows, columns)), 0.0)
        matrix[:, -1] = 1.0
        offsets = random.normal(scale=0.5, size=rows) if offset else np.zeros(rows)
        scale = 1.0 if loss.task in {"logistic", "linear", "smoothed_hinge"} else 0.5
        margins = matrix @ random.normal(scale=scale, size=columns) + offsets
        labels = draw_labels(loss, margins, random)
        weights = random.uniform(0.2, 3.0, rows) if weighted else np.ones(rows)
        return Glm(matrix, Examples(SparseRows.from_dense(matrix), labels, weights, offsets), loss)

    return make


@pytest.fixture
def scipy_optimum() -> Callable[..., Floats]:
    """Return the minimum of the same objective, by SciPy, from its dense formula."""

    def optimum(loss: RowLoss, matrix: Floats, labels: Floats, weights: Floats, offsets: Floats, l2: Floats) -> Floats:
        def objective(point: Floats) -> tuple[float, Floats]:
            margins = matrix @ point + offsets
            value = weights @ loss.value(margins, labels) + 0.5 * l2 @ (point * point)
            return float(value), matrix.T @ (weights * loss.first(margins, labels)) + l2 * point

        def hessian(point: Floats) -> Floats:
            curvature = weights * loss.second(matrix @ point + offsets, labels)
            return matrix.T @ (matrix * curvature[:, None]) + np.diag(l2)

        start = np.zeros(matrix.shape[1])
        found = minimize(objective, start, jac=True, hess=hessian, method="trust-exact", options={"gtol": 1e-11})
        return found.x  # type: ignore[no-any-return]

    return optimum


@pytest.fixture
def scipy_constrained_optimum() -> Callable[..., tuple[Floats, float]]:
    """Return minimum and value of ``smooth(b) + Σ l1|b|`` within bounds: SciPy's L-BFGS-B on ``b = p - q``."""

    def optimum(
        smooth: Callable[[Floats], tuple[float, Floats]], l1: Floats, lower: Floats, upper: Floats
    ) -> tuple[Floats, float]:
        size = len(l1)

        def split(point: Floats) -> tuple[float, Floats]:
            value, gradient = smooth(point[:size] - point[size:])
            slopes = np.concatenate([gradient + l1, l1 - gradient])
            return value + float(np.tile(l1, 2) @ point), slopes

        bounds = [*zip(np.maximum(lower, 0.0), np.maximum(upper, 0.0), strict=True)]
        bounds += [*zip(np.maximum(-upper, 0.0), np.maximum(-lower, 0.0), strict=True)]
        options = {"ftol": 1e-16, "gtol": 1e-10, "maxiter": 20_000, "maxfun": 200_000, "maxcor": 30}
        start = np.array([low for low, _ in bounds])
        found = minimize(split, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        return found.x[:size] - found.x[size:], float(found.fun)

    return optimum


@pytest.fixture
def glmix_settings() -> FitSettings:
    return FitSettings(
        task="logistic",
        coordinates=(
            CoordinateSettings(name="global", kind="fixed", shard="global", l2=1.0),
            CoordinateSettings(name="per_user", kind="random", shard="user", entity="user_id", l2=2.0),
            CoordinateSettings(name="per_film", kind="random", shard="film", entity="film", l2=3.0),
        ),
        max_sweeps=4,
        tolerance=0.0,
    )


@pytest.fixture
def glmix_data() -> LocalData:
    """Return 240 rows of 11 users (integers) and 7 films (text), with weights and offsets."""
    random = np.random.default_rng(3)
    rows = 240
    shards = {}
    for name, columns in (("global", 5), ("user", 3), ("film", 1)):
        matrix = np.where(random.random((rows, columns)) < 0.6, random.normal(size=(rows, columns)), 0.0)
        matrix[:, -1] = 1.0
        shards[name] = SparseRows.from_dense(matrix)
    return LocalData(
        labels=(random.random(rows) < 0.5).astype(np.float64),
        weights=random.uniform(0.5, 2.0, rows),
        offsets=random.normal(scale=0.3, size=rows),
        shards=shards,
        ids={
            "user_id": random.integers(100, 111, rows),
            "film": np.array([f"film-{i}" for i in range(7)])[random.integers(0, 7, rows)],
        },
        intercepts={"global": 4, "user": 2, "film": 0},
    )
