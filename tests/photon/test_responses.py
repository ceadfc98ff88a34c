"""What a model explains: the constant that costs least explains nothing, labels that are known explain all."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from photon.loss import Task, loss_of
from photon.objective import data_loss
from photon.responses import explained, labels_of, null_margin
from photon.rows import Floats
from yarnmill.errors import BadDataError

TASKS: tuple[Task, ...] = ("logistic", "linear", "poisson", "smoothed_hinge", "gamma", "tweedie")


def rows(task: Task) -> tuple[Floats, Floats]:
    random = np.random.default_rng(0)
    is_class = task in ("logistic", "smoothed_hinge")
    labels = (random.random(60) < 0.3).astype(np.float64) if is_class else random.gamma(2.0, size=60)
    return labels, random.uniform(0.5, 2.0, 60)


@pytest.mark.parametrize("task", TASKS)
def test_the_null_margin_is_the_constant_that_costs_least_and_explains_nothing(task: Task) -> None:
    labels, weights = rows(task)
    for own in (labels, 1.0 - labels) if task == "smoothed_hinge" else (labels,):
        null, loss = null_margin(own, weights, task), loss_of(task)
        best = minimize_scalar(lambda at: data_loss(loss, np.full(60, at), own, weights), bounds=(-5.0, 5.0))  # noqa: B023
        assert null == pytest.approx(best.x, abs=1e-4)
        assert explained(np.full(60, null), own, weights, loss) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("task", TASKS)
def test_margins_that_know_every_label_explain_all(task: Task) -> None:
    labels, weights = rows(task)
    known = {"logistic": 80.0 * labels - 40.0, "linear": labels, "smoothed_hinge": 2.0 * labels - 1.0}
    perfect = known[task] if task in known else np.log(labels)
    assert explained(perfect, labels, weights, loss_of(task)) == pytest.approx(1.0, abs=1e-12)


def test_labels_of_unlike_kinds_are_refused() -> None:
    with pytest.raises(BadDataError, match=r"values of unlike kinds \(int, str\)"):
        labels_of(np.array(["a", 1], dtype=object), "logistic")
