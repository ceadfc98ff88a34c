"""What is tried and what came of it.

Penalties are spoken of as Photon does: a *strength* ``λ`` and a share ``m`` (alpha) of L1, which stand for
``λ((1 - m)/2 ‖b‖² + m‖b‖₁)``; so ``l2 = λ(1 - m)`` and ``l1 = λm``.
"""

import math
from dataclasses import dataclass, field

import msgspec

from photon.evaluation import Evaluator
from photon.settings import CoordinateSettings, FitSettings
from yarnmill.records import Record


class Strength(Record, frozen=True, kw_only=True):
    """The penalty of one coordinate: ``λ`` and the share ``alpha`` of L1 in it."""

    coordinate: str
    strength: float
    alpha: float = 0.0


class Trial(Record, frozen=True, kw_only=True):
    """One fit of a search.

    Parameters
    ----------
    number
        From 0 on.
    strengths
        The penalties of every coordinate, in update order.
    value
        Of the evaluator that selects; null where there is none.
    metrics
        Of all evaluators, by their names in reports.
    objective, sweeps, converged
        How the fit ended.
    seconds
        What it took, evaluation included.
    """

    number: int
    strengths: tuple[Strength, ...]
    value: float | None
    metrics: dict[str, float] = {}
    objective: float
    sweeps: int
    converged: bool
    seconds: float = 0.0

    def cost(self, evaluator: Evaluator) -> float:
        """Return what a search minimises; infinite where there is no value."""
        return math.inf if self.value is None else evaluator.cost(self.value)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a fit came to: the value that selects (NaN: none), the metrics, and how the descent ended."""

    value: float
    objective: float
    sweeps: int
    converged: bool
    metrics: dict[str, float] = field(default_factory=dict)


def strengths_of(settings: FitSettings) -> tuple[Strength, ...]:
    """Return the penalties of settings."""
    return tuple(_strength(one) for one in settings.coordinates)


def _strength(one: CoordinateSettings) -> Strength:
    total = one.l2 + one.l1
    return Strength(coordinate=one.name, strength=total, alpha=one.l1 / total if total > 0.0 else 0.0)


def with_strengths(settings: FitSettings, strengths: tuple[Strength, ...]) -> FitSettings:
    """Return the settings with other penalties of the coordinates that are named."""
    named = {one.coordinate: one for one in strengths}
    coordinates = (_penalised(each, named[each.name]) if each.name in named else each for each in settings.coordinates)
    return msgspec.structs.replace(settings, coordinates=tuple(coordinates))


def _penalised(coordinate: CoordinateSettings, strength: Strength) -> CoordinateSettings:
    l1 = strength.strength * strength.alpha
    return msgspec.structs.replace(coordinate, l2=strength.strength * (1.0 - strength.alpha), l1=l1)
