"""What an optimiser is given, what it remembers on the way, and what it hands back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np

from photon.objective import Derivatives
from photon.optimise.corners import Box, Corners
from photon.rows import Floats, Mask
from photon.settings import Optimizer

MethodName = Literal["newton", "lbfgs", "owlqn", "tron"]

StopReason = Literal["converged", "max_iterations", "line_search_failed"]


class Objective(Protocol):
    """The smooth part of what is minimised."""

    def __call__(self, coefficients: Floats, *, hessian: bool) -> Derivatives:
        """Return value and gradient, and the Hessian if it is asked for."""


Products = Callable[[Floats, Floats], Floats]
"""``(coefficients, vector) → Hessian there · vector``."""


@dataclass(frozen=True, slots=True)
class Curvature:
    """What is known of the smooth part's Hessian without making it.

    Parameters
    ----------
    products
        Its products, for TRON; each is a pass.
    diagonal
        Its diagonal, all positive: L-BFGS and TRON start from it, and so see to columns of unlike scale or
        frequency from the first step on. One pass a solve.
    """

    products: Products | None = None
    diagonal: Callable[[Floats], Floats] | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """How to minimise.

    Parameters
    ----------
    optimizer
        ``auto`` is Newton where the Hessian fits and L-BFGS (OWL-QN, with L1) elsewhere.
    tolerance
        How far above the optimum the value may be, relative to the value (at least 1).
    max_iterations
        Most steps taken.
    """

    optimizer: Optimizer = "auto"
    tolerance: float = 1e-10
    max_iterations: int = 200


@dataclass(frozen=True, slots=True)
class Memory:
    """The last steps and the changes of the gradient over them, which L-BFGS knows curvature by.

    It outlives a solve: the next one, with somewhat other offsets, starts with it.
    """

    steps: tuple[Floats, ...] = ()
    changes: tuple[Floats, ...] = ()

    def within(self, free: Mask) -> "list[tuple[Floats, Floats]]":
        """Return the pairs in the free columns, where they have curvature."""
        pairs = [(step * free, change * free) for step, change in zip(self.steps, self.changes, strict=True)]
        return [(step, change) for step, change in pairs if has_curvature(step, change)]

    def with_step(self, step: Floats, change: Floats) -> "Memory":
        """Return the memory with one more pair, if it has curvature, and without the oldest."""
        if not has_curvature(step, change):
            return self
        return Memory((*self.steps, step)[-HISTORY:], (*self.changes, change)[-HISTORY:])


HISTORY: Final = 10


def has_curvature(step: Floats, change: Floats) -> bool:
    """Return whether the gradient grew along a step by more than rounding."""
    return bool(step @ change > 1e-12 * float(np.linalg.norm(step) * np.linalg.norm(change)))


@dataclass(frozen=True, slots=True)
class Problem:
    """What is minimised: smooth part, corners, and of the Hessian products or diagonal where a method asks for them."""

    objective: Objective
    corners: Corners
    products: Products | None = None
    diagonal: Floats | None = None

    @property
    def metric(self) -> Floats | float:
        """What lengths are measured by: the Hessian's diagonal, or 1."""
        return 1.0 if self.diagonal is None else self.diagonal

    def length(self, vector: Floats) -> float:
        """Return the length of a vector in the metric."""
        return float(np.sqrt(vector @ (self.metric * vector)))

    def value(self, coefficients: Floats, derivatives: Derivatives) -> float:
        """Return the whole objective."""
        return derivatives.value + self.corners.value(coefficients)


@dataclass(frozen=True, slots=True)
class State:
    """A point on the way, and the direction to leave it by.

    Parameters
    ----------
    coefficients, derivatives, value
        The point, its smooth derivatives, and the whole objective there.
    slopes
        The subgradient of least norm.
    box
        Where the objective is smooth around the point.
    held
        Columns that a bound or L1 holds where they are.
    direction
        Where to go next.
    gap
        Estimate of how far the value is above the optimum: ``½ gᵀ H⁻¹ g`` in the free columns, half the squared
        Newton decrement, with the Hessian or what stands in for it.
    is_sure
        Whether ``gap`` can be trusted: L-BFGS has to have seen curvature, a trust region must not have cut it.
    passes
        Passes over the data so far.
    radius
        Of TRON's trust region.
    values
        The last values.
    """

    coefficients: Floats
    derivatives: Derivatives
    value: float
    slopes: Floats
    box: Box
    held: Mask
    direction: Floats
    gap: float = np.inf
    is_sure: bool = False
    passes: int = 1
    memory: Memory = Memory()  # frozen
    radius: float = np.inf
    values: tuple[float, ...] = ()

    @property
    def slope_norm(self) -> float:
        """Norm of the subgradient of least norm: 0 at the optimum."""
        return float(np.linalg.norm(self.slopes))


_WINDOW: Final = 3


def still_to_come(values: tuple[float, ...]) -> float:
    """Return how much lower the values will get if they go on as they did: a geometric series of windows."""
    if len(values) <= 2 * _WINDOW:
        return 0.0
    before, now = values[-1 - 2 * _WINDOW] - values[-1 - _WINDOW], values[-1 - _WINDOW] - values[-1]
    ratio = min(0.95, now / before) if before > 0.0 else 0.0
    return max(0.0, now * ratio / (1.0 - ratio))


KEPT_VALUES: Final = 2 * _WINDOW + 1


@dataclass(frozen=True, slots=True)
class Result:
    """Where an optimiser ended, why, and how good the point is.

    ``value`` is the whole objective, L1 included; ``gradient_norm`` the norm of its least subgradient;
    ``gap`` the estimated distance of the value from the optimum; ``evaluations`` the passes over the data.
    """

    coefficients: Floats
    value: float
    gradient_norm: float
    gap: float
    iterations: int
    evaluations: int
    reason: StopReason
    method: MethodName
    memory: Memory = Memory()  # frozen

    @property
    def relative_gap(self) -> float:
        """``gap`` relative to the value (at least 1): what :attr:`Options.tolerance` bounds."""
        return self.gap / max(1.0, abs(self.value))
