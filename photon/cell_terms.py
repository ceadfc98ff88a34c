"""The regularisation of a random effect, cell by cell (:mod:`photon.entities`)."""

from dataclasses import dataclass, replace

import numpy as np

from photon.entities import EntityRows
from photon.normalise import Scaling
from photon.objective import Penalty
from photon.regularisation import Regularisation
from photon.rows import Floats, Longs, sums_by


@dataclass(frozen=True, slots=True)
class CellTerms:
    """As :class:`~photon.regularisation.Regularisation`, with one number a cell.

    Parameters
    ----------
    cell_ptr
        ``(E + 1,)``: where the cells of each entity begin.
    l2, l1, lower, upper, factors, shifts
        ``(cells,)`` of normalised coefficients, but for the bounds, which are of original ones.
    means, precisions
        ``(cells,)`` of a prior on original coefficients; precision 0 is none.
    anchors
        ``(E,)`` the cell of each entity's intercept, which takes up shifts; -1 without one.
    """

    cell_ptr: Longs
    l2: Floats
    l1: Floats
    lower: Floats
    upper: Floats
    factors: Floats
    shifts: Floats
    means: Floats
    precisions: Floats
    anchors: Longs

    @classmethod
    def of(cls, rows: EntityRows, regularisation: Regularisation) -> "CellTerms":
        """Return the terms of the cells of ``rows`` from those of their columns."""
        columns, scaling = rows.cell_columns, regularisation.scaling
        corners, count = regularisation.corners, len(rows.cells)
        anchors = np.full(len(rows.entities), -1, np.int64)
        shifts = np.zeros(count)
        if scaling is not None and scaling.intercept is not None:
            own = np.flatnonzero(columns == scaling.intercept)
            entity = np.searchsorted(rows.cell_ptr, own, side="right") - 1
            anchors[entity] = own
            # An entity whose rows lack the intercept has nothing to take up a shift.
            shifts = scaling.shifts[columns] * np.repeat(anchors >= 0, np.diff(rows.cell_ptr))
        return cls(
            cell_ptr=rows.cell_ptr,
            l2=regularisation.penalty.l2[columns],
            l1=corners.l1[columns],
            lower=regularisation.lower[columns],
            upper=regularisation.upper[columns],
            factors=np.ones(count) if scaling is None else scaling.factors[columns],
            shifts=shifts,
            means=np.zeros(count),
            precisions=np.zeros(count),
            anchors=anchors,
        )

    @classmethod
    def ridge(cls, rows: EntityRows, column_l2: Floats) -> "CellTerms":
        """Return nothing but L2, with the ``λ`` of each cell's column."""
        l2 = column_l2[rows.cell_columns]
        zeros, endless = np.zeros_like(l2), np.full_like(l2, np.inf)
        none = np.full(len(rows.entities), -1, np.int64)
        return cls(rows.cell_ptr, l2, zeros, -endless, endless, np.ones_like(l2), zeros, zeros, zeros, none)

    def with_prior(self, means: Floats, variances: Floats, weight: float) -> "CellTerms":
        """Return the terms with a prior in place of L2 in the cells whose variance is known (positive, finite).

        Elsewhere a mean pulls at nothing; it is where an entity without data rests.
        """
        is_known = (variances > 0.0) & np.isfinite(variances)
        return replace(
            self,
            l2=np.where(is_known, 0.0, self.l2),
            means=means,
            precisions=np.where(is_known, weight / np.where(is_known, variances, 1.0), 0.0),
        )

    @property
    def is_smooth(self) -> bool:
        """Whether there are neither L1 nor bounds, nor shifts that a penalised intercept takes up."""
        anchored = self.l2[self.anchors[self.anchors >= 0]]
        is_shifted = bool(np.any(self.shifts != 0.0) and np.any(anchored > 0.0))
        is_bounded = bool(np.any(self.lower > -np.inf) or np.any(self.upper < np.inf))
        return not (np.any(self.l1 > 0.0) or is_bounded or is_shifted)

    @property
    def quadratic(self) -> Floats:
        """Curvature of the smooth terms of original coefficients, where :attr:`is_smooth`."""
        return self.precisions + self.l2 / (self.factors * self.factors)

    @property
    def linear(self) -> Floats:
        """Pull of the smooth terms: ``½·quadratic·b² - linear·b`` are they, up to a constant."""
        return self.precisions * self.means

    def value(self, coefficients: Floats) -> float:
        """Return penalty and prior of original coefficients, L1 included."""
        normalised = self.normalised(coefficients)
        apart = coefficients - self.means
        smooth = 0.5 * (np.dot(self.l2, normalised * normalised) + np.dot(self.precisions, apart * apart))
        return float(smooth + np.dot(self.l1, np.abs(normalised)))

    def normalised(self, original: Floats) -> Floats:
        """Return normalised coefficients."""
        normalised: Floats = original / self.factors
        entities = np.flatnonzero(self.anchors >= 0)
        if len(entities):
            of_cell = np.repeat(np.arange(len(self.anchors)), np.diff(self.cell_ptr))
            normalised[self.anchors[entities]] += sums_by(of_cell, self.shifts * original, len(self.anchors))[entities]
        return normalised

    def resting(self) -> Floats:
        """Return the coefficients of entities without data: the prior's means, or the nearest allowed."""
        return np.minimum(np.maximum(self.means, self.lower), self.upper)

    def of_entity(self, entity: int) -> Regularisation:
        """Return the terms of one entity, its cells as columns."""
        own = slice(self.cell_ptr[entity], self.cell_ptr[entity + 1])
        anchor = int(self.anchors[entity] - self.cell_ptr[entity]) if self.anchors[entity] >= 0 else None
        return Regularisation(
            penalty=Penalty(self.l2[own], self.l1[own]),
            lower=self.lower[own],
            upper=self.upper[own],
            scaling=Scaling(self.factors[own], self.shifts[own], anchor),
            prior=Penalty(self.precisions[own], centre=self.means[own]),
        )
