"""Block coordinate descent over the effects of a GLMix model.

A GLMix model is ``E[y] = g⁻¹(xᵀβ + Σₖ zₖᵀbₖ,entityₖ + offset)``. Each coordinate (the fixed effect,
each random effect) is fitted in turn to the rows with the *scores* of all other coordinates as
offsets, which lowers the one joint objective ``Σ w·loss + Σ penalties`` every time [1]_.

This module knows neither Spark nor NumPy: scores are an opaque table, one column a coordinate, that a
backend hands from coordinate to coordinate. The same descent drives :mod:`photon.local` and
:mod:`photon.spark`.

References
----------
.. [1] X. Zhang et al., "GLMix: Generalized Linear Mixed Models For Large-Scale Response Prediction",
   KDD 2016.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

ScoresT = TypeVar("ScoresT")


@dataclass(frozen=True, slots=True)
class Fitness:
    """What a model costs after an update.

    Parameters
    ----------
    data_loss
        ``Σ w·loss`` over the rows that train, with the scores of all coordinates.
    penalty
        Penalty of the updated coordinate.
    losses
        Mean loss of each named part of the rows that do not train, such as ``validation``.
    unconverged
        Problems (entities) whose optimiser stopped early.
    evaluations
        Passes over the data that the update took.
    """

    data_loss: float
    penalty: float
    losses: tuple[tuple[str, float], ...] = ()
    unconverged: int = 0
    evaluations: int = 1


@dataclass(frozen=True, slots=True)
class Update(Generic[ScoresT]):
    """The score table with one column renewed, and what the model costs with it."""

    scores: ScoresT
    fitness: Fitness


class Coordinate(Protocol[ScoresT]):
    """One effect with its data; keeps its own coefficients between updates, so every update starts warm."""

    @property
    def name(self) -> str:
        """Name in settings and reports."""

    def update(self, scores: ScoresT) -> Update[ScoresT]:
        """Fit this effect with the other columns of ``scores`` as offsets."""


@dataclass(frozen=True, slots=True)
class Step:
    """One update of one coordinate."""

    sweep: int
    coordinate: str
    fitness: Fitness


@dataclass(frozen=True, slots=True)
class Sweep:
    """One round over all coordinates: the joint objective after it and the held-out losses."""

    number: int
    objective: float
    losses: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Descent(Generic[ScoresT]):
    """The end of a descent: the last scores, and how it went."""

    scores: ScoresT
    steps: tuple[Step, ...]
    sweeps: tuple[Sweep, ...]
    converged: bool

    @property
    def objective(self) -> float:
        """The joint objective at the end."""
        return self.sweeps[-1].objective


def descend(
    coordinates: Sequence[Coordinate[ScoresT]],
    scores: ScoresT,
    *,
    max_sweeps: int,
    tolerance: float,
    progress: Callable[[Sweep], None] = lambda _: None,
) -> Descent[ScoresT]:
    """Update the coordinates in turn until a sweep hardly lowers the joint objective.

    Parameters
    ----------
    coordinates
        In update order.
    scores
        The table to start from: zeros, or the scores of an earlier model.
    max_sweeps
        Most rounds.
    tolerance
        The descent has converged when ``previous - objective ≤ tolerance · |objective|``.
    progress
        Called after every sweep.
    """
    steps: list[Step] = []
    sweeps: list[Sweep] = []
    penalties: dict[str, float] = {}
    for number in range(1, max_sweeps + 1):
        for coordinate in coordinates:
            update = coordinate.update(scores)
            scores = update.scores
            penalties[coordinate.name] = update.fitness.penalty
            steps.append(Step(number, coordinate.name, update.fitness))
        # The last update saw the final scores of all others, so its data loss is that of the model.
        last = steps[-1].fitness
        sweeps.append(Sweep(number, last.data_loss + sum(penalties.values()), last.losses))
        progress(sweeps[-1])
        if len(coordinates) == 1 or _has_settled(sweeps, tolerance):
            return Descent(scores, tuple(steps), tuple(sweeps), converged=True)
    return Descent(scores, tuple(steps), tuple(sweeps), converged=False)


def _has_settled(sweeps: Sequence[Sweep], tolerance: float) -> bool:
    if len(sweeps) < 2:
        return False
    return sweeps[-2].objective - sweeps[-1].objective <= tolerance * abs(sweeps[-1].objective)
