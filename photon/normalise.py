"""Feature statistics, and normalisation that never touches the data.

A normalised feature is ``x' = (x - shift) · factor``. A model in normalised features is one in the original
ones, ``b = T b'``: ``bⱼ = factorⱼ b'ⱼ``, and the intercept takes up ``-Σ shiftⱼ bⱼ``. So rows are always
multiplied with ``T b'``, and what comes back of them is turned by ``Tᵀ`` (gradient ``Tᵀg``, Hessian
``TᵀHT``): blocks of rows know nothing of it, and the model that is kept is the original one.
"""

from dataclasses import dataclass

import numpy as np

from photon.rows import Floats, SparseRows, sums_by
from photon.settings import Normalisation
from yarnmill.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """Statistics of each column over rows of positive weight; ``+`` gives those of both sets of rows.

    Zeros that are not stored count. Weights count rows, so a row of weight 2 is a row twice.

    Parameters
    ----------
    rows
        Rows of positive weight.
    weight
        Their total weight.
    mean
        ``(columns,)`` weighted means.
    squares
        ``(columns,)`` weighted sums of squared deviations from the mean.
    minimum, maximum
        ``(columns,)``; infinite without rows.
    nonzeros
        ``(columns,)`` entries other than 0.
    """

    rows: int
    weight: float
    mean: Floats
    squares: Floats
    minimum: Floats
    maximum: Floats
    nonzeros: Floats

    @classmethod
    def of(cls, rows: SparseRows, weights: Floats) -> "FeatureStatistics":
        """Return the statistics of a block of rows."""
        counted = weights > 0.0
        total = float(weights[counted].sum())
        entries = counted[rows.row_of]
        columns, values, weight = rows.indices[entries], rows.values[entries], weights[rows.row_of[entries]]
        stored = sums_by(columns, weight, rows.columns)
        mean = sums_by(columns, weight * values, rows.columns) / max(total, np.finfo(np.float64).tiny)
        # Deviations rather than squares minus a square: nothing cancels, however far a mean is from 0.
        squares = sums_by(columns, weight * (values - mean[columns]) ** 2, rows.columns) + (total - stored) * mean**2
        is_whole = np.bincount(columns, minlength=rows.columns) >= int(counted.sum())
        start = np.where(is_whole, np.inf, 0.0)
        minimum, maximum = start.copy(), -start
        np.minimum.at(minimum, columns, values)
        np.maximum.at(maximum, columns, values)
        nonzeros = sums_by(columns, (values != 0.0).astype(np.float64), rows.columns)
        return cls(int(counted.sum()), total, mean, np.maximum(squares, 0.0), minimum, maximum, nonzeros)

    def __add__(self, other: "FeatureStatistics") -> "FeatureStatistics":
        # T. F. Chan, G. H. Golub and R. J. LeVeque, "Algorithms for computing the sample variance" (1983).
        weight = self.weight + other.weight
        share = other.weight / weight if weight > 0.0 else 0.0
        apart = other.mean - self.mean
        return FeatureStatistics(
            rows=self.rows + other.rows,
            weight=weight,
            mean=self.mean + share * apart,
            squares=self.squares + other.squares + self.weight * share * apart**2,
            minimum=np.minimum(self.minimum, other.minimum),
            maximum=np.maximum(self.maximum, other.maximum),
            nonzeros=self.nonzeros + other.nonzeros,
        )

    @property
    def variance(self) -> Floats:
        """Weighted variances, with the total weight as divisor."""
        return self.squares / self.weight if self.weight > 0.0 else np.zeros_like(self.squares)

    @property
    def max_magnitude(self) -> Floats:
        """Largest absolute values."""
        largest = np.maximum(np.abs(self.minimum), np.abs(self.maximum))
        return np.where(np.isfinite(largest), largest, 0.0)


@dataclass(frozen=True, slots=True)
class Scaling:
    """``x' = (x - shift) · factor``, column by column; the intercept has factor 1 and shift 0.

    Without an intercept all shifts are 0: nothing could take them up.
    """

    factors: Floats
    shifts: Floats
    intercept: int | None

    @property
    def has_shift(self) -> bool:
        """Whether any column is shifted."""
        return bool(np.any(self.shifts != 0.0))

    def original(self, normalised: Floats) -> Floats:
        """Return ``b = T b'``."""
        coefficients = self.factors * normalised
        if self.intercept is not None:
            coefficients[self.intercept] -= self.shifts @ coefficients
        return coefficients

    def normalised(self, original: Floats) -> Floats:
        """Return ``b' = T⁻¹ b``."""
        coefficients = original / self.factors
        if self.intercept is not None:
            coefficients[self.intercept] = original[self.intercept] + self.shifts @ original
        return coefficients

    def gradient(self, original: Floats) -> Floats:
        """Return ``Tᵀ g``."""
        if self.intercept is None:
            return self.factors * original
        unshifted: Floats = original - self.shifts * original[self.intercept]
        return self.factors * unshifted

    def hessian(self, original: Floats) -> Floats:
        """Return ``Tᵀ H T``."""
        if self.intercept is not None:
            original = original - np.outer(self.shifts, original[self.intercept])
            original = original - np.outer(original[:, self.intercept], self.shifts)
        turned: Floats = self.factors[:, None] * original * self.factors
        return turned

    def penalty_hessian(self, l2: Floats) -> Floats:
        """Return ``T⁻ᵀ diag(l2) T⁻¹``: what a penalty on normalised coefficients is to original ones."""
        hessian: Floats = np.diag(l2 / (self.factors * self.factors))
        if self.intercept is not None and self.has_shift:
            own = self.shifts.copy()
            own[self.intercept] = 1.0
            hessian[self.intercept, self.intercept] = 0.0
            hessian += l2[self.intercept] * np.outer(own, own)
        return hessian

    def penalty_diagonal(self, l2: Floats) -> Floats:
        """Return the diagonal of :meth:`penalty_hessian`."""
        own = 0.0 if self.intercept is None else l2[self.intercept] * self.shifts * self.shifts
        return l2 / (self.factors * self.factors) + own


def scaling_for(kind: Normalisation, statistics: FeatureStatistics, intercept: int | None) -> Scaling | None:
    """Return the scaling of a normalisation, or None where nothing is scaled; a constant column stays as it is.

    Raises
    ------
    ConfigurationError
        If columns are to be shifted and there is no intercept.
    """
    if kind == "none":
        return None
    if kind == "standardization" and intercept is None:
        raise ConfigurationError(
            "normalisation: standardization without an intercept",
            expected="standard_deviation or max_magnitude: the intercept takes up what features are shifted by",
        )
    sizes = statistics.max_magnitude if kind == "max_magnitude" else np.sqrt(statistics.variance)
    # Rounding leaves a constant column a variance a little above 0.
    is_constant = sizes <= 1e-12 * np.maximum(statistics.max_magnitude, np.finfo(np.float64).tiny)
    factors = 1.0 / np.where(is_constant, 1.0, sizes)
    shifts = np.where(is_constant, 0.0, statistics.mean) if kind == "standardization" else np.zeros_like(factors)
    if intercept is not None:
        factors[intercept], shifts[intercept] = 1.0, 0.0
    return Scaling(factors, shifts, intercept)
