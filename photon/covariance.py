"""Prior covariances of random effects, and the coordinates in which they are the identity.

With ``b ~ N(0, s²·LLᵀ)`` and ``b = L u`` the penalty ``½ s² bᵀΣ⁻¹b`` is ``½ uᵀu``: an effect with any prior
covariance is a plain ridge with ``λ = 1`` on the features ``z L`` [1]_. So no solver has to know of
covariances, and one that has become singular (a variance of 0) needs no inverse.

References
----------
.. [1] D. Bates, M. Mächler, B. Bolker, S. Walker, "Fitting Linear Mixed-Effects Models Using lme4", Journal
   of Statistical Software 67 (2015), section 2.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from photon.rows import Floats, Longs, SparseRows

_FLOOR: Final = 1e-10
"""Smallest eigenvalue of a scaled covariance whose logarithm is taken."""


@dataclass(frozen=True, slots=True)
class Covariance:
    """Prior covariance ``Σ`` of a random effect's coefficients, in units of the residual variance.

    Parameters
    ----------
    matrix
        ``(d, d)`` if slopes may correlate, else the variances ``(d,)``.
    """

    matrix: Floats

    @property
    def columns(self) -> int:
        """``d``."""
        return len(self.matrix)

    @property
    def correlates(self) -> bool:
        """Whether the coefficients of an entity may correlate."""
        return self.matrix.ndim == 2

    @property
    def variances(self) -> Floats:
        """``(d,)`` the diagonal."""
        return np.diag(self.matrix).copy() if self.correlates else self.matrix

    @property
    def correlations(self) -> Floats:
        """``(d, d)``; 0 beside a coefficient without variance."""
        if not self.correlates:
            return np.eye(self.columns)
        deviations = np.sqrt(self.variances)
        scale = np.divide(1.0, deviations, out=np.zeros_like(deviations), where=deviations > 0.0)
        found: Floats = self.matrix * np.outer(scale, scale)
        np.fill_diagonal(found, 1.0)
        return found

    def factor(self) -> Floats:
        """Return ``L`` with ``Σ = LLᵀ``: ``(d, d)`` with orthogonal columns, or ``(d,)`` deviations."""
        if not self.correlates:
            return np.sqrt(self.matrix)
        values, vectors = np.linalg.eigh(self.matrix)
        root: Floats = vectors * np.sqrt(np.maximum(values, 0.0))
        return root

    def times(self, scale: float) -> "Covariance":
        """Return ``scale · Σ``."""
        return Covariance(self.matrix * scale)


def transformed(rows: SparseRows, factor: Floats) -> SparseRows:
    """Return ``Z L``: with correlation every row gets all ``d`` entries, zeros included."""
    if factor.ndim == 1:
        return SparseRows(rows.indptr, rows.indices, rows.values * factor[rows.indices], rows.columns)
    return dense_rows(rows.to_dense() @ factor)


def dense_rows(matrix: Floats) -> SparseRows:
    """Return a dense matrix as sparse rows that keep their zeros, so that every entity has every column."""
    rows, columns = matrix.shape
    indices = np.tile(np.arange(columns, dtype=np.int32), rows)
    return SparseRows(np.arange(rows + 1, dtype=np.int64) * columns, indices, matrix.ravel(), columns)


def untransformed(cells: Longs, values: Floats, factor: Floats) -> Floats:
    """Return ``b = L u`` of the cells of a random effect (:mod:`photon.entities`); with correlation all ``d`` a row."""
    if factor.ndim == 1:
        found: Floats = values * factor[cells % len(factor)]
        return found
    return (values.reshape(-1, len(factor)) @ factor.T).ravel()


def in_prior(cells: Longs, values: Floats, factor: Floats) -> Floats:
    """Return ``u`` with ``b = L u`` of the cells of a random effect: the way back from :func:`untransformed`.

    Parameters
    ----------
    cells, values
        With correlation all ``d`` of each entity.
    factor
        ``L`` as :meth:`Covariance.factor` gives it; what it has no variance for is 0, as it is under the prior.
    """
    if factor.ndim == 1:
        scale = factor[cells % len(factor)]
        return np.divide(values, scale, out=np.zeros_like(values), where=scale > 0.0)
    # The columns of L are orthogonal, so small ones are as exact as large ones, which a general inverse's are not.
    squares = np.sum(factor * factor, axis=0)
    inverse = np.divide(factor, squares, out=np.zeros_like(factor), where=squares > 0.0)
    found: Floats = (values.reshape(-1, len(factor)) @ inverse).ravel()
    return found


def packed(covariance: Covariance, scale: Floats) -> Floats:
    """Return the covariance as free numbers: the matrix logarithm in units of ``scale``, off-diagonals times √2.

    Steps and means of such vectors are covariances again, and to double a variance is as far for a small one as for
    a large one; ``scale`` ``(d,)`` are deviations of about the right size.
    """
    if not covariance.correlates:
        return np.log(np.maximum(covariance.matrix / scale**2, _FLOOR))
    values, vectors = np.linalg.eigh(covariance.matrix / np.outer(scale, scale))
    logarithm = (vectors * np.log(np.maximum(values, _FLOOR))) @ vectors.T
    upper = np.triu_indices(covariance.columns)
    found: Floats = logarithm[upper] * np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0))
    return found


def unpacked(numbers: Floats, scale: Floats, *, correlates: bool) -> Covariance:
    """Return the covariance of such numbers."""
    if not correlates:
        return Covariance(np.exp(numbers) * scale**2)
    upper = np.triu_indices(len(scale))
    logarithm = np.zeros((len(scale), len(scale)))
    logarithm[upper] = numbers / np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0))
    logarithm = logarithm + np.triu(logarithm, 1).T
    values, vectors = np.linalg.eigh(logarithm)
    return Covariance(((vectors * np.exp(values)) @ vectors.T) * np.outer(scale, scale))
