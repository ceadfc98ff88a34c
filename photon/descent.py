"""Block coordinate descent over the effects of a GLMix model.

A GLMix model is ``E[y] = g⁻¹(xᵀβ + Σₖ zₖᵀbₖ,entityₖ + offset)``. Each coordinate (the fixed effect,
each random effect) is fitted in turn to the rows with the *scores* of all other coordinates as
offsets, which lowers the one joint objective ``Σ w·loss + Σ penalties`` every time [1]_.

Alternation alone creeps along the directions that effects share. An :class:`Accelerator` ends each sweep
with a move along the last steps (:mod:`photon.subspace`), taken only where it lowers the joint objective.

This module knows neither Spark nor NumPy: scores are an opaque table that a backend hands from
coordinate to coordinate. The same descent drives :mod:`photon.local` and :mod:`photon.spark`.

References
----------
.. [1] X. Zhang et al., "GLMix: Generalized Linear Mixed Models For Large-Scale Response Prediction",
   KDD 2016.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

ScoresT = TypeVar("ScoresT")

_SLOWEST: Final = 0.99
"""Largest ratio of one decrease to the one before that is believed: beyond it rounding decides."""

_NO_LOSS: Final = 1e-6
"""Share of the data loss in an objective below which the objective is all penalty."""

_SOLVED: Final = 1e-9
"""What the solves of a sweep may leave of an objective, relative to it (at least 1)."""


@dataclass(frozen=True, slots=True)
class Fitness:
    """What a model costs after an update.

    Parameters
    ----------
    data_loss
        ``Σ w·loss`` over the rows that train, with the scores of all coordinates: all of these rows with their own
        weights, also where the coordinate was fitted to a sample of them (:mod:`photon.sampling`).
    penalty
        Penalty of the updated coordinate.
    losses
        Mean loss of each named part of the rows that do not train, such as ``validation``.
    unconverged
        Problems (entities) whose optimiser stopped early.
    evaluations
        Passes over the data that the update took.
    gradient_norm
        Of the objective where the optimiser stopped; NaN for random effects, whose entities have one each.
    """

    data_loss: float
    penalty: float
    losses: tuple[tuple[str, float], ...] = ()
    unconverged: int = 0
    evaluations: int = 1
    gradient_norm: float = field(default=math.nan, compare=False)


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
class Trial:
    """The joint objective after a move, and the mean losses of the rows that do not train."""

    objective: float
    losses: tuple[tuple[str, float], ...] = ()


class Accelerator(Protocol[ScoresT]):
    """Moves of the whole model, all coefficients and scores alike, along the last steps of the descent."""

    def proposals(self, scores: ScoresT) -> Sequence[tuple[float, ...]]:
        """Return moves that are worth a try at the end of a sweep; the first is to stay."""

    def trials(self, scores: ScoresT, moves: Sequence[tuple[float, ...]]) -> Sequence[Trial]:
        """Return what the model costs after each move."""

    def moved(self, scores: ScoresT, move: tuple[float, ...]) -> ScoresT:
        """Make a move, remember the whole step of this sweep, and return the scores after it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One update of one coordinate, and how long it took."""

    sweep: int
    coordinate: str
    fitness: Fitness
    duration_s: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Sweep:
    """One round over all coordinates: the joint objective after it and the held-out losses.

    ``move`` is how far the sweep then went along its own step and the steps before; empty without acceleration.
    """

    number: int
    objective: float
    losses: tuple[tuple[str, float], ...]
    move: tuple[float, ...] = ()


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
    accelerator: Accelerator[ScoresT] | None = None,
    progress: Callable[[Sweep], None] = lambda _: None,
) -> Descent[ScoresT]:
    """Update the coordinates in turn until the joint objective is near its minimum.

    Parameters
    ----------
    coordinates
        In update order.
    scores
        The table to start from: zeros, or the scores of an earlier model.
    max_sweeps
        Most rounds.
    tolerance
        The descent has converged when the objective is estimated to be within ``tolerance · |objective|``
        of its minimum: see :func:`remaining`. An objective that is all penalty must be seen to settle.
    accelerator
        Moves the model along the last steps after every sweep.
    progress
        Called after every sweep.
    """
    steps: list[Step] = []
    sweeps: list[Sweep] = []
    penalties: dict[str, float] = {}
    alone = len(coordinates) == 1
    for number in range(1, max_sweeps + 1):
        for coordinate in coordinates:
            started = time.monotonic()
            update = coordinate.update(scores)
            scores = update.scores
            penalties[coordinate.name] = update.fitness.penalty
            steps.append(Step(number, coordinate.name, update.fitness, time.monotonic() - started))
        # The last update saw the final scores of all others, so its data loss is that of the model.
        last = steps[-1].fitness
        sweep = Sweep(number, last.data_loss + sum(penalties.values()), last.losses)
        if accelerator is not None and not alone:
            scores, sweep = _accelerated(accelerator, scores, sweep)
        sweeps.append(sweep)
        progress(sweep)
        if alone:
            # One solve is the whole fit, and says itself how it ended.
            is_solved = last.unconverged == 0 and math.isfinite(sweep.objective)
            return Descent(scores, tuple(steps), tuple(sweeps), converged=is_solved)
        is_all_penalty = abs(last.data_loss) < _NO_LOSS * sum(penalties.values())
        if _has_settled(sweeps, tolerance, must_fall=is_all_penalty):
            return Descent(scores, tuple(steps), tuple(sweeps), converged=True)
    return Descent(scores, tuple(steps), tuple(sweeps), converged=False)


def _accelerated(accelerator: Accelerator[ScoresT], scores: ScoresT, sweep: Sweep) -> tuple[ScoresT, Sweep]:
    moves = accelerator.proposals(scores)
    trials = accelerator.trials(scores, moves)
    # An objective that is not a number is worse than any, and staying is among the moves.
    best = min(range(len(moves)), key=lambda i: (math.isnan(trials[i].objective), trials[i].objective, i))
    chosen = trials[best]
    return accelerator.moved(scores, moves[best]), Sweep(sweep.number, chosen.objective, chosen.losses, moves[best])


def remaining(objectives: Sequence[float]) -> float:
    """Return how far the last of some objectives is estimated to be from their limit.

    The last decrease ``d``, and where the decreases fall by a factor ``r`` so slowly that more is to come,
    ``d·r/(1 - r)``, the sum of those that follow. Infinite for less than two.
    """
    if len(objectives) < 2:
        return math.inf
    last = abs(objectives[-2] - objectives[-1])
    if len(objectives) < 3 or objectives[-3] <= objectives[-2]:
        return last
    ratio = min(last / (objectives[-3] - objectives[-2]), _SLOWEST)
    return last * max(1.0, ratio / (1.0 - ratio))


def _has_settled(sweeps: Sequence[Sweep], tolerance: float, *, must_fall: bool) -> bool:
    """Return whether the sweeps are near their limit; with ``must_fall`` only where their decreases are seen to fall.

    Where the effects tell all labels apart and penalties are tiny, the rows hold each effect where it is, while all
    together could go far at no loss: every sweep then lowers the objective by the same small part, or by none that a
    solve still looks for, and a small decrease says nothing of what remains.
    """
    objectives = [sweep.objective for sweep in sweeps[-3:]]
    # An infinite objective is as far from its minimum as any, and infinity is no more than a part of infinity.
    is_near = math.isfinite(objectives[-1]) and remaining(objectives) <= tolerance * abs(objectives[-1])
    return is_near and (not must_fall or _falls(objectives))


def _falls(objectives: Sequence[float]) -> bool:
    """Return whether the last of two decreases is the smaller one, and the first more than a matter of the solves."""
    if len(objectives) < 3:
        return False
    before, last = objectives[-3] - objectives[-2], objectives[-2] - objectives[-1]
    return before > _SOLVED * max(1.0, abs(objectives[-1])) and abs(last) <= _SLOWEST * before
