"""From a formula and rows in memory to a fitted model: encode, estimate variances or take penalties, fit."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd

from photon.checks import Checks, check_rows
from photon.covariance import Covariance
from photon.empirical_bayes import EmpiricalBayesSettings, Estimate, Variances, estimate
from photon.encoding import Encoding, learn
from photon.evaluation.calibration import Bin, bins_of
from photon.evaluation.ranking import NOTHING_ABOVE, Scored, collapse
from photon.fitted import (
    Fitted,
    FittedEffect,
    GlmixRecord,
    SweepPoint,
    TrainingRecord,
    VariancePoint,
)
from photon.formula import GlmixFormula, render_formula
from photon.frames import entity_ids
from photon.joint import Mode
from photon.local import LocalData, fit
from photon.local_posterior import LocalPosterior
from photon.loss import TWEEDIE_POWER, Task
from photon.model import GlmixModel, RandomEffect
from photon.objective import data_loss
from photon.responses import Classes, null_margin
from photon.rows import Floats
from photon.settings import FitSettings, checked
from photon.terms import Term, coordinate_of
from yarnmill.errors import BadDataError, ConfigurationError

MOST_STANDARD_ERRORS: Final = 500
"""Columns of a fixed effect up to which standard errors are computed: each is a solve of the whole system."""


@dataclass(frozen=True, slots=True)
class Request:
    """What :class:`photon.estimator.Glmix` was told."""

    task: Task
    formula: GlmixFormula
    l2: float | Mapping[str, float] | None
    max_sweeps: int
    tolerance: float
    empirical_bayes: EmpiricalBayesSettings | None
    standard_errors: bool
    weights: str | None
    offset: str | None
    classes: Classes
    checks: Checks = "full"
    terms: Mapping[str, Term] = field(default_factory=dict)
    acceleration: int = 3
    tweedie_power: float = TWEEDIE_POWER

    def term(self, name: str) -> Term:
        """Return what an effect was told besides its penalty."""
        return self.terms.get(name) or Term()

    def given_l2(self, name: str) -> float | None:
        """Return the penalty that an effect was given, or None: then its prior is estimated, if it is a random one."""
        term = self.term(name)
        if term.l2 is not None:
            return term.l2
        given = (self.l2 or {}).get(name) if self.l2 is None or isinstance(self.l2, Mapping) else self.l2
        return 0.0 if given is None and term.l1 > 0.0 else given

    @property
    def settings(self) -> FitSettings:
        """The coordinates, without bounds; a shard has its effect's name."""
        return self.settings_for({})

    def settings_for(self, columns: Mapping[str, Sequence[str]]) -> FitSettings:
        """Return the coordinates; bounds are of these columns, by effect."""
        names = [one.name for one in self.formula.effects]
        unknown = sorted(set(self.l2) - set(names)) if isinstance(self.l2, Mapping) else []
        if unknown:
            raise ConfigurationError(f"l2: no effect {unknown[0]!r}", expected=f"some of {', '.join(names)}")
        # The 1 of an effect whose prior is estimated is never looked at.
        penalties = {
            one.name: given if (given := self.given_l2(one.name)) is not None else float(bool(one.entity))
            for one in self.formula.effects
        }
        settings = FitSettings(
            task=self.task,
            coordinates=tuple(
                coordinate_of(one, self.term(one.name), penalties[one.name], columns.get(one.name, ()))
                for one in self.formula.effects
            ),
            max_sweeps=self.max_sweeps,
            tolerance=self.tolerance,
            acceleration=self.acceleration,
            tweedie_power=self.tweedie_power,
        )
        return checked(settings, source="Glmix")

    def check(self) -> None:
        """Refuse what an estimated prior has no place for; ConfigurationError names the effect."""
        for name in (one.name for one in self.formula.effects):
            beside = self.term(name).beside_ridge
            if beside and self.estimated:
                whose = next(iter(self.estimated))
                raise ConfigurationError(
                    f"terms[{name!r}].{beside[0]}: set, while the prior of {whose!r} is estimated",
                    expected=f"l2 for {', '.join(map(repr, self.estimated))}, or none of {', '.join(beside)}",
                    mend=f"l2={{{whose!r}: 1.0}}, say, or terms without {beside[0]} for {name!r}",
                )

    @property
    def is_ridge(self) -> bool:
        """Whether the fit has no more than L2 penalties, so that its posterior is about normal."""
        return not any(self.term(one.name).beside_ridge not in ((), ("variances",)) for one in self.formula.effects)

    @property
    def estimated(self) -> dict[str, bool]:
        """The random effects whose prior is estimated, and whether their coefficients may correlate."""
        return {
            one.name: one.correlated for one in self.formula.effects if one.entity and self.given_l2(one.name) is None
        }


@dataclass(frozen=True, slots=True)
class _Result:
    model: GlmixModel
    margins: Floats
    objective: float
    converged: bool
    variances: Variances
    sweeps: tuple[SweepPoint, ...] = ()
    iterations: tuple[VariancePoint, ...] = ()
    errors: Floats | None = None


def estimate_locally(request: Request, frame: pd.DataFrame, labels: Floats, weights: Floats, offsets: Floats) -> Fitted:
    """Return the model fitted to the rows of a frame."""
    started = time.monotonic()
    request.check()
    encodings, data = encoded(request.formula, frame, labels, weights, offsets)
    check_rows(data.shards, data.examples, request.settings.loss, request.checks)
    if not weights.any():
        raise BadDataError("weights: all are 0", expected="rows that train")
    settings = request.settings_for(
        {one.name: each.columns for one, each in zip(request.formula.effects, encodings, strict=True)}
    )
    result = _with_variances(request, data) if request.estimated else _with_penalties(request, settings, data)
    effects = tuple(
        _fitted_effect(request, one.name, encoding, result)
        for one, encoding in zip(request.formula.effects, encodings, strict=True)
    )
    record = GlmixRecord(
        task=request.task,
        formula=render_formula(request.formula),
        response=request.formula.response,
        weights=request.weights,
        offset=request.offset,
        classes=request.classes,
        effects=effects,
        tweedie_power=request.tweedie_power,
        training=_training(request, data, result, time.monotonic() - started),
    )
    return Fitted(result.model, record)


def encoded(
    formula: GlmixFormula, frame: pd.DataFrame, labels: Floats, weights: Floats, offsets: Floats
) -> tuple[list[Encoding], LocalData]:
    """Return what each effect's terms learn from the rows, and the rows encoded: a shard an effect."""
    if not len(frame) == len(labels) == len(weights):
        raise ConfigurationError(f"{len(frame)} rows with {len(labels)} labels and {len(weights)} weights")
    learnt = [(one, *learn(one.terms, frame)) for one in formula.effects]
    data = LocalData(
        labels=labels,
        weights=weights,
        offsets=offsets,
        shards={one.name: rows for one, _, rows in learnt},
        ids={one.entity_key: entity_ids(frame, one.entity) for one, _, _ in learnt if one.entity},
        intercepts={one.name: encoding.intercept for one, encoding, _ in learnt if encoding.intercept is not None},
    )
    return [encoding for _, encoding, _ in learnt], data


def _with_variances(request: Request, data: LocalData) -> _Result:
    options = request.empirical_bayes or EmpiricalBayesSettings()
    posterior = LocalPosterior(data, request.settings, request.estimated, options)
    found = estimate(posterior, posterior.start(), options, has_residual=request.task == "linear")
    mode = posterior.mode(found.variances.relative())
    return _Result(
        model=posterior.model(mode, found.variances.relative()),
        margins=mode.margins,
        objective=mode.value,
        converged=found.converged and mode.converged,
        variances=found.variances,
        iterations=variance_points(found),
        errors=_errors(request, posterior, mode, found.variances.residual),
    )


def _with_penalties(request: Request, settings: FitSettings, data: LocalData) -> _Result:
    fitted = fit(data, settings, checks="off")
    posterior = LocalPosterior(data, request.settings, {}, EmpiricalBayesSettings())
    residual, errors = 1.0, None
    margins = data.offsets + fitted.descent.scores.sum(axis=1)
    if not request.is_ridge:
        residual = _residual(request, fitted.model, margins, data)
    elif request.task == "linear" or request.standard_errors:
        mode = posterior.mode({})
        if request.task == "linear":
            moments = posterior.moments({}, 1.0)
            residual = moments.squares / max(1e-6, moments.rows - moments.parameters)
        errors = _errors(request, posterior, mode, residual)
    return _Result(
        model=fitted.model,
        margins=margins,
        objective=fitted.descent.objective,
        converged=fitted.descent.converged,
        variances=Variances({}, residual),
        sweeps=tuple(SweepPoint(number=one.number, objective=one.objective) for one in fitted.descent.sweeps),
        errors=errors,
    )


def _residual(request: Request, model: GlmixModel, margins: Floats, data: LocalData) -> float:
    """Return the residual variance where corners leave no count of parameters but that of the fixed coefficients."""
    if request.task != "linear":
        return 1.0
    free = sum(np.count_nonzero(one.coefficients) for one in model.effects if not isinstance(one, RandomEffect))
    squares = float(data.weights @ (data.labels - margins) ** 2)
    return squares / max(1.0, float(np.count_nonzero(data.weights) - free))


def _errors(request: Request, posterior: LocalPosterior, mode: Mode, residual: float) -> Floats | None:
    columns = mode.system.effects[0].rows.columns
    if not request.standard_errors or columns > MOST_STANDARD_ERRORS:
        return None
    found: Floats = np.sqrt(np.maximum(residual * np.diag(posterior.fixed_covariance(mode, 0)), 0.0))
    return found


def variance_points(found: Estimate) -> tuple[VariancePoint, ...]:
    """Return the variances after each iteration, as a record holds them."""
    return tuple(
        VariancePoint(
            number=one.number,
            change=one.change,
            residual=one.variances.residual,
            variances={name: tuple(each.variances.tolist()) for name, each in one.variances.effects.items()},
        )
        for one in found.iterations
    )


def _fitted_effect(request: Request, name: str, encoding: Encoding, result: _Result) -> FittedEffect:
    formula = next(one for one in request.formula.effects if one.name == name)
    effect = next(one for one in result.model.effects if one.name == name)
    covariance = result.variances.effects.get(name)
    return FittedEffect(
        formula=formula,
        encoding=encoding,
        l2=request.given_l2(name) or 0.0,
        covariance=() if covariance is None else plain(covariance),
        entities=len(effect.entities) if isinstance(effect, RandomEffect) else 0,
        standard_errors=() if formula.entity or result.errors is None else tuple(result.errors.tolist()),
    )


def plain(covariance: Covariance) -> tuple[tuple[float, ...], ...]:
    """Return a covariance as a record holds it: ``(d, d)``, or ``(1, d)`` variances."""
    return tuple(tuple(row) for row in np.atleast_2d(covariance.matrix).tolist())


def _training(request: Request, data: LocalData, result: _Result, duration_s: float) -> TrainingRecord:
    loss, weight = request.settings.loss, float(data.weights.sum())
    null = np.full(len(data.labels), null_margin(data.labels, data.weights, request.task))
    return TrainingRecord(
        rows=len(data.labels),
        weight=weight,
        objective=result.objective,
        mean_loss=data_loss(loss, result.margins, data.labels, data.weights) / weight,
        null_loss=data_loss(loss, null, data.labels, data.weights) / weight,
        converged=result.converged,
        duration_s=duration_s,
        residual_variance=result.variances.residual,
        sweeps=result.sweeps,
        iterations=result.iterations,
        bins=calibration_bins(loss.mean(result.margins), data.labels, data.weights),
    )


def calibration_bins(predicted: Floats, labels: Floats, weights: Floats, number: int = 20) -> tuple[Bin, ...]:
    """Return predicted and observed means of rows in order of their prediction."""
    ties = collapse(Scored(predicted, labels, weights))
    total = float(ties.weights.sum())
    return tuple(bins_of(ties, ties.scores, NOTHING_ABOVE, total, number)) if total > 0.0 else ()
