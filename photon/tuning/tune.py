"""The loop of a search: propose, fit, judge, remember."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from photon.evaluation import Evaluator
from photon.settings import FitSettings
from photon.tuning.search import Study, proposal
from photon.tuning.trials import Judged, Strength, Trial, with_strengths
from yarnmill.errors import BadDataError

Ending = Literal["trials", "patience", "grid"]
"""Why a search ended: so many trials were asked for, none was better for long, or the grid is through."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """The end of a search.

    Parameters
    ----------
    best
        The trial with the best value; of equal ones the first.
    settings
        The fit with its penalties.
    trials
        All trials, in order.
    ending
        Why the search ended.
    """

    best: Trial
    settings: FitSettings
    trials: tuple[Trial, ...]
    ending: Ending


def tune(
    study: Study,
    fit: Callable[[FitSettings], Judged],
    *,
    known: Sequence[Trial] = (),
    remember: Callable[[Trial], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Tuned:
    """Search for the penalties with the best value.

    Parameters
    ----------
    study
        The fit, whose penalties stay where they are not searched, and the search.
    fit
        Fits with other penalties and judges the model, by the study's evaluator, on rows that it was not fitted
        to. It may start warm from the fit before.
    known
        Trials of the same study that was stopped: it goes on after them.
    remember
        Called with each new trial as it ends: keep it, and tell who wants to know.
    clock
        Seconds.

    Raises
    ------
    BadDataError
        If no trial has a value.
    """
    trials = list(known)
    ending = _ending(trials, study)
    while ending is None:
        strengths = proposal(study, trials)
        if strengths is None:
            ending = "grid"
            continue
        started = clock()
        judged = fit(with_strengths(study.settings, strengths))
        trials.append(_trial(len(trials), strengths, judged, clock() - started))
        remember(trials[-1])
        ending = _ending(trials, study)
    best = _best(trials, study.evaluator)
    if best is None:
        raise BadDataError(
            f"{study.evaluator.name} has no value in any of {len(trials)} trials",
            expected="held-out rows that it can be taken of (of both classes, for one)",
            mend="give the validation part more rows, or name another first evaluator",
        )
    return Tuned(best, with_strengths(study.settings, best.strengths), tuple(trials), ending)


def _trial(number: int, strengths: tuple[Strength, ...], judged: Judged, seconds: float) -> Trial:
    return Trial(
        number=number,
        strengths=strengths,
        value=judged.value if math.isfinite(judged.value) else None,
        metrics=judged.metrics,
        objective=judged.objective,
        sweeps=judged.sweeps,
        converged=judged.converged,
        seconds=seconds,
    )


def _best(trials: Sequence[Trial], evaluator: Evaluator) -> Trial | None:
    best = min(trials, key=lambda trial: trial.cost(evaluator), default=None)
    return None if best is None or best.value is None else best


def _ending(trials: Sequence[Trial], study: Study) -> Ending | None:
    tuning = study.tuning
    if tuning.search != "grid" and len(trials) >= tuning.trials:
        return "trials"
    best = _best(trials, study.evaluator)
    if tuning.patience is not None and best is not None and len(trials) - 1 - best.number >= tuning.patience:
        return "patience"
    return None
