"""The report of a :class:`photon.estimator.Glmix`."""

import math
from collections.abc import Sequence

import numpy as np

from photon.fitted import FittedEffect, FittedModel
from photon.local_estimation import calibration_bins
from photon.loss import loss_of
from photon.report.figures import Series, histogram, lines, number
from photon.report.page import Fact, Section, figure, page, side_by_side, table
from photon.report.sections import Coefficient, calibration_and_lift, coefficients, convergence
from photon.rows import Floats

Judged = tuple[Floats, Floats, Floats]
"""Margins, labels and weights of rows to judge the model on."""

_MOST_HISTOGRAMS = 12


def render_glmix(fitted: FittedModel, judged: Judged | None) -> str:
    """Return the page about a model; calibration and lift on ``judged``, beside those of the training rows."""
    record, training = fitted.record, fitted.record.training
    parts = {"training rows": training.bins}
    if judged is not None:
        margins, labels, weights = judged
        parts = {"rows given": calibration_bins(loss_of(record.task).mean(margins), labels, weights), **parts}
    found = [
        _variances(fitted),
        _estimation(fitted),
        convergence([(one.number, one.objective) for one in training.sweeps]),
        *_fixed(fitted),
        *calibration_and_lift(parts, record.task),
    ]
    return page(
        record.formula or "GLMix",
        f"GLMix · {record.task}",
        _facts(fitted),
        [one for one in found if one is not None],
        "Losses are means over the training rows, weighted. Standard errors count the uncertainty of all effects.",
    )


def _facts(fitted: FittedModel) -> list[Fact]:
    record, training = fitted.record, fitted.record.training
    gain = 1.0 - training.mean_loss / training.null_loss if training.null_loss > 0.0 else math.nan
    facts = [
        Fact("rows", f"{training.rows:,}"),
        Fact(
            "mean loss", number(training.mean_loss), f"{100 * gain:.1f} % below the mean's {number(training.null_loss)}"
        ),
        *(Fact(one.formula.entity_key, f"{one.entities:,}", "entities") for one in record.effects[1:]),
    ]
    if record.task == "linear":
        deviation = math.sqrt(training.residual_variance)
        facts.append(Fact("residual deviation", number(deviation), f"variance {number(training.residual_variance)}"))
    facts.append(Fact("fit", "converged" if training.converged else "not converged", f"{training.duration_s:.2f} s"))
    return facts


def _fixed(fitted: FittedModel) -> list[Section]:
    one = fitted.record.effects[0]
    _, values = fitted.coefficients_of(one.formula.name)
    errors: Sequence[float | None] = one.standard_errors or [None] * len(one.encoding.columns)
    found = [
        Coefficient(name, float(value), error)
        for name, value, error in zip(one.encoding.columns, values[0], errors, strict=True)
    ]
    return [coefficients(found, "the fixed effect")] if found else []


def _variances(fitted: FittedModel) -> Section | None:
    effects = fitted.record.effects[1:]
    if not effects:
        return None
    widest = max(len(one.encoding.columns) for one in effects)
    rows = [row for one in effects for row in _rows(one, min(widest, 6))]
    correlated = any(one.prior is not None and len(one.encoding.columns) > 1 for one in effects)
    shown = max(0, min(widest, 6) - 1) if correlated else 0
    head = ["group", "coefficient", "variance", "std. deviation", *(f"corr. {place + 1}" for place in range(shown))]
    body = table(head, [row[: len(head)] for row in rows], numeric=range(2, len(head)))
    here = [one for one in effects if fitted.is_here(one.formula.name)]
    drawn = [each for one in here for each in _histograms(fitted, one)][:_MOST_HISTOGRAMS]
    below = (
        "Below, the coefficients of all entities over the prior's density; few rows, closer to 0."
        if len(here) == len(effects)
        else "Coefficients that stay on Spark are not drawn: collected() brings a model here, and its report has them."
    )
    return Section(
        "Random effects",
        "How much coefficients differ between entities: the prior's variance, estimated from the data or given by a "
        f"penalty. {below}",
        body + side_by_side(drawn, small=True),
    )


def _rows(one: FittedEffect, widest: int) -> list[list[str]]:
    prior = one.prior
    variances = prior.variances if prior is not None else np.full(len(one.encoding.columns), _given(one))
    found = []
    for place, column in enumerate(one.encoding.columns):
        correlations = (
            [] if prior is None else [number(each) for each in prior.correlations[place, : min(place, widest)]]
        )
        row = [one.formula.entity_key if place == 0 else "", column, number(variances[place])]
        row += [number(math.sqrt(variances[place])), *correlations]
        found.append(row + [""] * (widest + 4 - len(row)))
    return found


def _given(one: FittedEffect) -> float:
    return 1.0 / one.l2 if one.l2 > 0.0 else math.inf


def _histograms(fitted: FittedModel, one: FittedEffect) -> list[str]:
    _, values = fitted.coefficients_of(one.formula.name)
    drawn = []
    for place, column in enumerate(one.encoding.columns[:4]):
        prior = one.prior
        deviation = math.sqrt(prior.variances[place] if prior is not None else _given(one))
        own = values[:, place]
        reach = float(np.max(np.abs(own), initial=0.0)) or 1.0
        reach = max(reach, min(3.0 * deviation, 4.0 * reach)) if math.isfinite(deviation) else reach
        counts, edges = np.histogram(own, bins=24, range=(-reach, reach))
        curve = deviation if math.isfinite(deviation) and deviation > 1e-3 * reach else None
        caption = f"{len(own):,} entities, deviation {number(float(own.std()))}; prior {number(deviation)}"
        title = f"{one.formula.entity_key}: {column}"
        drawn.append(figure(histogram(edges.tolist(), counts.tolist(), curve), caption, title=title))
    return drawn


def _estimation(fitted: FittedModel) -> Section | None:
    iterations = fitted.record.training.iterations
    if len(iterations) < 2:
        return None
    series = [
        Series(
            f"{one.formula.entity_key}: {column}",
            [each.number for each in iterations],
            [math.sqrt(each.variances[one.formula.name][place]) for each in iterations],
        )
        for one in fitted.record.effects
        if one.formula.name in iterations[0].variances
        for place, column in enumerate(one.encoding.columns[:3])
    ]
    if fitted.record.task == "linear":
        residual = [math.sqrt(each.residual) for each in iterations]
        series.append(Series("residual", [each.number for each in iterations], residual))
    drawn = lines(series[:6], "iteration", "standard deviation", logarithmic=True)
    caption = (
        f"{len(iterations)} iterations; the last changed no variance by more than {number(iterations[-1].change)} "
    )
    return Section(
        "Estimation of the variances",
        "Empirical Bayes, iteration by iteration: standard deviation of each coefficient between entities.",
        figure(drawn, caption + "of all there is.", title="Standard deviation by iteration"),
    )
