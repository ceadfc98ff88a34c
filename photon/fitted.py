"""A fitted model with what its formula learnt and how the fit went: what :class:`photon.estimator.Glmix` keeps.

One that was fitted on Spark keeps its random effects there (:class:`photon.spark.kept.SparkFitted`). On disk it is
a model of :mod:`photon.model` with ``glmix.json`` beside ``model.json``: arrays and JSON, no pickles.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from photon.covariance import Covariance
from photon.encoding import Encoding
from photon.entities import Keys
from photon.evaluation.calibration import Bin
from photon.formula import EffectFormula
from photon.loss import TWEEDIE_POWER, Task
from photon.model import Effect, EffectRecord, GlmixModel, ModelRecord, RandomEffect, load_model, save_model
from photon.rows import Floats
from yarnmill.errors import ConfigurationError, NotFoundError
from yarnmill.records import Record, canonical_json, parse_json

GLMIX_NAME: Final = "glmix.json"


class FittedEffect(Record, frozen=True, kw_only=True):
    """One effect of a fitted model, but for its coefficients.

    Parameters
    ----------
    formula, encoding
        What it is, and what its terms learnt.
    l2
        Its penalty; 0 where the covariance was estimated.
    covariance
        Estimated prior covariance in units of the margin, ``(d, d)``, or ``(1, d)`` variances where coefficients do
        not correlate; else empty.
    entities
        Entities with coefficients.
    standard_errors
        Of a fixed effect's coefficients, the uncertainty of all other effects included; empty if not computed.
    """

    formula: EffectFormula
    encoding: Encoding
    l2: float = 0.0
    covariance: tuple[tuple[float, ...], ...] = ()
    entities: int = 0
    standard_errors: tuple[float, ...] = ()

    @property
    def prior(self) -> Covariance | None:
        """The estimated covariance, if it was estimated."""
        if not self.covariance:
            return None
        matrix = np.array(self.covariance)
        return Covariance(matrix if self.formula.correlated else matrix[0])

    @property
    def effect_record(self) -> EffectRecord:
        """The effect as a model's record has it; its shard has its name."""
        return EffectRecord(
            name=self.formula.name,
            shard=self.formula.name,
            columns=len(self.encoding.columns),
            entity=self.formula.entity_key or None,
            l2=self.l2,
        )


class SweepPoint(Record, frozen=True, kw_only=True):
    """The joint objective after a sweep of the descent."""

    number: int
    objective: float


class VariancePoint(Record, frozen=True, kw_only=True):
    """Variances after an iteration of empirical Bayes, by effect and column."""

    number: int
    change: float
    residual: float
    variances: dict[str, tuple[float, ...]]


class TrainingRecord(Record, frozen=True, kw_only=True):
    """How the fit went.

    Losses are weighted means over the training rows; ``null_loss`` is that of the mean response alone.
    ``bins`` are the training rows in order of their prediction (:mod:`photon.evaluation.calibration`).
    """

    rows: int
    weight: float
    objective: float
    mean_loss: float
    null_loss: float
    converged: bool
    duration_s: float
    residual_variance: float = 1.0
    sweeps: tuple[SweepPoint, ...] = ()
    iterations: tuple[VariancePoint, ...] = ()
    bins: tuple[Bin, ...] = ()


class GlmixRecord(Record, frozen=True, kw_only=True):
    """The content of ``glmix.json``."""

    task: Task
    formula: str
    response: str
    weights: str | None
    offset: str | None
    classes: tuple[str | int | float | bool, ...]
    effects: tuple[FittedEffect, ...]
    training: TrainingRecord
    tweedie_power: float = TWEEDIE_POWER
    schema_version: int = 1


class FittedModel(Protocol):
    """What an estimator asks of a fitted model, wherever its coefficients are."""

    @property
    def record(self) -> GlmixRecord:
        """All but coefficients."""
        ...

    @property
    def model(self) -> GlmixModel:
        """The coefficients, in this process."""
        ...

    def effect(self, name: str) -> Effect:
        """Return the coefficients of an effect, in this process."""
        ...

    def is_here(self, name: str) -> bool:
        """Return whether an effect's coefficients are in this process already."""
        ...

    def coefficients_of(self, name: str) -> tuple[Keys | None, Floats]:
        """Return an effect as :func:`dense_coefficients` does."""
        ...

    def save(self, folder: Path) -> None:
        """Write arrays and JSON below a folder of this machine."""
        ...

    def collected(self, most_coefficients: int | None = None) -> "Fitted":
        """Return the model with all coefficients in this process, or refuse to bring more than so many here."""
        ...

    def release(self) -> None:
        """Let go of coefficients in Spark's executors."""
        ...

    def write(self, url: str) -> None:
        """Write the model for Spark below a folder that every executor reaches."""
        ...


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted model: coefficients, and everything else."""

    model: GlmixModel
    record: GlmixRecord

    def save(self, folder: Path) -> None:
        """Write the model below ``folder``, which must not hold one yet."""
        folder.mkdir(parents=True, exist_ok=True)
        effects = tuple(one.effect_record for one in self.record.effects)
        save_model(folder, ModelRecord(task=self.record.task, effects=effects), iter(self.model.effects))
        (folder / GLMIX_NAME).write_bytes(canonical_json(self.record))

    @classmethod
    def load(cls, folder: Path) -> "Fitted":
        """Return a saved model, memory-mapped; NotFoundError if there is none."""
        path = folder / GLMIX_NAME
        if not path.exists():
            raise NotFoundError(f"{path}: no such file", expected="a folder that Glmix.save wrote")
        return cls(load_model(folder), parse_json(path.read_bytes(), GlmixRecord, source=str(path)))

    def effect(self, name: str) -> Effect:
        """Return the coefficients of an effect."""
        return next(one for one in self.model.effects if one.name == name)

    def is_here(self, name: str) -> bool:  # noqa: ARG002  # of every effect
        """Return that they are."""
        return True

    def collected(self, most_coefficients: int | None = None) -> "Fitted":  # noqa: ARG002  # none has a way to go
        """Return the model itself."""
        return self

    def release(self) -> None:
        """Do nothing: Spark's executors hold nothing."""

    def write(self, url: str) -> None:
        """Refuse: ConfigurationError."""
        raise ConfigurationError(
            f"write to {url}: a model of this process", expected="a model fitted on Spark", mend="save(folder)"
        )

    def coefficients_of(self, name: str) -> tuple[Keys | None, Floats]:
        """Return an effect as :func:`dense_coefficients` does."""
        return dense_coefficients(self.effect(name))


def dense_coefficients(effect: Effect) -> tuple[Keys | None, Floats]:
    """Return (entities, dense coefficients): ``(1, d)`` with entities None for a fixed effect, else ``(E, d)``."""
    if not isinstance(effect, RandomEffect):
        return None, effect.coefficients[None, :]
    dense = np.zeros((len(effect.entities), effect.columns))
    dense.ravel()[effect.cells] = effect.coefficients
    return effect.entities, dense
