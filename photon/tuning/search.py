"""Which penalties to try next: a function of the settings and the trials so far.

*Grid*: all combinations of the values, from strong penalties to weak, so each fit starts near its optimum from
the one before. *Random*: a scrambled Sobol sequence [1]_, which fills the space more evenly than chance.
*Bayesian*: a Sobol start, then Optuna's tree-structured Parzen estimator over all parameters jointly [2]_.
Strengths are searched on a log scale.

References
----------
.. [1] A. B. Owen, "Scrambling Sobol' and Niederreiter-Xing Points", Journal of Complexity 1998.
.. [2] J. Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from photon.evaluation import Evaluator
from photon.settings import FitSettings, checked
from photon.tuning.trials import Strength, Trial, strengths_of, with_strengths
from yarnmill.errors import ConfigurationError
from yarnmill.records import Record

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Search = Literal["grid", "random", "bayesian"]
Order = Literal["strong_to_weak", "given"]

_STARTING: Final = 8
"""Trials of a Bayesian search before there is something to learn from."""
_LARGEST_SEED: Final = 2**32
_ROUNDING: Final = 1e-12
_AXES: Final = ("strength", "alpha")


class SearchSpace(Record, frozen=True, kw_only=True):
    """What to try for one coordinate.

    ``strength`` are ``λ`` and ``alpha`` the shares of L1: the values of a grid, else the two ends of a range.
    One that is not set stays as the coordinate has it.
    """

    coordinate: str
    strength: tuple[float, ...] = ()
    alpha: tuple[float, ...] = ()


class TuningSettings(Record, frozen=True, kw_only=True):
    """A whole search.

    Parameters
    ----------
    search
        Grid, random or Bayesian.
    coordinates
        The spaces of the coordinates that are searched; the others keep their penalties.
    trials
        Most fits of a random or Bayesian search, known ones included; a grid ends with its last combination.
    patience
        The search ends after so many trials in a row that were not better; unset: it does not.
    seed
        Of the random and the Bayesian search.
    order
        Of a grid: each coordinate's strengths from strong to weak, or as they are given.
    """

    search: Search
    coordinates: tuple[SearchSpace, ...]
    trials: int = 20
    patience: int | None = None
    seed: int = 0
    order: Order = "strong_to_weak"


def checked_tuning(tuning: TuningSettings, settings: FitSettings, *, source: str) -> TuningSettings:
    """Return the search if it makes sense for a fit; ConfigurationError, with the key path, if not."""
    names = [one.name for one in settings.coordinates]
    seen = set[str]()
    for place, space in enumerate(tuning.coordinates):
        where = f"{source}: coordinates[{place}]"
        if space.coordinate not in names or space.coordinate in seen:
            raise ConfigurationError(
                f"{where}.coordinate: {space.coordinate!r} {'stands twice' if space.coordinate in seen else 'is none'}",
                expected=f"each once of {', '.join(names)}",
            )
        seen.add(space.coordinate)
        _check_space(space, tuning.search, where)
    if not any(space.strength or space.alpha for space in tuning.coordinates):
        raise ConfigurationError(f"{source}: coordinates: nothing to search", expected="strength or alpha of one")
    if tuning.trials < 1 or (tuning.patience is not None and tuning.patience < 1):
        raise ConfigurationError(
            f"{source}: trials: {tuning.trials}, patience: {tuning.patience}", expected="1 or more"
        )
    for corner in _corners(tuning, settings):
        checked(with_strengths(settings, corner), source=f"{source}: {_words(corner)}")
    return tuning


def _check_space(space: SearchSpace, search: Search, where: str) -> None:
    for axis in _AXES:
        values: tuple[float, ...] = getattr(space, axis)
        is_log = axis == "strength" and search != "grid"
        if values and search != "grid" and (len(values) != 2 or not values[0] < values[1]):
            raise ConfigurationError(f"{where}.{axis}: {list(values)}", expected="the two ends of a range, ascending")
        if len(set(values)) < len(values):
            raise ConfigurationError(f"{where}.{axis}: {list(values)}", expected="each value once")
        largest = 1.0 if axis == "alpha" else math.inf
        if any(not (0.0 <= value <= largest and math.isfinite(value)) or (is_log and value == 0.0) for value in values):
            expected = "more than 0 (a log scale)" if is_log else "0 to 1" if axis == "alpha" else "0 or more"
            raise ConfigurationError(f"{where}.{axis}: {list(values)}", expected=expected)


def _corners(tuning: TuningSettings, settings: FitSettings) -> list[tuple[Strength, ...]]:
    """Return what has to be checked: a grid's own combinations, or the corners of the ranges."""
    if tuning.search == "grid":
        return _grid(tuning, settings)
    return [_placed(tuning, settings, dict.fromkeys(_ranges(tuning), place)) for place in (0.0, 1.0)]


def _words(strengths: Sequence[Strength]) -> str:
    return ", ".join(f"{one.coordinate} strength {one.strength:g} alpha {one.alpha:g}" for one in strengths)


@dataclass(frozen=True, slots=True)
class Study:
    """A search for the penalties of one fit, by one evaluator."""

    settings: FitSettings
    tuning: TuningSettings
    evaluator: Evaluator


def proposal(study: Study, trials: Sequence[Trial]) -> tuple[Strength, ...] | None:
    """Return the penalties of all coordinates to try after ``trials``; None where a grid has no more."""
    tuning = study.tuning
    if tuning.search == "grid":
        grid = _grid(tuning, study.settings)
        return grid[len(trials)] if len(trials) < len(grid) else None
    if tuning.search == "random" or len(trials) < _STARTING:
        return _placed(tuning, study.settings, _sobol(tuning, len(trials)))
    return _learned(study, trials)


def _grid(tuning: TuningSettings, settings: FitSettings) -> list[tuple[Strength, ...]]:
    spaces = {space.coordinate: space for space in tuning.coordinates}
    choices = [_choices(spaces.get(own.coordinate), own, tuning.order) for own in strengths_of(settings)]
    return list(product(*choices))


def _choices(space: SearchSpace | None, own: Strength, order: Order) -> list[Strength]:
    if space is None:
        return [own]
    strengths = space.strength or (own.strength,)
    ordered = sorted(strengths, reverse=True) if order == "strong_to_weak" else strengths
    pairs = product(ordered, space.alpha or (own.alpha,))
    return [Strength(coordinate=own.coordinate, strength=strength, alpha=alpha) for strength, alpha in pairs]


def _ranges(tuning: TuningSettings) -> dict[tuple[str, str], tuple[float, float]]:
    """Return the ends of each searched axis by (coordinate, axis), in the settings' order."""
    return {
        (space.coordinate, axis): (ends[0], ends[1])
        for space in tuning.coordinates
        for axis in _AXES
        if (ends := getattr(space, axis))
    }


def _placed(
    tuning: TuningSettings, settings: FitSettings, places: Mapping[tuple[str, str], float]
) -> tuple[Strength, ...]:
    """Return the penalties at places from 0 to 1 between the ends of each range."""
    values = {}
    for axis, (low, high) in _ranges(tuning).items():
        place = places[axis]
        between = low * (high / low) ** place if axis[1] == "strength" else low + (high - low) * place
        values[axis] = min(max(between, low), high)
    return _valued(settings, values)


def _valued(settings: FitSettings, values: Mapping[tuple[str, str], float]) -> tuple[Strength, ...]:
    return tuple(
        msgspec.structs.replace(
            own, **{axis: values[own.coordinate, axis] for axis in _AXES if (own.coordinate, axis) in values}
        )
        for own in strengths_of(settings)
    )


def _sobol(tuning: TuningSettings, number: int) -> dict[tuple[str, str], float]:
    from scipy.stats import qmc  # noqa: PLC0415  # half a second, and for a search alone

    ranges = _ranges(tuning)
    points = qmc.Sobol(len(ranges), scramble=True, rng=tuning.seed).random_base2(number.bit_length())
    return dict(zip(ranges, points[number].tolist(), strict=True))


def _learned(study: Study, trials: Sequence[Trial]) -> tuple[Strength, ...]:
    """Return what Optuna proposes, told of all trials so far."""
    import optuna  # noqa: PLC0415  # a second, and for this search alone

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    axes: dict[str, BaseDistribution] = {
        f"{name}.{axis}": optuna.distributions.FloatDistribution(low, high, log=axis == "strength")
        for (name, axis), (low, high) in _ranges(study.tuning).items()
    }
    # Seeded by the trial's number: a search that goes on does not begin its random numbers again.
    seed = (study.tuning.seed * 1_000_003 + len(trials)) % _LARGEST_SEED
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=0, multivariate=True)
    told = optuna.create_study(direction="minimize", sampler=sampler)
    for trial in trials:
        cost, params = trial.cost(study.evaluator), _within(trial, _ranges(study.tuning))
        if math.isfinite(cost) and params is not None:
            told.add_trial(optuna.trial.create_trial(params=params, distributions=dict(axes), value=cost))
    asked = told.ask(axes).params
    return _valued(study.settings, {_axis(name): value for name, value in asked.items()})


def _within(trial: Trial, ranges: Mapping[tuple[str, str], tuple[float, float]]) -> dict[str, float] | None:
    """Return where a trial was on each axis; None if outside of a range, as those of a grid before the search may be.

    An end that came through ``l1`` and ``l2`` may have left its range by a rounding.
    """
    own = {one.coordinate: one for one in trial.strengths}
    params = {}
    for (name, axis), (low, high) in ranges.items():
        value = float(getattr(own[name], axis))
        inside = min(max(value, low), high)
        if not math.isclose(value, inside, rel_tol=_ROUNDING, abs_tol=_ROUNDING * high):
            return None
        params[f"{name}.{axis}"] = inside
    return params


def _axis(name: str) -> tuple[str, str]:
    coordinate, _, axis = name.rpartition(".")
    return coordinate, axis
