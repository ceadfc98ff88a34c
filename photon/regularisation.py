"""All of an effect's objective that is not its rows: penalty, prior, bounds and normalisation.

Penalty and bounds are on normalised coefficients ``b'``, a prior from an earlier model on the original
ones, and the rows see original ones too (:mod:`photon.normalise`); without normalisation they are the same.
A column that has a prior has it in place of its L2 penalty.
"""

from dataclasses import dataclass

import numpy as np

from photon.normalise import FeatureStatistics, Scaling, scaling_for
from photon.objective import Derivatives, Penalty
from photon.optimise import Corners
from photon.rows import Floats
from photon.settings import CoordinateSettings
from yarnmill.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Regularisation:
    """What shapes the coefficients of an effect besides its rows; arrays are ``(columns,)``.

    Parameters
    ----------
    penalty
        On normalised coefficients.
    lower, upper
        Bounds of the original coefficients.
    scaling
        Normalisation, if any.
    prior
        Means and precisions of original coefficients, if there is an earlier model.
    """

    penalty: Penalty
    lower: Floats
    upper: Floats
    scaling: Scaling | None = None
    prior: Penalty | None = None

    @property
    def columns(self) -> int:
        """Number of columns."""
        return len(self.penalty.l2)

    @property
    def precision(self) -> Floats:
        """Curvature of penalty and prior together, where there is no normalisation."""
        return self.penalty.l2 if self.prior is None else self.penalty.l2 + self.prior.l2

    @property
    def corners(self) -> Corners:
        """L1 and bounds of the normalised coefficients."""
        l1 = np.zeros(self.columns) if self.penalty.l1 is None else self.penalty.l1
        factors = np.ones(self.columns) if self.scaling is None else self.scaling.factors
        return Corners(l1, self.lower / factors, self.upper / factors)

    def value(self, coefficients: Floats) -> float:
        """Return penalty and prior of original coefficients."""
        prior = 0.0 if self.prior is None else self.prior.value(coefficients)
        return prior + self.penalty.value(self.normalised(coefficients))

    def original(self, normalised: Floats) -> Floats:
        """Return the coefficients that rows are multiplied with."""
        return normalised if self.scaling is None else self.scaling.original(normalised)

    def within(self, original: Floats) -> Floats:
        """Return coefficients within the bounds, which normalisation leaves by a rounding error."""
        return np.minimum(np.maximum(original, self.lower), self.upper)

    def normalised(self, original: Floats) -> Floats:
        """Return the coefficients that are penalised."""
        return original if self.scaling is None else self.scaling.normalised(original)

    def added_to(self, data: Derivatives, normalised: Floats) -> Derivatives:
        """Return the smooth objective of normalised coefficients, from the rows' sums at the original ones."""
        if self.prior is not None:
            data = self.prior.added_to(data, self.original(normalised))
        if self.scaling is not None:
            hessian = None if data.hessian is None else self.scaling.hessian(data.hessian)
            data = Derivatives(data.value, self.scaling.gradient(data.gradient), hessian)
        return self.penalty.added_to(data, normalised)

    def product(self, data: Floats, vector: Floats) -> Floats:
        """Return the smooth objective's Hessian times a normalised ``vector``, from the rows' product.

        ``data`` is the rows' product with ``original(vector)``.
        """
        if self.prior is not None:
            data = data + self.prior.l2 * self.original(vector)
        if self.scaling is not None:
            data = self.scaling.gradient(data)
        return data + self.penalty.l2 * vector

    def normalised_diagonal(self, data: Floats, intercept: Floats | None) -> Floats:
        """Return the diagonal of the smooth objective's Hessian in normalised coefficients, kept above 0.

        Parameters
        ----------
        data
            The diagonal of the rows' Hessian.
        intercept
            Its row of the intercept; needed where features are shifted.
        """
        diagonal = data if self.prior is None else data + self.prior.l2
        if self.scaling is not None:
            factors, shifts = self.scaling.factors, self.scaling.shifts
            if intercept is not None:
                diagonal = diagonal - shifts * (2.0 * intercept - shifts * diagonal[self.scaling.intercept])
            diagonal = factors * factors * diagonal
        diagonal = diagonal + self.penalty.l2
        largest = float(diagonal.max(initial=0.0))
        return np.where(diagonal > 0.0, diagonal, largest if largest > 0.0 else 1.0)

    def hessian(self, data: Floats) -> Floats:
        """Return the smooth objective's Hessian in original coefficients, from the rows' Hessian."""
        prior = 0.0 if self.prior is None else np.diag(self.prior.l2)
        own = np.diag(self.penalty.l2) if self.scaling is None else self.scaling.penalty_hessian(self.penalty.l2)
        whole: Floats = data + prior + own
        return whole

    def hessian_diagonal(self, data: Floats) -> Floats:
        """Return the diagonal of :meth:`hessian`, from the rows' diagonal."""
        prior = 0.0 if self.prior is None else self.prior.l2
        own = self.penalty.l2 if self.scaling is None else self.scaling.penalty_diagonal(self.penalty.l2)
        whole: Floats = data + prior + own
        return whole


def regularisation_of(
    settings: CoordinateSettings,
    columns: int,
    intercept: int | None,
    statistics: FeatureStatistics | None = None,
) -> Regularisation:
    """Return what settings say of an effect, but for a prior.

    Parameters
    ----------
    settings
        Of the coordinate.
    columns, intercept
        Of its shard.
    statistics
        Of its shard's columns; needed if there is a normalisation.
    """
    if statistics is None and settings.normalisation != "none":
        raise ValueError(f"{settings.name}: normalisation without statistics")
    scaling = None if statistics is None else scaling_for(settings.normalisation, statistics, intercept)
    penalty = Penalty.ridge(
        settings.l2,
        columns,
        intercept=intercept,
        penalise_intercept=settings.intercept_is_penalised,
        l1=settings.l1,
    )
    lower, upper = _bounds(settings, columns, intercept)
    if scaling is not None and scaling.has_shift and (np.isfinite([lower[intercept], upper[intercept]])).any():
        raise ConfigurationError(
            f"coordinate {settings.name}: bounds: the intercept is bounded",
            expected="no bounds of the intercept where standardization shifts the features",
        )
    return Regularisation(penalty, lower, upper, scaling)


def _bounds(settings: CoordinateSettings, columns: int, intercept: int | None) -> tuple[Floats, Floats]:
    lower, upper = np.full(columns, -np.inf), np.full(columns, np.inf)
    for bound in settings.bounds:
        places: int | Floats = np.arange(columns) != (-1 if intercept is None else intercept)
        if bound.column is not None:
            if bound.column >= columns:
                raise ConfigurationError(
                    f"coordinate {settings.name}: bounds: no column {bound.column}", expected=f"less than {columns}"
                )
            places = bound.column
        lower[places] = -np.inf if bound.lower is None else bound.lower
        upper[places] = np.inf if bound.upper is None else bound.upper
    return lower, upper


def with_prior(plain: Regularisation, means: Floats, variances: Floats, weight: float) -> Regularisation:
    """Return a regularisation with a Gaussian prior in place of L2 in the columns whose variance is known: positive.

    Parameters
    ----------
    plain
        Without prior.
    means, variances
        ``(columns,)`` of the earlier model, in original coefficients.
    weight
        Precisions are ``weight / variance``: below 1 the earlier model is forgotten step by step.
    """
    is_known = (variances > 0.0) & np.isfinite(variances)
    precisions = np.where(is_known, weight / np.where(is_known, variances, 1.0), 0.0)
    l2 = np.where(is_known, 0.0, plain.penalty.l2)
    return Regularisation(
        penalty=Penalty(l2, plain.penalty.l1),
        lower=plain.lower,
        upper=plain.upper,
        scaling=plain.scaling,
        prior=Penalty(precisions, centre=np.where(is_known, means, 0.0)),
    )
