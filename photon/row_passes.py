"""Compiled passes over the rows of one entity: slopes and curvatures of the losses, and their sum.

The task is looked at once a pass, never once a row, and each task has a loop of its own in which the
compiler computes an exponential once, however many of a loss's formulas hold it.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from photon import loss as formulas
from photon.compiled import compiled
from photon.loss import GAMMA, LOGISTIC, POISSON, SMOOTHED_HINGE, SQUARED, RowLoss
from photon.rows import Floats

LOGISTIC_TASK: Final = 0
LINEAR_TASK: Final = 1
POISSON_TASK: Final = 2
HINGE_TASK: Final = 3
GAMMA_TASK: Final = 4
TWEEDIE_TASK: Final = 5

_CODES: Final = {
    "logistic": LOGISTIC_TASK,
    "linear": LINEAR_TASK,
    "poisson": POISSON_TASK,
    "smoothed_hinge": HINGE_TASK,
    "gamma": GAMMA_TASK,
    "tweedie": TWEEDIE_TASK,
}


class Task(NamedTuple):
    """A task as compiled code knows it."""

    code: int
    power: float


def task_of(loss: RowLoss) -> Task:
    """Return the compiled twin of a loss."""
    return Task(_CODES[loss.task], loss.power)


class Targets(NamedTuple):
    """Label, weight and offset of each row."""

    labels: Floats
    weights: Floats
    offsets: Floats


class Span(NamedTuple):
    """The rows of one entity: the first, and how many."""

    start: int
    rows: int


Slopes = Callable[[float, Targets, Span, Floats, Floats, Floats], None]
Cost = Callable[[float, Targets, Span, Floats], float]


def _without_power(formula: Callable[..., Any]) -> Callable[..., Any]:
    scalar = compiled(formula)

    @compiled
    def formula_of_row(margin: float, label: float, power: float) -> Any:  # noqa: ANN401, ARG001
        return scalar(margin, label)

    return formula_of_row


def _slopes_of(first: Callable[..., Any], second: Callable[..., Any]) -> Slopes:
    @compiled
    def derive(power: float, targets: Targets, span: Span, totals: Floats, slopes: Floats, curvatures: Floats) -> None:
        for i in range(span.rows):
            weight, label = targets.weights[span.start + i], targets.labels[span.start + i]
            # A row that trains nothing may have an infinite loss.
            if weight > 0.0:
                slopes[i] = weight * first(totals[i], label, power)
                curvatures[i] = weight * second(totals[i], label, power)
            else:
                slopes[i] = 0.0
                curvatures[i] = 0.0

    return derive


def _cost_of(value: Callable[..., Any]) -> Cost:
    @compiled
    def cost(power: float, targets: Targets, span: Span, totals: Floats) -> float:
        result = 0.0
        for i in range(span.rows):
            weight = targets.weights[span.start + i]
            if weight > 0.0:
                result += weight * value(totals[i], targets.labels[span.start + i], power)
        return result

    return cost


def _passes(loss: RowLoss) -> tuple[Slopes, Cost]:
    value, first, second = map(_without_power, (loss.value, loss.first, loss.second))
    return _slopes_of(first, second), _cost_of(value)


_logistic_slopes, _logistic_cost = _passes(LOGISTIC)
_linear_slopes, _linear_cost = _passes(SQUARED)
_poisson_slopes, _poisson_cost = _passes(POISSON)
_hinge_slopes, _hinge_cost = _passes(SMOOTHED_HINGE)
_gamma_slopes, _gamma_cost = _passes(GAMMA)
_tweedie_slopes = _slopes_of(compiled(formulas.tweedie_first), compiled(formulas.tweedie_second))
_tweedie_cost = _cost_of(compiled(formulas.tweedie_value))


@compiled
def row_slopes(task: Task, targets: Targets, span: Span, totals: Floats, slopes: Floats, curvatures: Floats) -> None:
    """Write first and second derivative of each row's loss, times its weight."""
    if task.code == LOGISTIC_TASK:
        _logistic_slopes(task.power, targets, span, totals, slopes, curvatures)
    elif task.code == LINEAR_TASK:
        _linear_slopes(task.power, targets, span, totals, slopes, curvatures)
    elif task.code == POISSON_TASK:
        _poisson_slopes(task.power, targets, span, totals, slopes, curvatures)
    elif task.code == HINGE_TASK:
        _hinge_slopes(task.power, targets, span, totals, slopes, curvatures)
    elif task.code == GAMMA_TASK:
        _gamma_slopes(task.power, targets, span, totals, slopes, curvatures)
    else:
        _tweedie_slopes(task.power, targets, span, totals, slopes, curvatures)


@compiled
def row_costs(task: Task, targets: Targets, span: Span, totals: Floats) -> float:
    """Return the weighted sum of the rows' losses."""
    if task.code == LOGISTIC_TASK:
        return _logistic_cost(task.power, targets, span, totals)
    if task.code == LINEAR_TASK:
        return _linear_cost(task.power, targets, span, totals)
    if task.code == POISSON_TASK:
        return _poisson_cost(task.power, targets, span, totals)
    if task.code == HINGE_TASK:
        return _hinge_cost(task.power, targets, span, totals)
    if task.code == GAMMA_TASK:
        return _gamma_cost(task.power, targets, span, totals)
    return _tweedie_cost(task.power, targets, span, totals)
