"""The fits of one training, one after the other over the same cached blocks: judged, and saved if wanted."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from jobs.clock import Clock
from jobs.game.coordinates import coordinate_json, render_spec
from jobs.game.groups import write_group_results
from jobs.game.models import IndexRows, Writing, copy_effect, shard_index, write_effect
from jobs.game.training import Config, locked_model_of
from jobs.indexing import IndexMap
from jobs.progress import say
from photon.avro.layout import METADATA_NAME, EffectInfo, render_metadata
from photon.descent import Descent
from photon.report.penalties import penalty_in_words
from photon.rows import Floats
from photon.settings import CoordinateSettings, FitSettings
from photon.spark.backend import Table
from photon.spark.evaluation import evaluate
from photon.spark.fixed import SparkFixed
from photon.spark.rows import Measure
from photon.spark.train import SparkGlmix
from photon.tuning import Judged, Study, Trial, strengths_of, tune
from yarnmill import fs

BEST_FOLDER: Final = "best"
MODELS_FOLDER: Final = "models"
GROUPS_FOLDER: Final = "group-eval"
SPEC_NAME: Final = "model-spec"
ROLES: Final = ("train", "validation")


@dataclass(frozen=True, slots=True)
class Prepared:
    """The rows with their vectors, and the index maps behind them."""

    rows: DataFrame
    index: IndexRows
    maps: dict[str, IndexMap]


class Fitting:
    """Fits, and what is known of them.

    Parameters
    ----------
    glmix
        The loaded blocks.
    config
        What to fit and what to save.
    prepared
        Where the index maps are.
    has_validation
        Whether there are rows to judge by; without them the last model is the best.
    """

    def __init__(self, glmix: SparkGlmix, config: Config, prepared: Prepared, *, has_validation: bool) -> None:
        self._glmix, self._config, self._prepared = glmix, config, prepared
        self._has_validation = has_validation
        self._scores: Table | None = None
        self._best: float | None = None
        self._number, self._saved, self._is_search = 0, 0, False
        self.metrics: dict[str, float] = {}
        self.clock = Clock()

    def fit_all(self) -> None:
        """Fit every combination of penalties, each from the coefficients of the one before, then search on."""
        trials = [self._trial(settings) for settings in self._config.fits]
        search = self._config.search
        if search is not None:
            self._is_search = True
            study = Study(self._config.fits[0], search, self._config.question.evaluators[0])
            tune(study, self._fit, known=trials)

    def _trial(self, settings: FitSettings) -> Trial:
        number, judged = self._number, self._fit(settings)
        return Trial(
            number=number,
            strengths=strengths_of(settings),
            value=judged.value if math.isfinite(judged.value) else None,
            metrics=judged.metrics,
            objective=judged.objective,
            sweeps=judged.sweeps,
            converged=judged.converged,
        )

    def _fit(self, settings: FitSettings) -> Judged:
        number = self._number
        self._number += 1
        for one in settings.coordinates:
            say("game-training", f"penalty of {one.name} in model {number}: {penalty_in_words(one)}")
        self._glmix.retune(settings)
        with self.clock.measure("fit"):
            fit = self._glmix.fit(("train",), start=self._scores)
        self._scores = fit.scores
        self.metrics[f"model_{number}_objective"] = fit.objective
        # Both parts of an elastic net: without its L1 no one can tell from the record what was fitted.
        for name in ("l2", "l1"):
            self.metrics |= {f"model_{number}_{name}_{one.name}": getattr(one, name) for one in settings.coordinates}
        folder = self._folder_number()
        found = self._judged(number, fit, folder)
        value = found.get(self._config.question.evaluators[0].label, float("nan"))
        with self.clock.measure("save"):
            self._save_wanted(number, settings, value, folder)
        return Judged(value, fit.objective, len(fit.sweeps), fit.converged, found)

    def _folder_number(self) -> int | None:
        """Return the number of the next folder below ``models``, None where this fit gets none."""
        mode = self._config.output_mode
        if mode not in ("ALL", "TUNED" if self._is_search else "EXPLICIT"):
            return None
        self._saved += 1
        return self._saved - 1

    def _judged(self, number: int, fit: Descent[Table | None], folder: int | None) -> dict[str, float]:
        """Return what the evaluators say of a fit; nothing without rows to judge by."""
        if not self._has_validation:
            return {}
        config = self._config
        with self.clock.measure("evaluate"):
            rows = self._glmix.measured(fit.scores, [Measure("validation", ROLES.index("validation"))])
            found = dict(evaluate(rows, config.question)[0].metrics)
            if config.saves_groups and folder is not None:
                write_group_results(rows, config.question, fs.join(config.output, GROUPS_FOLDER, str(folder)))
        self.metrics |= {f"model_{number}_validation_{name}": one for name, one in found.items()}
        return found

    def _save_wanted(self, number: int, settings: FitSettings, value: float, folder: int | None) -> None:
        config, first = self._config, self._config.question.evaluators[0]
        if folder is not None:
            self._save(settings, fs.join(config.output, MODELS_FOLDER, str(folder)))
        if self._best is None or not self._has_validation or first.is_better(value, self._best):
            self._best = value
            self.metrics["best_model"] = float(number)
            if config.output_mode != "NONE":
                best = fs.join(config.output, BEST_FOLDER)
                fs.delete(best)
                self._save(settings, best)

    def _save(self, settings: FitSettings, folder: str) -> None:
        config, prepared = self._config, self._prepared
        pairs = zip(config.coordinates, settings.coordinates, strict=True)
        how = tuple(coordinate_json(one, own) for one, own in pairs)
        fs.write_bytes(fs.join(folder, METADATA_NAME), render_metadata(config.task, how))
        fs.write_bytes(fs.join(folder, SPEC_NAME), render_spec(how))
        writing = Writing(config.task, config.sparsity_threshold, config.output_files)
        for effect, coefficients in self._coefficients():
            index = shard_index(prepared.index, effect.shard, prepared.maps[effect.shard].dimension)
            write_effect(effect, coefficients, index, folder, writing)
        model = locked_model_of(config)
        for effect in model.effects:
            copy_effect(prepared.rows.sparkSession, model, effect, folder)

    def _coefficients(self) -> Iterator[tuple[EffectInfo, DataFrame]]:
        for one in self._glmix.coordinates:
            if isinstance(one, SparkFixed):
                yield _info(one.settings), self._fixed_rows(one.coefficients, self._glmix.fixed_variances(one))
            else:
                yield _info(one.settings), self._glmix.coefficients(one)

    def _fixed_rows(self, coefficients: Floats, variances: Floats | None) -> DataFrame:
        kept = np.flatnonzero(coefficients)
        columns = {"index": pa.array(kept, pa.int32()), "value": pa.array(coefficients[kept], pa.float64())}
        columns |= {} if variances is None else {"variance": pa.array(variances[kept], pa.float64())}
        return self._prepared.rows.sparkSession.createDataFrame(pa.table(columns))


def _info(settings: CoordinateSettings) -> EffectInfo:
    return EffectInfo(settings.name, settings.shard, settings.entity)
