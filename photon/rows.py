"""Rows of sparse features with their labels: the layout that every pass over data works on.

Compressed sparse rows in plain NumPy arrays, so a block pickles, memory-maps and crosses process
borders as it is. Nothing here knows a loss.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

_MOST_NARROW: Final = 2**31
_DENSE_CELLS: Final = 1 << 20
"""Cells (8 MiB) of the dense copy that a weighted Gram matrix works through at a time."""


def as_columns(places: Longs, columns: int) -> Ints | Longs:
    """Return numbers below ``columns`` as narrow as those allow: 32 bits but for two thousand million and more."""
    return places.astype(np.int32, copy=False) if columns <= _MOST_NARROW else places.astype(np.int64, copy=False)


def sums_by(places: Longs | Ints, values: Floats, length: int) -> Floats:
    """Return the sum of the values at each of ``length`` places."""
    return np.bincount(places, weights=values, minlength=length).astype(np.float64, copy=False)


@dataclass(frozen=True, slots=True)
class SparseRows:
    """A sparse matrix ``X`` of shape ``(rows, columns)``.

    Parameters
    ----------
    indptr
        ``(rows + 1,)``: row ``i`` owns the entries ``indptr[i]:indptr[i + 1]``.
    indices
        Column of each entry: of 32 bits, or of 64 where the columns are the cells of very many entities.
    values
        Value of each entry.
    columns
        Number of columns.
    """

    indptr: Longs
    indices: Ints | Longs
    values: Floats
    columns: int

    @classmethod
    def from_dense(cls, matrix: Floats) -> Self:
        """Return a dense matrix as sparse rows; zeros are left out."""
        rows, columns = np.nonzero(matrix)
        indptr = np.searchsorted(rows, np.arange(len(matrix) + 1)).astype(np.int64)
        return cls(indptr, columns.astype(np.int32), matrix[rows, columns].astype(np.float64), matrix.shape[1])

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def row_of(self) -> Longs:
        """Row of each entry."""
        return np.repeat(np.arange(len(self)), np.diff(self.indptr))

    def dot(self, coefficients: Floats) -> Floats:
        """Return ``X b``, shape ``(rows,)``."""
        return sums_by(self.row_of, self.values * coefficients[self.indices], len(self))

    def transposed_dot(self, vector: Floats) -> Floats:
        """Return ``Xᵀ v``, shape ``(columns,)``."""
        return sums_by(self.indices, self.values * vector[self.row_of], self.columns)

    def gram(self, weights: Floats) -> Floats:
        """Return ``Xᵀ diag(w) X``, shape ``(columns, columns)``, in bounded memory."""
        total = np.zeros((self.columns, self.columns))
        step = max(1, _DENSE_CELLS // max(1, self.columns))
        for start in range(0, len(self), step):
            chunk = self.slice(start, min(start + step, len(self))).to_dense()
            total += chunk.T @ (chunk * weights[start : start + step, None])
        return total

    def squared(self) -> "SparseRows":
        """Return the matrix with each entry squared."""
        return SparseRows(self.indptr, self.indices, self.values * self.values, self.columns)

    def slice(self, start: int, stop: int) -> "SparseRows":
        """Return the rows from ``start`` up to ``stop``."""
        first, last = self.indptr[start], self.indptr[stop]
        indptr = self.indptr[start : stop + 1] - first
        return SparseRows(indptr, self.indices[first:last], self.values[first:last], self.columns)

    def take(self, rows: Longs) -> "SparseRows":
        """Return the named rows in the named order."""
        lengths = np.diff(self.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        entries = np.arange(indptr[-1]) + np.repeat(self.indptr[rows] - indptr[:-1], lengths)
        return SparseRows(indptr, self.indices[entries], self.values[entries], self.columns)

    def to_dense(self) -> Floats:
        """Return the matrix with its zeros; a column that stands twice in a row counts twice."""
        places = self.row_of * np.int64(self.columns) + self.indices
        return sums_by(places, self.values, len(self) * self.columns).reshape(len(self), self.columns)


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows with label, weight and offset, all of length ``len(rows)``; a row of weight 0 trains nothing."""

    rows: SparseRows
    labels: Floats
    weights: Floats
    offsets: Floats
