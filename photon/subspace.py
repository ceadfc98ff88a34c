"""The joint objective along the last steps of a descent: what accelerates plain alternation.

A sweep of block coordinate descent is Gauss-Seidel's method, whose error falls by a constant factor a
sweep. The steps of earlier sweeps know the slow directions, so each sweep ends with a minimisation of the
joint objective over the few directions ``dⱼ``: the sweep's own step and the whole steps before it
[1]_ [2]_. Scores are linear in the coefficients, so a move ``Σ αⱼ dⱼ`` moves both alike and exactly; in a
quadratic this is a conjugate-direction method with the sweep as its preconditioner.

Each part of a model (the coefficients of a coordinate, the margins of some rows) keeps a :class:`Path`
where its numbers lie. What leaves it are sums: value, gradient ``(m,)`` and Hessian ``(m, m)`` in the ``αⱼ``.

References
----------
.. [1] G. Narkiss and M. Zibulevsky, "Sequential subspace optimization method for large-scale
   unconstrained problems", Technion CCIT 559 (2005).
.. [2] H. De Sterck, "A nonlinear GMRES optimization algorithm for canonical tensor decomposition",
   SIAM J. Sci. Comput. 34 (2012).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from photon.cell_terms import CellTerms
from photon.loss import RowLoss
from photon.objective import Derivatives, Penalty, data_loss
from photon.regularisation import Regularisation
from photon.rows import Examples, Floats

Mixture = tuple[float, ...]
"""How far to go along each direction, the sweep's own first; empty: nowhere."""

Mixtures = Floats
"""``(m, k)`` a mixture for each of ``k`` points side by side, whose paths are ``(size, k)``."""

_LENGTHS: Final = (1.0, 0.5, 0.25)
_SMALLEST_CURVATURE: Final = 1e-12
"""Directions that are alike up to this, relative to the largest, count once."""
_ROUNDING: Final = 1e-14
"""A direction whose unit step changes the objective by less, relative to it, is made of rounding."""
_FARTHEST: Final = 1e4
"""Longest way along a direction: rounding in it grows as much."""


@dataclass(frozen=True, slots=True)
class Path:
    """A point, where its sweep began, and the whole steps of earlier sweeps, the newest first."""

    point: Floats
    origin: Floats
    steps: tuple[Floats, ...] = ()

    @classmethod
    def start(cls, point: Floats) -> "Path":
        """Return the path that begins at ``point``."""
        return cls(point, point)

    @property
    def directions(self) -> Floats:
        """The directions ``(m, size)``."""
        return np.stack([self.point - self.origin, *self.steps])

    def at(self, mixture: Mixture | Mixtures) -> Floats:
        """Return the point after a move along the directions."""
        point = self.point
        if len(mixture) and np.any(mixture[0]):
            point = point + mixture[0] * (self.point - self.origin)
        for alpha, step in zip(mixture[1:], self.steps, strict=True) if len(mixture) else ():
            point = point + alpha * step
        return point

    def moved(self, mixture: Mixture | Mixtures, window: int) -> "Path":
        """Return the path of the next sweep, which begins after the move and has ``window`` directions at most."""
        point = self.at(mixture)
        if not window:
            return Path(point, point)
        return Path(point, point, (point - self.origin, *self.steps)[: window - 1])

    def arrived(self, point: Floats) -> "Path":
        """Return the path after an update within the sweep."""
        return Path(point, self.origin, self.steps)


def rows_along(totals: Path, examples: Examples, loss: RowLoss) -> Derivatives:
    """Return ``Σ w·loss`` of rows along the directions of their margins; ``totals`` are without offsets."""
    margins, directions = totals.point + examples.offsets, totals.directions
    trained = examples.weights > 0.0
    # A row of weight 0 may have a margin where the loss overflows.
    weights, margins, labels = examples.weights[trained], margins[trained], examples.labels[trained]
    directions = directions[:, trained]
    value, size = data_loss(loss, margins, labels, weights), len(directions)
    if not np.isfinite(value):
        return Derivatives(value, np.full(size, np.nan), np.full((size, size), np.nan))
    return Derivatives(
        value=value,
        gradient=directions @ (weights * loss.first(margins, labels)),
        hessian=(directions * (weights * loss.second(margins, labels))) @ directions.T,
    )


def penalty_along(path: Path, terms: Regularisation | CellTerms) -> Derivatives:
    """Return penalty and prior along the directions of the coefficients; both are quadratic but for L1."""
    directions = path.directions
    parts = _parts(terms)
    normalised, scaled = terms.normalised(path.point), np.stack([terms.normalised(one) for one in directions])
    # At 0 the absolute value has no slope; a trial finds out what a step away from there costs.
    slopes = parts.l2 * normalised + parts.l1 * np.sign(normalised)
    return Derivatives(
        value=terms.value(path.point),
        gradient=scaled @ slopes + directions @ (parts.precisions * (path.point - parts.means)),
        hessian=(scaled * parts.l2) @ scaled.T + (directions * parts.precisions) @ directions.T,
    )


def cost(path: Path, move: Mixture, terms: Regularisation | CellTerms) -> float:
    """Return penalty and prior after a move; infinite beyond a bound."""
    point = path.at(move)
    return terms.value(point) if np.all((terms.lower <= point) & (point <= terms.upper)) else float("inf")


@dataclass(frozen=True, slots=True)
class _Parts:
    l2: Floats
    l1: Floats
    precisions: Floats
    means: Floats


def _parts(terms: Regularisation | CellTerms) -> _Parts:
    if isinstance(terms, CellTerms):
        return _Parts(terms.l2, terms.l1, terms.precisions, terms.means)
    nothing = np.zeros(terms.columns)
    prior = Penalty(nothing) if terms.prior is None else terms.prior
    means = nothing if prior.centre is None else prior.centre
    return _Parts(terms.penalty.l2, terms.corners.l1, prior.l2, means)


def quadratic(along: Derivatives, move: Mixture) -> float:
    """Return the value after a move of what is quadratic along the directions."""
    step = np.array(move)
    curvature = 0.0 if along.hessian is None else float(step @ along.hessian @ step)
    return along.value + float(along.gradient @ step) + 0.5 * curvature


def candidates(along: Derivatives) -> tuple[Mixture, ...]:
    """Return what to try: nothing, and Newton's step in the subspace, whole and shortened."""
    if along.hessian is None:
        raise TypeError("a subspace step needs the Hessian")
    if not np.isfinite(along.value):
        return ((0.0,) * len(along.gradient),)
    scale = np.sqrt(np.maximum(np.diag(along.hessian), 0.0))
    scale[scale * scale <= _ROUNDING * abs(along.value)] = np.inf
    values, vectors = np.linalg.eigh(along.hessian / np.outer(scale, scale))
    kept = values > _SMALLEST_CURVATURE * max(float(values[-1]), 0.0)
    inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
    newton = -(inverse @ (along.gradient / scale)) / scale
    nowhere: Mixture = (0.0,) * len(newton)
    if not np.all(np.abs(newton) <= _FARTHEST):  # NaN included
        return (nowhere,)
    return (nowhere, *(tuple((length * newton).tolist()) for length in _LENGTHS))


def row_values(
    totals: Path, mixtures: Sequence[Mixture], examples: Examples, loss: RowLoss, weights: Floats
) -> tuple[float, ...]:
    """Return ``Σ w·loss`` of rows after each of the moves."""
    kept = weights > 0.0
    weights, labels, offsets = weights[kept], examples.labels[kept], examples.offsets[kept]
    return tuple(data_loss(loss, totals.at(one)[kept] + offsets, labels, weights) for one in mixtures)
