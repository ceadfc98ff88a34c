"""The part of an objective that has corners, column by column: ``Σ l1ⱼ|bⱼ|`` and ``lowerⱼ ≤ bⱼ ≤ upperⱼ``.

Around a point the absolute values are linear on the side a column is on, or would move to: its
*orthant* [1]_. There the objective is smooth inside a box, so L1 and bounds come down to one thing,
steps projected onto a box [2]_.

References
----------
.. [1] G. Andrew and J. Gao, "Scalable training of L1-regularized log-linear models", ICML 2007 (OWL-QN).
.. [2] D. P. Bertsekas, "Projected Newton methods for optimization problems with simple constraints",
   SIAM Journal on Control and Optimization 20 (1982).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from photon.rows import Floats, Mask

_NEAR: Final = 1e-3
"""How near to its bound, at most, a column that is pushed towards it counts as bound."""


@dataclass(frozen=True, slots=True)
class Box:
    """``lower ≤ b ≤ upper``, column by column."""

    lower: Floats
    upper: Floats

    def project(self, coefficients: Floats) -> Floats:
        """Return the nearest point of the box."""
        return np.minimum(np.maximum(coefficients, self.lower), self.upper)

    def bound(self, coefficients: Floats, slopes: Floats) -> Mask:
        """Return which columns a descent holds back: at a bound, or nearly, and pushed towards it."""
        movable = np.abs(coefficients - self.project(coefficients - slopes))
        near = min(_NEAR, float(np.max(movable, initial=0.0)))
        at_lower = (coefficients <= self.lower + near) & (slopes > 0.0)
        at_upper = (coefficients >= self.upper - near) & (slopes < 0.0)
        held: Mask = at_lower | at_upper | (self.lower == self.upper)
        return held


@dataclass(frozen=True, slots=True)
class Corners:
    """L1 strengths and bounds, each ``(columns,)``."""

    l1: Floats
    lower: Floats
    upper: Floats

    @classmethod
    def none(cls, columns: int) -> "Corners":
        """Return no corner at all."""
        return cls(np.zeros(columns), np.full(columns, -np.inf), np.full(columns, np.inf))

    @property
    def is_none(self) -> bool:
        """Whether there is no corner."""
        return not (self.has_l1 or np.any(self.lower > -np.inf) or np.any(self.upper < np.inf))

    @property
    def has_l1(self) -> bool:
        """Whether any column has an L1 penalty."""
        return bool(np.any(self.l1 > 0.0))

    def value(self, coefficients: Floats) -> float:
        """Return ``Σ l1ⱼ|bⱼ|``."""
        return float(np.dot(self.l1, np.abs(coefficients)))

    def project(self, coefficients: Floats) -> Floats:
        """Return the nearest point within the bounds."""
        return Box(self.lower, self.upper).project(coefficients)

    def slopes(self, coefficients: Floats, gradient: Floats) -> Floats:
        """Return the subgradient of least norm: 0 in all columns at the optimum and nowhere else.

        At ``b = 0`` it is 0 while the gradient of the smooth part is weaker than ``l1``; at a bound it is 0 if it
        points out of the box.
        """
        side = np.sign(coefficients)
        at_zero = np.sign(gradient) * np.maximum(np.abs(gradient) - self.l1, 0.0)
        slopes = np.where(side != 0.0, gradient + side * self.l1, at_zero)
        blocked = ((coefficients <= self.lower) & (slopes > 0.0)) | ((coefficients >= self.upper) & (slopes < 0.0))
        return np.where(blocked, 0.0, slopes)

    def orthant(self, coefficients: Floats, slopes: Floats) -> Box:
        """Return the box around a point in which the objective is smooth; a column that has to stay is shut in."""
        side = np.where(coefficients != 0.0, np.sign(coefficients), -np.sign(slopes))
        penalised = self.l1 > 0.0
        lower = np.where(penalised & (side >= 0.0), np.maximum(self.lower, 0.0), self.lower)
        upper = np.where(penalised & (side <= 0.0), np.minimum(self.upper, 0.0), self.upper)
        at_bound = (slopes == 0.0) & ((coefficients <= self.lower) | (coefficients >= self.upper))
        return Box(np.where(at_bound, coefficients, lower), np.where(at_bound, coefficients, upper))
