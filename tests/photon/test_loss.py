import numpy as np
import pytest

from photon.loss import LOGISTIC, RowLoss, loss_of
from yarnmill.errors import ConfigurationError

MARGINS = np.linspace(-4.0, 4.0, 17)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_derivatives_are_finite_differences(loss: RowLoss, label: float) -> None:
    labels, step = np.full_like(MARGINS, label), 1e-5
    slope = (loss.value(MARGINS + step, labels) - loss.value(MARGINS - step, labels)) / (2 * step)
    bend = (loss.first(MARGINS + step, labels) - loss.first(MARGINS - step, labels)) / (2 * step)
    np.testing.assert_allclose(loss.first(MARGINS, labels), slope, atol=1e-9)
    np.testing.assert_allclose(loss.second(MARGINS, labels), bend, atol=1e-9)


def test_the_first_derivative_is_mean_minus_label(loss: RowLoss) -> None:
    labels = np.ones_like(MARGINS)
    np.testing.assert_allclose(loss.first(MARGINS, labels), loss.mean(MARGINS) - labels, atol=1e-15)


def test_logistic_tails_neither_overflow_nor_vanish() -> None:
    far = np.array([-745.0, -100.0, 100.0, 745.0])
    assert np.isfinite(LOGISTIC.value(far, np.ones(4))).all()
    assert LOGISTIC.mean(far)[0] > 0.0
    np.testing.assert_allclose(LOGISTIC.mean(far)[1], np.exp(-100.0), rtol=1e-14)
    np.testing.assert_allclose(LOGISTIC.value(far, np.zeros(4))[2], 100.0)


def test_unknown_task_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="poison") as refused:
        loss_of("poison")
    assert "logistic or linear" in str(refused.value)
