"""Optimisers of a smooth convex objective, as pure ``init / step``: no data, no loss, no Spark.

An objective is a function from coefficients to :class:`~photon.objective.Derivatives`; on a cluster
each call is one pass over the data, so both methods spend one call a step when the step is good.
A result carries why it stopped and how far from the optimum it is, and raises nothing.

Newton is for dimensions whose Hessian fits (:data:`NEWTON_LIMIT`), L-BFGS [1]_ for all others.

References
----------
.. [1] D. C. Liu and J. Nocedal, "On the limited memory BFGS method for large scale optimization",
   Mathematical Programming 45 (1989).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

import numpy as np

from photon.objective import Derivatives
from photon.rows import Floats

StopReason = Literal["converged", "max_iterations", "line_search_failed"]

NEWTON_LIMIT: Final = 1024
"""Largest dimension with a dense Hessian: 8 MiB a partial sum, a third of a Gflop a factorisation."""

_ARMIJO: Final = 1e-4
_SHORTEST_STEP: Final = 2.0**-30
_HISTORY: Final = 10


class Objective(Protocol):
    """What is minimised."""

    def __call__(self, coefficients: Floats, *, hessian: bool) -> Derivatives:
        """Return value and gradient, and the Hessian if it is asked for."""


@dataclass(frozen=True, slots=True)
class State:
    """A point on the way, the derivatives there, and what the method remembers.

    ``gap`` estimates how far the value is above the optimum: ``½ gᵀ H⁻¹ g``, half the squared Newton
    decrement, with the Hessian or its L-BFGS approximation.
    """

    coefficients: Floats
    derivatives: Derivatives
    direction: Floats
    gap: float
    evaluations: int
    steps: tuple[Floats, ...] = ()
    changes: tuple[Floats, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """Where an optimiser ended, why, and how good the point is."""

    coefficients: Floats
    value: float
    gradient_norm: float
    gap: float
    iterations: int
    evaluations: int
    reason: StopReason


@dataclass(frozen=True, slots=True)
class Method:
    """A way to choose the next direction from a state whose derivatives are known."""

    name: Literal["newton", "lbfgs"]
    needs_hessian: bool
    direction: Callable[[State], Floats]


def _newton_direction(state: State) -> Floats:
    hessian = state.derivatives.hessian
    if hessian is None:
        raise TypeError("Newton needs the Hessian")
    try:
        lower = np.linalg.cholesky(hessian)
    except np.linalg.LinAlgError:
        # Columns that are always zero or collinear, unpenalised: the shortest step is as good as any.
        shortest = np.linalg.lstsq(hessian, -state.derivatives.gradient, rcond=None)[0]
        return shortest.astype(np.float64, copy=False)
    return np.linalg.solve(lower.T, np.linalg.solve(lower, -state.derivatives.gradient))


def _lbfgs_direction(state: State) -> Floats:
    direction = -state.derivatives.gradient
    if not state.steps:
        return direction / max(1.0, float(np.linalg.norm(direction)))
    pairs = list(zip(state.steps, state.changes, strict=True))
    alphas = []
    for step, change in reversed(pairs):
        alpha = (step @ direction) / (step @ change)
        direction = direction - alpha * change
        alphas.append(alpha)
    step, change = pairs[-1]
    direction = direction * ((step @ change) / (change @ change))
    for (step, change), alpha in zip(pairs, reversed(alphas), strict=True):
        direction = direction + (alpha - (change @ direction) / (step @ change)) * step
    return direction


NEWTON: Final = Method("newton", needs_hessian=True, direction=_newton_direction)
LBFGS: Final = Method("lbfgs", needs_hessian=False, direction=_lbfgs_direction)


def method_for(dimension: int) -> Method:
    """Return the method that fits a number of coefficients."""
    return NEWTON if dimension <= NEWTON_LIMIT else LBFGS


def _aimed(state: State, method: Method) -> State:
    direction = method.direction(state)
    return replace(state, direction=direction, gap=float(-0.5 * (state.derivatives.gradient @ direction)))


def init(objective: Objective, start: Floats, method: Method) -> State:
    """Return the state at ``start``: one evaluation."""
    derivatives = objective(start, hessian=method.needs_hessian)
    return _aimed(State(start, derivatives, np.zeros_like(start), np.inf, 1), method)


def step(objective: Objective, state: State, method: Method) -> State | None:
    """Return the state after one step, or None if no step along the direction lowers the value."""
    slope = float(state.derivatives.gradient @ state.direction)
    length, evaluations = 1.0, state.evaluations
    while length >= _SHORTEST_STEP:
        point = state.coefficients + length * state.direction
        derivatives = objective(point, hessian=method.needs_hessian)
        evaluations += 1
        # At the optimum a step changes the value by rounding alone; that must not read as a failure.
        rounding = 1e-14 * abs(state.derivatives.value)
        if derivatives.value <= state.derivatives.value + _ARMIJO * length * slope + rounding:
            moved = replace(state, coefficients=point, derivatives=derivatives, evaluations=evaluations)
            return _aimed(_remembered(state, moved) if method.name == "lbfgs" else moved, method)
        length /= 2.0
    return None


def _remembered(before: State, after: State) -> State:
    moved = after.coefficients - before.coefficients
    change = after.derivatives.gradient - before.derivatives.gradient
    if moved @ change <= 1e-12 * float(np.linalg.norm(moved) * np.linalg.norm(change)):
        return after  # no usable curvature along this step
    return replace(after, steps=(*before.steps, moved)[-_HISTORY:], changes=(*before.changes, change)[-_HISTORY:])


def is_converged(state: State, tolerance: float) -> bool:
    """Return whether the value is within ``tolerance`` of the optimum, relative to the value (at least 1)."""
    scale = max(1.0, abs(state.derivatives.value))
    if state.derivatives.hessian is not None:
        return state.gap <= tolerance * scale
    # Without a Hessian the gap is trusted only once curvature was seen, or where the gradient vanishes.
    if float(np.linalg.norm(state.derivatives.gradient)) <= tolerance * scale:
        return True
    return bool(state.steps) and state.gap <= tolerance * scale


def minimise(objective: Objective, start: Floats, *, tolerance: float = 1e-10, max_iterations: int = 100) -> Result:
    """Return the minimum of ``objective``.

    Parameters
    ----------
    objective
        Smooth and convex.
    start
        Coefficients to start from; at the optimum one evaluation is all that is spent.
    tolerance
        How far above the optimum the value may be, relative to the value: see :func:`is_converged`.
    max_iterations
        Most steps taken.
    """
    method = method_for(len(start))
    state = init(objective, start, method)
    for iteration in range(max_iterations):
        if is_converged(state, tolerance):
            return _result(state, iteration, "converged")
        following = step(objective, state, method)
        if following is None:
            return _result(state, iteration, "line_search_failed")
        state = following
    return _result(state, max_iterations, "converged" if is_converged(state, tolerance) else "max_iterations")


def _result(state: State, iterations: int, reason: StopReason) -> Result:
    return Result(
        coefficients=state.coefficients,
        value=state.derivatives.value,
        gradient_norm=float(np.linalg.norm(state.derivatives.gradient)),
        gap=state.gap,
        iterations=iterations,
        evaluations=state.evaluations,
        reason=reason,
    )
