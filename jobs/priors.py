"""Priors of random effects that a training job estimates from its rows, and their record ``priors.json``."""

from collections.abc import Sequence
from typing import Final

from photon.covariance import Covariance
from photon.empirical_bayes import EmpiricalBayesSettings, Estimate
from photon.settings import CoordinateSettings
from photon.spark.posterior import estimate_priors
from photon.spark.train import SparkGlmix
from yarnmill import fs
from yarnmill.records import Record, canonical_json

PRIORS_NAME: Final = "priors.json"

_MOST_METRICS: Final = 20
"""Columns of an effect up to which every variance is a metric of the run too."""


class PriorRecord(Record, frozen=True, kw_only=True):
    """The estimated prior of one random effect.

    ``covariance`` is ``(d, d)``, or ``(1, d)`` variances where coefficients do not correlate, in units of the margin.
    """

    coordinate: str
    covariance: tuple[tuple[float, ...], ...]


class PriorsRecord(Record, frozen=True, kw_only=True):
    """The content of ``priors.json``; ``residual_variance`` is 1 for tasks that have none."""

    residual_variance: float
    iterations: int
    converged: bool
    priors: tuple[PriorRecord, ...]
    schema_version: int = 1


def estimates_priors(coordinates: Sequence[CoordinateSettings]) -> bool:
    """Return whether the prior of any coordinate is to be estimated."""
    return any(one.estimate != "none" for one in coordinates)


def estimated_priors(glmix: SparkGlmix, train: Sequence[str], settings: EmpiricalBayesSettings) -> PriorsRecord:
    """Estimate priors, have ``glmix`` fit under them from now on, and return their record."""
    found = estimate_priors(glmix, train, settings)
    return _record(found)


def _record(found: Estimate) -> PriorsRecord:
    return PriorsRecord(
        residual_variance=found.variances.residual,
        iterations=len(found.iterations),
        converged=found.converged,
        priors=tuple(
            PriorRecord(coordinate=name, covariance=_plain(one)) for name, one in found.variances.effects.items()
        ),
    )


def _plain(covariance: Covariance) -> tuple[tuple[float, ...], ...]:
    matrix = covariance.matrix if covariance.correlates else covariance.matrix[None, :]
    return tuple(tuple(row) for row in matrix.tolist())


def prior_metrics(record: PriorsRecord) -> dict[str, float]:
    """Return the variances as metrics: ``prior_variance_<coordinate>_<column>``."""
    found = {"residual_variance": record.residual_variance}
    for one in record.priors:
        width = len(one.covariance[0])
        if width <= _MOST_METRICS:
            rows = [min(column, len(one.covariance) - 1) for column in range(width)]
            found |= {
                f"prior_variance_{one.coordinate}_{column}": one.covariance[row][column]
                for column, row in enumerate(rows)
            }
    return found


def write_priors(output: str, record: PriorsRecord) -> str:
    """Write ``priors.json``; return its URL."""
    url = fs.join(output, PRIORS_NAME)
    fs.write_bytes(url, canonical_json(record))
    return url
