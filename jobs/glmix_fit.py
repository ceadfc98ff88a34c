"""The fits of the job ``train_glmix``, judged on the rows that they did not see, and beside their baselines."""

import math
from collections.abc import Sequence

from jobs.clock import Clock
from jobs.evaluating import write_evaluations, write_groups
from jobs.glmix_config import Config
from jobs.penalties import Searched
from jobs.priors import estimates_priors
from jobs.progress import say
from photon.descent import Descent, Sweep
from photon.evaluation import Bin, Evaluation
from photon.loss import Task
from photon.spark.backend import Table
from photon.spark.evaluation import evaluate
from photon.spark.rows import Measure, RoleRows
from photon.spark.train import SparkGlmix
from yarnmill.trainingset import SPLITS

TRAIN, VALIDATION, TEST = range(3)
"""Positions of the parts of a training set in its splits."""


class Judge:
    """Evaluates fits of one job and keeps what was found for the output."""

    def __init__(self, glmix: SparkGlmix, config: Config) -> None:
        self._glmix, self.config = glmix, config
        self._found: list[Evaluation] = []
        self._groups: list[str] = []

    def __call__(self, fit: Descent[Table | None], measures: Sequence[Measure]) -> dict[str, float]:
        """Return the metrics of some measures by their names in the report."""
        if not measures:
            return {}
        rows, question = self._glmix.measured(fit.scores, measures), self.config.question
        found = evaluate(rows, question)
        self._found += found
        if self.config.save_group_results and question.entities:
            names = [one.name for one in measures if one.fixed_alone is None]
            self._groups = [write_groups(self.config.output, rows, question, names)]
        return {f"{one.measure}_{name}": value for one in found for name, value in one.metrics.items()}

    @property
    def bins(self) -> dict[str, tuple[Bin, ...]]:
        """The calibration tables, by what was measured."""
        return {one.measure: one.bins for one in self._found}

    def write(self, output: str) -> list[str]:
        """Write ``evaluation.json``; return the URLs of all that was written."""
        return [write_evaluations(output, self._found), *self._groups]


def fit_and_judge(
    glmix: SparkGlmix, judge: Judge, rows: Sequence[RoleRows], clock: Clock, searched: Searched | None
) -> tuple[Descent[Table | None], dict[str, float], dict[str, dict[str, float]]]:
    """Fit, refit where that is wanted, and evaluate: the last descent, the metrics and the baselines."""
    metrics: dict[str, float] = {}
    config, trained = judge.config, ["train"]
    with clock.measure("fit"):
        start = glmix.rescored() if estimates_priors(config.coordinates) else None
        final = glmix.fit(trained, start=start if searched is None else searched.scores, progress=_say_sweep)
    metrics |= _history(final.sweeps)
    judged = [Measure("validation", VALIDATION)] if rows[VALIDATION].rows else []
    if config.refit_on_validation and judged:
        with clock.measure("evaluate_validation"):
            metrics |= judge(final, judged)
        trained, judged = ["train", "validation"], []
        with clock.measure("refit"):
            final = glmix.fit(trained, start=final.scores, progress=_say_sweep)
    if rows[TEST].rows:
        judged.append(Measure("test", TEST))
    if rows[TEST].rows and glmix.baseline is not None:
        with clock.measure("fit_global_only"):
            judged.append(Measure("global_only_test", TEST, glmix.fit_fixed_alone(trained)))
    with clock.measure("evaluate"):
        metrics |= judge(final, judged)
    metrics["objective"] = final.objective
    return final, *_with_baselines(metrics, rows, trained, config.task)


def _say_sweep(sweep: Sweep) -> None:
    losses = "".join(f", {name} loss {loss:.6g}" for name, loss in sweep.losses if name != "test")
    say("train_glmix", f"sweep {sweep.number}: objective {sweep.objective:.10g}{losses}")


def _history(sweeps: Sequence[Sweep]) -> dict[str, float]:
    found = {f"objective_sweep_{sweep.number}": sweep.objective for sweep in sweeps}
    for sweep in sweeps:
        found |= {f"{name}_loss_sweep_{sweep.number}": loss for name, loss in sweep.losses if name != "test"}
    return found


def _with_baselines(
    metrics: dict[str, float], rows: Sequence[RoleRows], trained: Sequence[str], task: Task
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    prefix = "global_only_"
    alone = {key.removeprefix(prefix): value for key, value in metrics.items() if key.startswith(prefix)}
    baselines = {"global_only": alone} if alone else {}
    own = {key: value for key, value in metrics.items() if not key.startswith(prefix)}
    seen = [rows[SPLITS.index(name)] for name in trained]
    mean = sum(one.label_sum for one in seen) / sum(one.weight for one in seen)
    positives = rows[TEST].mean_label
    if task == "logistic" and rows[TEST].weight > 0.0 and 0.0 < mean < 1.0:
        loss = -positives * math.log(mean) - (1.0 - positives) * math.log1p(-mean)
        baselines["global_mean"] = {"test_auc": 0.5, "test_log_loss": loss}
    return own, baselines
