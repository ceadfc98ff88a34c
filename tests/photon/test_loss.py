import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_gamma_deviance, mean_poisson_deviance, mean_tweedie_deviance

from photon.loss import GAMMA, LOGISTIC, POISSON, SMOOTHED_HINGE, RowLoss, loss_of, tweedie
from photon.objective import data_loss
from yarnmill.errors import ConfigurationError

MARGINS = np.linspace(-4.03, 4.0, 17)  # clear of the corners of the smooth hinge
LABELS = {"poisson": (0.0, 3.0), "gamma": (0.2, 3.0), "tweedie": (0.0, 2.5)}


def test_derivatives_are_finite_differences(loss: RowLoss) -> None:
    step = 1e-5
    for label in LABELS.get(loss.task, (0.0, 1.0)):
        labels = np.full_like(MARGINS, label)
        slope = (loss.value(MARGINS + step, labels) - loss.value(MARGINS - step, labels)) / (2 * step)
        bend = (loss.first(MARGINS + step, labels) - loss.first(MARGINS - step, labels)) / (2 * step)
        np.testing.assert_allclose(loss.first(MARGINS, labels), slope, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(loss.second(MARGINS, labels), bend, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("task", ["logistic", "linear", "poisson"])
def test_the_first_derivative_of_a_canonical_link_is_mean_minus_label(task: str) -> None:
    loss, labels = loss_of(task), np.ones_like(MARGINS)
    np.testing.assert_allclose(loss.first(MARGINS, labels), loss.mean(MARGINS) - labels, atol=1e-15)


@given(st.floats(-30.0, 30.0), st.floats(0.0, 1.0), st.floats(-30.0, 30.0), st.floats(1.05, 1.95))
def test_every_loss_is_convex(one: float, share: float, other: float, power: float) -> None:
    between = share * one + (1.0 - share) * other
    for loss in (LOGISTIC, POISSON, SMOOTHED_HINGE, GAMMA, tweedie(power)):
        for label in (1.0,) if loss.task == "gamma" else (0.0, 1.0):
            chord = share * loss.value(one, label) + (1.0 - share) * loss.value(other, label)
            assert loss.value(between, label) <= chord + 1e-12 * (1.0 + abs(chord))
            assert loss.second(between, label) >= 0.0


def test_log_link_losses_are_half_deviances_up_to_the_labels() -> None:
    random = np.random.default_rng(0)
    labels, ones = random.gamma(2.0, size=40), np.ones(40)
    one, other = random.normal(size=40), random.normal(size=40)
    deviances = (
        (POISSON, mean_poisson_deviance),
        (GAMMA, mean_gamma_deviance),
        (tweedie(1.3), lambda y, m: mean_tweedie_deviance(y, m, power=1.3)),
    )
    for loss, deviance in deviances:
        expected = 20.0 * (deviance(labels, np.exp(one)) - deviance(labels, np.exp(other)))
        found = data_loss(loss, one, labels, ones) - data_loss(loss, other, labels, ones)
        np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_the_log_link_losses_are_likelihoods_of_statsmodels() -> None:
    random = np.random.default_rng(1)
    labels, one, other = random.poisson(2.0, 30) + 1.0, random.normal(size=30), random.normal(size=30)
    for loss, family in ((POISSON, sm.families.Poisson()), (GAMMA, sm.families.Gamma(sm.families.links.Log()))):
        expected = family.loglike(labels, np.exp(other)) - family.loglike(labels, np.exp(one))
        found = data_loss(loss, one, labels, np.ones(30)) - data_loss(loss, other, labels, np.ones(30))
        np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_the_smooth_hinge_is_flat_round_and_straight() -> None:
    signed = np.array([-2.0, 0.0, 0.5, 1.0, 3.0])
    for label in (0.0, 1.0):
        margins = signed if label else -signed
        np.testing.assert_allclose(SMOOTHED_HINGE.value(margins, label), [2.5, 0.5, 0.125, 0.0, 0.0])
        np.testing.assert_allclose(SMOOTHED_HINGE.first(margins, label) * (2 * label - 1), [-1, -1, -0.5, 0, 0])


def test_logistic_tails_neither_overflow_nor_vanish() -> None:
    far = np.array([-745.0, -100.0, 100.0, 745.0])
    assert np.isfinite(LOGISTIC.value(far, np.ones(4))).all()
    assert LOGISTIC.mean(far)[0] > 0.0
    np.testing.assert_allclose(LOGISTIC.mean(far)[1], np.exp(-100.0), rtol=1e-14)
    np.testing.assert_allclose(LOGISTIC.value(far, np.zeros(4))[2], 100.0)


def test_unknown_task_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="poison") as refused:
        loss_of("poison")
    assert "logistic, linear" in str(refused.value)


def test_an_overflow_is_infinite_and_rows_of_weight_0_have_none() -> None:
    far, ones = np.array([2000.0, 1.0]), np.ones(2)
    for loss in (POISSON, tweedie(1.5)):
        assert data_loss(loss, far, ones, ones) == np.inf
        assert np.isfinite(data_loss(loss, far, ones, np.array([0.0, 1.0])))


@pytest.mark.parametrize(
    ("task", "fine", "wrong"),
    [
        ("logistic", [0.0, 1.0], [0.5, -1.0, np.nan]),
        ("linear", [-3.0, 0.0], [np.inf, np.nan]),
        ("poisson", [0.0, 2.0, 2.5], [-1.0, np.inf, np.nan]),
        ("smoothed_hinge", [0.0, 1.0], [-1.0, 0.5]),
        ("gamma", [0.1, 7.0], [0.0, -1.0, np.inf]),
        ("tweedie", [0.0, 7.0], [-0.1, np.inf, np.nan]),
    ],
)
def test_labels_are_checked(task: str, fine: list[float], wrong: list[float]) -> None:
    assert loss_of(task).is_label(np.array(fine)).all()
    assert not loss_of(task).is_label(np.array(wrong)).any()
