"""GLMix in scikit-learn's manner: ``Glmix("y ~ x + (1 + x | user) + (1 | item)").fit(frame).predict(frame)``.

On pandas DataFrames, Arrow tables and mappings of arrays everything happens in this process; a Spark DataFrame
is fitted and scored where it is (:mod:`photon.spark.formula`, imported only then). scikit-learn itself is not
needed, but an estimator goes through its ``clone``, ``Pipeline`` and ``cross_val_score``.
"""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from photon import local_estimation
from photon.checks import Checks
from photon.empirical_bayes import EmpiricalBayesSettings
from photon.encoding import encode
from photon.fitted import Fitted, FittedModel
from photon.formula import Fixed, GlmixFormula, Random, from_coordinates, parse_formula
from photon.frames import as_frame, column_of, entity_ids, is_spark, numbers
from photon.loss import TWEEDIE_POWER, Task, loss_of
from photon.model import RandomEffect
from photon.responses import Classes, evaluated, explained, labels_of
from photon.rows import Floats
from photon.scoring import means, score_effect
from photon.summary import Summary, coefficient_table, summarise, variance_table
from photon.terms import Term, terms_of
from yarnmill.errors import ConfigurationError


class Glmix:
    """A generalized linear mixed model.

    ``E[y] = g⁻¹(xᵀβ + Σₖ zₖᵀbₖ,entityₖ + offset)``, where the coefficients of a random effect's entities have the prior
    ``N(0, Σₖ)``. Unless penalties are given, every ``Σₖ`` and the residual variance are estimated from the
    data (:mod:`photon.empirical_bayes`).

    Parameters
    ----------
    formula
        Such as ``y ~ x1 + x2 + (1 + x2 | user) + (1 | item)``: see :mod:`photon.formula`. Without a response (``~ x``)
        the labels are given to :meth:`fit`.
    task
        ``logistic``, ``linear`` and so on: a task of :mod:`photon.loss`.
    coordinates
        Instead of a formula: one :class:`~photon.formula.Fixed` and any number of :class:`~photon.formula.Random`.
    l2
        Penalties: None estimates the prior of every random effect and leaves the fixed effect free; a number is
        ``λ`` of all effects; a mapping by effect name gives some and leaves the others as None does. The
        intercept of the fixed effect is never penalised.
    weights, offset
        Names of columns.
    terms
        By effect name, a :class:`~photon.terms.Term` or a mapping of its fields: ``l1``, ``bounds`` by column,
        ``normalisation``, ``optimizer``, ``variances`` and so on, such as ``{"fixed": {"l1": 0.5}}``. But for the
        optimiser they need penalties: an estimated prior has no place for them.
    max_sweeps, tolerance, acceleration
        End of the descent where all penalties are given, and the directions that it remembers
        (:class:`photon.settings.FitSettings`).
    tweedie_power
        ``p`` of ``Var[y] ∝ E[y]ᵖ``, for the Tweedie task alone.
    empirical_bayes
        Iterations, tolerance and draws of the estimation of variances.
    standard_errors
        Whether those of the fixed effect are computed: one solve of the whole system a column. There are none beside
        L1, bounds, normalisation or samples of rows.
    checks
        Whether all rows are checked before a fit (``full``), a tenth of them (``sample``) or none (``off``):
        see :mod:`photon.checks`.

    Attributes
    ----------
    classes_
        The two labels of a logistic model; the second is the positive one.
    fitted_
        The model with everything about it: a :class:`photon.fitted.Fitted`.
    """

    def __init__(  # noqa: PLR0913  # scikit-learn keeps every setting in the constructor
        self,
        formula: str | None = None,
        *,
        task: Task = "logistic",
        coordinates: Sequence[Fixed | Random] | None = None,
        l2: float | Mapping[str, float] | None = None,
        weights: str | None = None,
        offset: str | None = None,
        max_sweeps: int = 200,
        tolerance: float = 1e-9,
        empirical_bayes: EmpiricalBayesSettings | None = None,
        standard_errors: bool = True,
        checks: Checks = "full",
        terms: Mapping[str, Term | Mapping[str, Any]] | None = None,
        acceleration: int = 3,
        tweedie_power: float = TWEEDIE_POWER,
    ) -> None:
        self.formula = formula
        self.task = task
        self.coordinates = coordinates
        self.l2 = l2
        self.weights = weights
        self.offset = offset
        self.max_sweeps = max_sweeps
        self.tolerance = tolerance
        self.empirical_bayes = empirical_bayes
        self.standard_errors = standard_errors
        self.checks = checks
        self.terms = terms
        self.acceleration = acceleration
        self.tweedie_power = tweedie_power

    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Self:  # noqa: ANN401, N803  # scikit-learn's names
        """Fit to rows; ``y`` and ``sample_weight`` take the place of the formula's response and of ``weights``.

        Raises
        ------
        ConfigurationError
            If the formula is none, or names a column that is not there.
        BadDataError
            If a label does not fit the task, a weight is negative, or something that must be a finite number is not.
        """
        formula = self._parsed()
        if is_spark(X):
            from photon.spark.formula import estimate_on_spark  # noqa: PLC0415  # Spark for those who bring it

            if y is not None or sample_weight is not None:
                raise ConfigurationError("fit: y or sample_weight beside a Spark DataFrame", expected="columns of it")
            self.fitted_: FittedModel = estimate_on_spark(self._request(formula, ()), X)
            return self
        frame = as_frame(X)
        response = _response(formula.response, frame) if y is None else y
        labels, classes = labels_of(response, self.task)
        weights = self._weights(frame) if sample_weight is None else numbers(sample_weight, "sample_weight")
        request = self._request(formula, classes)
        self.fitted_ = local_estimation.estimate_locally(request, frame, labels, weights, self._offsets(frame))
        return self

    def transform(self, X: Any) -> Any:  # noqa: ANN401, N803
        """Return rows with each effect's contribution, the margin and ``E[y]`` added.

        A Spark DataFrame stays one. Where the model was fitted on Spark too, its rows meet the coefficients by entity,
        and come back in another order.
        """
        if is_spark(X):
            from photon.spark.transform import score_on_spark  # noqa: PLC0415

            return score_on_spark(self._done, X)
        frame = as_frame(X)
        parts = self.contributions(frame)
        margin = parts.to_numpy().sum(axis=1)
        added = {f"contribution_{name}": parts[name] for name in parts.columns if name != "offset"}
        return frame.assign(**added, margin=margin, prediction=means(self._done.model, margin))

    def _request(self, formula: GlmixFormula, classes: Classes) -> local_estimation.Request:
        return local_estimation.Request(
            task=self.task,
            formula=formula,
            l2=self.l2,
            max_sweeps=self.max_sweeps,
            tolerance=self.tolerance,
            empirical_bayes=self.empirical_bayes,
            standard_errors=self.standard_errors,
            weights=self.weights,
            offset=self.offset,
            classes=classes,
            checks=self.checks,
            terms=terms_of(self.terms or {}, formula),
            acceleration=self.acceleration,
            tweedie_power=self.tweedie_power,
        )

    @property
    def classes_(self) -> np.ndarray:
        """The two labels of a logistic model."""
        if not self._done.record.classes:
            raise AttributeError("classes_")
        return np.array(self._done.record.classes)

    def contributions(self, X: Any) -> pd.DataFrame:  # noqa: ANN401, N803
        """Return what each effect, and the offset, adds to the margin of each row."""
        frame, fitted = as_frame(X), self._done
        parts: dict[str, Floats] = {}
        for effect, one in zip(fitted.model.effects, fitted.record.effects, strict=True):
            rows = encode(one.encoding, frame)
            ids = None
            if isinstance(effect, RandomEffect):
                ids = entity_ids(frame, one.formula.entity, like=effect.entities)
            parts[effect.name] = score_effect(effect, rows, ids)
        parts["offset"] = self._offsets(frame)
        return pd.DataFrame(parts, index=frame.index)

    def decision_function(self, X: Any) -> Floats:  # noqa: ANN401, N803
        """Return the margin of each row: the linear predictor, offset included."""
        found: Floats = self.contributions(X).to_numpy().sum(axis=1)
        return found

    margin = decision_function

    def predict_mean(self, X: Any) -> Floats:  # noqa: ANN401, N803
        """Return ``E[y]`` of each row: a probability for the logistic task."""
        return means(self._done.model, self.decision_function(X))

    def predict_proba(self, X: Any) -> Floats:  # noqa: ANN401, N803
        """Return ``(rows, 2)`` probabilities of the classes of a logistic model."""
        if self.task != "logistic":
            raise AttributeError(f"predict_proba: a {self.task} model has no classes; predict_mean is E[y]")
        positive = self.predict_mean(X)
        return np.column_stack([1.0 - positive, positive])

    def predict(self, X: Any) -> Any:  # noqa: ANN401, N803
        """Return the likelier class of each row for the logistic task, else ``E[y]``.

        Of a Spark DataFrame the rows come back, in any order, with a column ``predicted``.
        """
        if is_spark(X):
            from photon.spark.transform import predict_on_spark  # noqa: PLC0415

            return predict_on_spark(self._done, X)
        if self.task == "logistic":
            return self.classes_[(self.decision_function(X) > 0.0).astype(np.int64)]
        return self.predict_mean(X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:  # noqa: ANN401, N803
        """Return ``D²``, the share of the deviance that the model explains; ``R²`` for the linear task."""
        frame = as_frame(X)
        response = _response(self._done.record.response, frame) if y is None else y
        labels, _ = labels_of(response, self.task, self._done.record.classes)
        weights = self._weights(frame) if sample_weight is None else numbers(sample_weight, "sample_weight")
        return explained(self.decision_function(frame), labels, weights, loss_of(self.task, self.tweedie_power))

    def coefficients(self, effect: str = "fixed") -> pd.DataFrame:
        """Return an effect's coefficients: a row a coefficient (fixed), or a row an entity (random)."""
        return coefficient_table(self._done, effect)

    def variances(self, effect: str = "fixed") -> pd.DataFrame:
        """Return the variances of an effect's coefficients, as ``terms`` asked for them.

        They are by the curvature of the objective, and of residual variance 1 (:mod:`photon.fixed_effect`).
        """
        return variance_table(self._done, effect)

    def summary(self) -> Summary:
        """Return tables of the model that print as text and show as HTML in a notebook."""
        return summarise(self._done)

    def report(self, path: str | Path, X: Any = None, y: Any = None) -> Path:  # noqa: ANN401, N803
        """Write one self-contained HTML page about the model; calibration and lift on ``X`` if it is given."""
        from photon.report.glmix import render_glmix  # noqa: PLC0415  # jinja2 only for those who want a page

        judged = None
        if X is not None:
            frame = as_frame(X)
            response = _response(self._done.record.response, frame) if y is None else y
            labels, _ = labels_of(response, self.task, self._done.record.classes)
            judged = (self.decision_function(frame), labels, self._weights(frame))
        target = Path(path)
        target.write_text(render_glmix(self._done, judged), encoding="utf-8")
        return target

    def save(self, folder: str | Path) -> None:
        """Write the model as arrays and JSON."""
        self._done.save(Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Return a saved model, memory-mapped."""
        return cls.of(Fitted.load(Path(folder)))

    def collected(self, most_coefficients: int | None = None) -> Self:
        """Return the estimator with all coefficients in this process; a fit on Spark leaves them in the executors.

        What asks for a local model (rows of pandas, ``coefficients`` of a random effect, ``save``) does this by itself.

        Raises
        ------
        ConfigurationError
            If there are more than ``most_coefficients``, 50,000,000 unless given, in the random effects.
        """
        found = type(self)(**self.get_params())
        found.fitted_ = self._done.collected(most_coefficients)
        return found

    def release(self) -> None:
        """Let Spark's executors go of a model's coefficients; what was collected or written stays."""
        self._done.release()

    def write(self, url: str) -> None:
        """Write a model fitted on Spark to a folder that every executor reaches, coefficients as Parquet."""
        self._done.write(url)

    @classmethod
    def read(cls, url: str) -> Self:
        """Return the model that :meth:`write` wrote, for the rows of Spark DataFrames."""
        from photon.spark.kept import SparkFitted  # noqa: PLC0415

        return cls.of(SparkFitted.read(url))

    @classmethod
    def of(cls, fitted: FittedModel) -> Self:
        """Return the estimator of a fitted model."""
        record = fitted.record
        found = cls(
            record.formula,
            task=record.task,
            weights=record.weights,
            offset=record.offset,
            tweedie_power=record.tweedie_power,
        )
        found.fitted_ = fitted
        return found

    def get_params(self, *, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002  # nothing nested
        """Return the constructor's arguments, as scikit-learn asks for them."""
        return {name: getattr(self, name) for name in _parameters(type(self))}

    def set_params(self, **params: Any) -> Self:  # noqa: ANN401
        """Set constructor arguments by name."""
        for name, value in params.items():
            if name not in _parameters(type(self)):
                raise ConfigurationError(
                    f"Glmix has no parameter {name!r}", expected=f"one of {', '.join(_parameters(type(self)))}"
                )
            setattr(self, name, value)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "fitted_")

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401  # scikit-learn asks; nobody else does
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags  # noqa: PLC0415

        logistic = self.task == "logistic"
        return Tags(
            estimator_type="classifier" if logistic else "regressor",
            target_tags=TargetTags(required=False),
            classifier_tags=ClassifierTags(multi_class=False) if logistic else None,
            regressor_tags=None if logistic else RegressorTags(),
            input_tags=InputTags(allow_nan=True, string=True, categorical=True),
        )

    def __repr__(self) -> str:
        defaults = {name: one.default for name, one in inspect.signature(type(self)).parameters.items()}
        given = [f"{name}={value!r}" for name, value in self.get_params().items() if value is not defaults[name]]
        return f"Glmix({', '.join(given)})"

    @property
    def _done(self) -> FittedModel:
        if not hasattr(self, "fitted_"):
            raise ConfigurationError("this Glmix was never fitted", mend="call fit first")
        fitted: FittedModel = self.fitted_
        return fitted

    def _parsed(self) -> GlmixFormula:
        if (self.formula is None) == (self.coordinates is None):
            raise ConfigurationError("Glmix: neither or both of formula and coordinates", expected="one of the two")
        return parse_formula(self.formula) if self.formula is not None else from_coordinates(self.coordinates or ())

    def _weights(self, frame: pd.DataFrame) -> Floats:
        if self.weights is None:
            return np.ones(len(frame))
        return numbers(column_of(frame, self.weights, "weights"), self.weights, missing=1.0)

    def _offsets(self, frame: pd.DataFrame) -> Floats:
        if self.offset is None:
            return np.zeros(len(frame))
        return numbers(column_of(frame, self.offset, "offset"), self.offset, missing=0.0)


def _response(name: str, frame: pd.DataFrame) -> Any:  # noqa: ANN401  # numbers, text or booleans
    if not name:
        raise ConfigurationError("no labels: neither y nor a response in the formula", expected="y ~ …, or fit(X, y)")
    plain = name.strip("`")
    return frame[plain] if plain in frame.columns else evaluated(name, frame)


def _parameters(kind: type) -> list[str]:
    return list(inspect.signature(kind).parameters)
