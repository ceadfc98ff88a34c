"""The search for penalties of a training job: data stay cached from trial to trial, trials outlive the run."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from jobs.trials import KeptTrials, MlflowConfig, TrialTracking
from photon.evaluation import Question
from photon.settings import FitSettings
from photon.spark.backend import Table
from photon.spark.evaluation import evaluate
from photon.spark.rows import Measure
from photon.spark.train import SparkGlmix
from photon.tuning import Judged, Study, Trial, Tuned, tune
from yarnmill.records import fingerprint
from yarnmill.trainingset import SPLITS

_VALIDATION: Final = Measure("validation", SPLITS.index("validation"))


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """A search as a job is told of it.

    Parameters
    ----------
    study
        What to search for.
    question
        What a trial is judged by; the study's evaluator is its first.
    output, job
        The folder the job writes to, and the job's name.
    data
        What names the rows: trials on other rows are not known to this search.
    mlflow
        Where trials are recorded, if anywhere.
    """

    study: Study
    question: Question
    output: str
    job: str
    data: tuple[object, ...]
    mlflow: MlflowConfig | None = None

    @property
    def study_id(self) -> str:
        """Name of the search: equal for an equal search of equal data."""
        names = [one.name for one in self.question.evaluators]
        return fingerprint([self.study.settings, self.study.tuning, names, *self.data])


@dataclass(frozen=True, slots=True)
class Searched:
    """The end of a search, and the scores that the last fit ended with."""

    tuned: Tuned
    scores: Table | None

    @property
    def metrics(self) -> dict[str, float]:
        """What a report shows of it."""
        trials, best = len(self.tuned.trials), self.tuned.best
        found = {"tuning_trials": float(trials), "tuning_best_trial": float(best.number)}
        for one in best.strengths:
            found |= {f"tuning_{one.coordinate}_strength": one.strength, f"tuning_{one.coordinate}_alpha": one.alpha}
        return found


class _Trials:
    """Fits of a search: each starts from the coefficients and scores of the one before."""

    def __init__(self, glmix: SparkGlmix, question: Question) -> None:
        self._glmix, self._question = glmix, replace(question, bins=0)
        self.scores: Table | None = None

    def __call__(self, settings: FitSettings) -> Judged:
        self._glmix.retune(settings)
        descent = self._glmix.fit(["train"], start=self.scores)
        self.scores = descent.scores
        (found,) = evaluate(self._glmix.measured(descent.scores, [_VALIDATION]), self._question)
        return Judged(
            value=found.figures[0].value,
            objective=descent.objective,
            sweeps=len(descent.sweeps),
            converged=descent.converged,
            metrics=found.metrics,
        )


def search_penalties(glmix: SparkGlmix, plan: SearchPlan) -> Searched:
    """Search for penalties on train and validation, and leave the best ones set."""
    kept = KeptTrials(plan.output, plan.job, plan.study_id)
    tracking = None if plan.mlflow is None else TrialTracking(plan.mlflow, plan.study_id)
    fit = _Trials(glmix, plan.question)
    tuned = tune(plan.study, fit, known=kept.known(), remember=_all(kept.remember, tracking))
    if tracking is not None:
        tracking.close()
    glmix.retune(tuned.settings)
    return Searched(tuned, fit.scores)


def _all(keep: Callable[[Trial], None], tracking: TrialTracking | None) -> Callable[[Trial], None]:
    def remember(trial: Trial) -> None:
        keep(trial)
        if tracking is not None:
            tracking.record(trial)

    return remember
