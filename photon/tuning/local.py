"""Fits of a search in one process: rows that are held out weigh nothing, and are judged."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from photon.evaluation import Question, Scored, evaluate
from photon.local import LocalData, LocalFit, fit
from photon.model import GlmixModel
from photon.rows import Longs
from photon.scoring import margins
from photon.settings import FitSettings
from photon.tuning.trials import Judged


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Rows to fit to and rows to judge by, in one set.

    Parameters
    ----------
    data
        All rows.
    rows
        Positions of the rows that are held out.
    question
        What to judge by; the first evaluator selects.
    """

    data: LocalData
    rows: Longs
    question: Question

    @property
    def training(self) -> LocalData:
        """All rows, those held out with weight 0."""
        weights = self.data.weights.copy()
        weights[self.rows] = 0.0
        return replace(self.data, weights=weights)

    def judged(self, found: LocalFit) -> Judged:
        """Return what a fit to the training rows is worth on those held out."""
        data, rows = self.data, self.rows
        scores = margins(found.model, data.shards, data.ids, data.offsets)[rows]
        held = Scored(scores, data.labels[rows], data.weights[rows])
        evaluation = evaluate(held, self.question, {key: ids[rows] for key, ids in data.ids.items()})
        descent = found.descent
        return Judged(
            value=evaluation.figures[0].value,
            objective=descent.objective,
            sweeps=len(descent.sweeps),
            converged=descent.converged,
            metrics=evaluation.metrics,
        )


def local_fits(held: HeldOut) -> Callable[[FitSettings], Judged]:
    """Return what :func:`photon.tuning.tune` calls: each fit starts from the model of the one before.

    A model to start from is no prior here, whatever ``prior_weight`` says.
    """
    training, last = held.training, list[GlmixModel]()

    def trial(settings: FitSettings) -> Judged:
        # Rows that the first trial found well are still well.
        found = fit(
            training, _without_prior(settings), earlier=last[-1] if last else None, checks="off" if last else "full"
        )
        last[:] = [found.model]
        return held.judged(found)

    return trial


def _without_prior(settings: FitSettings) -> FitSettings:
    coordinates = (msgspec.structs.replace(one, prior_weight=0.0) for one in settings.coordinates)
    return msgspec.structs.replace(settings, coordinates=tuple(coordinates))
