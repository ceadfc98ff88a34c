"""Where to go from a point: Newton's direction, that of L-BFGS [1]_, and TRON's [2]_.

Each is a direction in the free columns; held ones go to their bound (or 0). Scaling the subgradient
by a positive definite matrix on the free columns alone makes the projected step one of descent.

References
----------
.. [1] D. C. Liu and J. Nocedal, "On the limited memory BFGS method for large scale optimization",
   Mathematical Programming 45 (1989).
.. [2] C.-J. Lin, R. C. Weng and S. S. Keerthi, "Trust region Newton method for large-scale logistic
   regression", JMLR 9 (2008).
"""

from dataclasses import replace

import numpy as np

from photon.optimise.state import Problem, State, still_to_come
from photon.rows import Floats


def aimed(state: State, direction: Floats, *, is_sure: bool) -> State:
    """Return the state with a direction in the free columns, the way to the bounds in held ones, and the gap."""
    to_bound = np.where(state.slopes > 0.0, state.box.lower, state.box.upper) - state.coefficients
    near = state.held & (state.slopes != 0.0)
    whole = np.where(near, to_bound, direction)
    gap = -0.5 * float(state.slopes @ direction) - float(np.sum(state.slopes[near] * to_bound[near]))
    return replace(state, direction=whole, gap=gap, is_sure=is_sure)


def newton(state: State) -> State:
    """Aim at the minimum of the quadratic model in the free columns."""
    hessian = state.derivatives.hessian
    if hessian is None:
        raise TypeError("Newton needs the Hessian")
    free = np.flatnonzero(~state.held)
    direction = np.zeros_like(state.coefficients)
    if len(free):
        direction[free] = _solved(hessian[np.ix_(free, free)], -state.slopes[free])
    return aimed(state, direction, is_sure=True)


def _solved(hessian: Floats, vector: Floats) -> Floats:
    try:
        lower = np.linalg.cholesky(hessian)
    except np.linalg.LinAlgError:
        return _without_curvature(hessian, vector)
    return np.linalg.solve(lower.T, np.linalg.solve(lower, vector))


def _without_curvature(hessian: Floats, vector: Floats) -> Floats:
    # Columns that are always zero or collinear have neither curvature nor slope along them and stay; a loss with
    # straight pieces has slopes there, and the largest curvature makes a step of descent of them.
    curvatures, axes = np.linalg.eigh(hessian)
    largest = curvatures[-1] if curvatures[-1] > 0.0 else 1.0
    safe = np.where(curvatures > 1e-12 * largest, curvatures, largest)
    direction: Floats = axes @ ((axes.T @ vector) / safe)
    return direction


def lbfgs(problem: Problem, state: State) -> State:
    """Aim by the curvature along the last steps, in the free columns (two-loop recursion)."""
    free = ~state.held
    pairs = state.memory.within(free)
    direction = -state.slopes * free
    if problem.diagonal is None:
        inverse = np.ones_like(direction)
        if not pairs:
            inverse = inverse / max(1.0, float(np.linalg.norm(direction)))
    else:
        inverse = 1.0 / problem.diagonal
    # As many pairs as there are free columns know all of the curvature.
    is_sure = len(pairs) >= min(5, int(free.sum()))
    ahead = aimed(state, _two_loops(direction, pairs, inverse), is_sure=is_sure)
    # The estimate knows nothing of directions that were not stepped along yet; how the values fell does.
    return replace(ahead, gap=max(ahead.gap, still_to_come(state.values)))


def _two_loops(direction: Floats, pairs: "list[tuple[Floats, Floats]]", inverse: Floats) -> Floats:
    """Return the inverse Hessian's estimate times a vector: ``inverse``, a diagonal, renewed by each pair."""
    alphas = []
    for step, change in reversed(pairs):
        alpha = (step @ direction) / (step @ change)
        direction = direction - alpha * change
        alphas.append(alpha)
    if pairs:
        step, change = pairs[-1]
        inverse = inverse * ((step @ change) / (change @ (inverse * change)))
    direction = direction * inverse
    for (step, change), alpha in zip(pairs, reversed(alphas), strict=True):
        direction = direction + (alpha - (change @ direction) / (step @ change)) * step
    return direction


def tron(problem: Problem, state: State) -> State:
    """Aim at the minimum of the quadratic model within the trust region, by conjugate gradients (Steihaug).

    Lengths are in the metric of the Hessian's diagonal, which preconditions the gradients.
    """
    if problem.products is None:
        raise TypeError("TRON needs products with the Hessian")
    direction, residual = np.zeros_like(state.slopes), -state.slopes
    search = residual / problem.metric
    square, passes = float(residual @ search), state.passes
    target = 0.01 * square
    for _ in range(max(20, len(residual))):
        if square <= target:
            break
        product = problem.products(state.coefficients, search)
        passes += 1
        bend = float(search @ product)
        length = square / bend if bend > 0.0 else 0.0
        if length <= 0.0 or problem.length(direction + length * search) >= state.radius:
            length = _to_boundary(problem, direction, search, state.radius)
            return replace(aimed(state, direction + length * search, is_sure=False), passes=passes)
        direction, residual = direction + length * search, residual - length * product
        scaled = residual / problem.metric
        square, before = float(residual @ scaled), square
        search = scaled + (square / before) * search
    return replace(aimed(state, direction, is_sure=True), passes=passes)


def _to_boundary(problem: Problem, direction: Floats, search: Floats, radius: float) -> float:
    """Return ``t ≥ 0`` for which ``direction + t·search`` is as long as ``radius``."""
    scaled = problem.metric * search
    a, b = float(search @ scaled), float(direction @ scaled)
    c = problem.length(direction) ** 2 - radius * radius
    return float((-b + np.sqrt(max(0.0, b * b - a * c))) / a)
