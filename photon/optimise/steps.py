"""Optimisers as pure ``init / step``: a step is a direction and a search along it, or a trust region."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from photon.objective import Derivatives
from photon.optimise.corners import Corners
from photon.optimise.directions import lbfgs, newton, tron
from photon.optimise.state import (
    KEPT_VALUES,
    Curvature,
    Memory,
    MethodName,
    Objective,
    Options,
    Problem,
    Result,
    State,
    StopReason,
)
from photon.rows import Floats
from yarnmill.errors import ConfigurationError

NEWTON_LIMIT: Final = 1024
"""Largest dimension with a dense Hessian: 8 MiB a partial sum, a third of a Gflop a factorisation."""

_ARMIJO: Final = 1e-4
_SHORTEST_STEP: Final = 2.0**-40
_ROUNDING: Final = 1e-14


@dataclass(frozen=True, slots=True)
class Method:
    """A way to choose the next direction."""

    name: MethodName

    @property
    def needs_hessian(self) -> bool:
        """Whether each evaluation brings the Hessian."""
        return self.name == "newton"

    def aim(self, problem: Problem, state: State) -> State:
        """Return the state with a direction to leave by."""
        if self.name == "newton":
            return newton(state)
        return tron(problem, state) if self.name == "tron" else lbfgs(problem, state)


def method_for(options: Options, dimension: int, problem: Problem) -> Method:
    """Return the method that fits, or the one that is asked for; ConfigurationError if it cannot do this problem."""
    if options.optimizer == "tron":
        if not problem.corners.is_none:
            raise ConfigurationError(
                "optimizer: tron with L1 or bounds",
                expected="auto, newton, lbfgs or owlqn: TRON needs a smooth objective",
            )
        return Method("tron")
    if options.optimizer == "newton" or (options.optimizer == "auto" and dimension <= NEWTON_LIMIT):
        return Method("newton")
    return Method("owlqn" if problem.corners.has_l1 or options.optimizer == "owlqn" else "lbfgs")


def init(problem: Problem, start: Floats, method: Method, memory: Memory = Memory()) -> State:  # noqa: B008  # frozen
    """Return the state at ``start``, or at the nearest point within the bounds: one evaluation."""
    point = problem.corners.project(start)
    derivatives = problem.objective(point, hessian=method.needs_hessian)
    state = replace(_at(problem, point, derivatives), memory=memory)
    # As far as the steepest descent in the metric goes.
    return method.aim(problem, replace(state, radius=problem.length(state.slopes / problem.metric)))


def _at(problem: Problem, point: Floats, derivatives: Derivatives) -> State:
    slopes = problem.corners.slopes(point, derivatives.gradient)
    box = problem.corners.orthant(point, slopes)
    value = problem.value(point, derivatives)
    held = box.bound(point, slopes)
    return State(point, derivatives, value, slopes, box, held, direction=np.zeros_like(point))


def step(problem: Problem, state: State, method: Method) -> State | None:
    """Return the state after one step, or None if no step along the direction lowers the value."""
    if method.name == "tron":
        return _trusted(problem, state, method)
    length, passes = 1.0, state.passes
    while length >= _SHORTEST_STEP:
        point = state.box.project(state.coefficients + length * state.direction)
        promised = float(state.slopes @ (point - state.coefficients))
        derivatives = problem.objective(point, hessian=method.needs_hessian)
        passes += 1
        # At the optimum a step changes the value by rounding alone; that must not read as a failure.
        allowed = state.value + _ARMIJO * promised + _ROUNDING * abs(state.value)
        if problem.value(point, derivatives) <= allowed:
            return method.aim(problem, _moved(problem, state, point, derivatives, passes))
        length /= 2.0
    return None


def _moved(problem: Problem, state: State, point: Floats, derivatives: Derivatives, passes: int) -> State:
    change = derivatives.gradient - state.derivatives.gradient
    memory = state.memory.with_step(point - state.coefficients, change)
    moved = replace(_at(problem, point, derivatives), passes=passes, memory=memory, radius=state.radius)
    return replace(moved, values=(*state.values, moved.value)[-KEPT_VALUES:])


def _trusted(problem: Problem, state: State, method: Method) -> State | None:
    """Step to the minimum of the model within the trust region, and judge the model by what came of it [2]_."""
    passes = state.passes
    while state.radius > 0.0:
        length = problem.length(state.direction)
        point = state.coefficients + state.direction
        derivatives = problem.objective(point, hessian=False)
        passes += 1
        slope = float(state.slopes @ state.direction)
        lowered, rounding = state.value - derivatives.value, _ROUNDING * abs(state.value)
        if lowered + rounding >= -_ARMIJO * slope:
            # A model that is far too careful shows in a slope that is still steep at the end of the step.
            at_end = float(derivatives.gradient @ state.direction)
            radius = 4.0 * length if at_end < 0.25 * slope else max(state.radius, length)
            moved = _moved(problem, state, point, derivatives, passes)
            return method.aim(problem, replace(moved, radius=radius))
        if length <= _SHORTEST_STEP * max(1.0, problem.length(state.coefficients)):
            return None
        state = method.aim(problem, replace(state, radius=0.25 * length, passes=passes))
        passes = state.passes
    return None


def is_converged(problem: Problem, state: State, tolerance: float) -> bool:
    """Return whether the value is within ``tolerance`` of the optimum, relative to the value (at least 1)."""
    scale = max(1.0, abs(state.value))
    if state.is_sure and state.gap <= tolerance * scale:
        return True
    if state.derivatives.hessian is not None:
        return False
    # Before curvature was seen, only a slope that all but vanishes tells: by the metric's gap, squared tolerance.
    if problem.diagonal is None:
        return state.slope_norm <= tolerance * scale
    return problem.length(state.slopes / problem.metric) <= tolerance * float(np.sqrt(scale))


def minimise(
    objective: Objective,
    start: Floats,
    options: Options = Options(),  # noqa: B008  # frozen
    *,
    corners: Corners | None = None,
    curvature: Curvature = Curvature(),  # noqa: B008  # frozen
    memory: Memory = Memory(),  # noqa: B008  # frozen
) -> Result:
    """Return the minimum of a convex objective.

    Parameters
    ----------
    objective
        Its smooth part.
    start
        Coefficients to start from; at the optimum one evaluation is all that is spent.
    options
        Method and end.
    corners
        L1 penalties and bounds.
    curvature
        What is known of the smooth part's Hessian besides.
    memory
        What an earlier solve of nearly the same problem ended with.
    """
    problem = Problem(objective, Corners.none(len(start)) if corners is None else corners, curvature.products)
    method = method_for(options, len(start), problem)
    if curvature.diagonal is not None and method.name != "newton":
        problem = replace(problem, diagonal=curvature.diagonal(problem.corners.project(start)))
    state = init(problem, start, method, memory)
    for iteration in range(options.max_iterations):
        if is_converged(problem, state, options.tolerance):
            return _result(state, iteration, "converged", method)
        following = step(problem, state, method)
        if following is None:
            return _result(state, iteration, "line_search_failed", method)
        state = following
    converged = is_converged(problem, state, options.tolerance)
    return _result(state, options.max_iterations, "converged" if converged else "max_iterations", method)


def _result(state: State, iterations: int, reason: StopReason, method: Method) -> Result:
    return Result(
        coefficients=state.coefficients,
        value=state.value,
        gradient_norm=state.slope_norm,
        gap=state.gap,
        iterations=iterations,
        evaluations=state.passes,
        reason=reason,
        method=method.name,
        memory=state.memory,
    )
