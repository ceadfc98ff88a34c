"""The posterior of a random effect's coefficients given all other effects, entity by entity.

In the coordinates of :mod:`photon.covariance` the prior is ``N(0, I)``, and given all other effects the
coefficients of an entity are, by Laplace's approximation (exactly, for the linear task),
``N(û, V)`` with ``V = (Z_eᵀ W Z_e + I)⁻¹`` and ``W`` the curvature of the row losses at the mode. Entities
with the same number of cells are done together; no intermediate array is larger than a few million numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from photon.entities import EntityRows
from photon.rows import Floats, Longs, Mask

_BATCH: Final = 1 << 21
"""Numbers in the largest intermediate array: 16 MiB."""

_WIDE: Final = 64
"""From so many cells on, one matrix product an entity is quicker than many small ones side by side."""


@dataclass(frozen=True, slots=True)
class Posteriors:
    """Posterior covariances of some entities with ``c`` cells each.

    Parameters
    ----------
    cells
        ``(entities, c)`` numbers of their cells.
    covariance
        ``(entities, c, c)``.
    of_rows
        The entities' rows.
    variances
        ``zᵢᵀ V zᵢ``: the variance that the covariance gives the margin of each of these rows.
    """

    cells: Longs
    covariance: Floats
    of_rows: Longs
    variances: Floats


def posteriors(rows: EntityRows, curvature: Floats) -> Iterator[Posteriors]:
    """Yield the posterior covariances of all entities of an effect whose prior is ``N(0, I)``.

    Parameters
    ----------
    rows
        Rows by entity.
    curvature
        ``(rows,)`` weight times second derivative of the loss at the mode.
    """
    for entities in _batches(rows):
        features, owner, of_rows = _dense(rows, entities)
        precisions = _precisions(features, owner, curvature[of_rows], len(entities))
        covariance = np.linalg.inv(precisions).astype(np.float64, copy=False)
        cells = rows.cell_ptr[entities][:, None] + np.arange(features.shape[1])
        yield Posteriors(cells, covariance, of_rows, _quadratic(features, owner, covariance))


def summed(found: Sequence[Posteriors], cell_columns: Longs, columns: int, *, correlates: bool) -> Floats:
    """Return ``Σ V`` over entities: ``(d, d)``, for which every entity has every column, or its diagonal ``(d,)``."""
    if correlates:
        total = np.zeros((columns, columns))
        for one in found:
            total += one.covariance.sum(axis=0)
        return total
    diagonal = np.zeros(columns)
    for one in found:
        variances = np.diagonal(one.covariance, axis1=1, axis2=2)
        diagonal += np.bincount(cell_columns[one.cells.ravel()], variances.ravel(), minlength=columns)
    return diagonal


def second_moments(cell_columns: Longs, values: Floats, columns: int, *, correlates: bool) -> Floats:
    """Return ``Σ v vᵀ`` over entities ``(d, d)``, or ``Σ v²`` a column ``(d,)``, of values a cell."""
    if correlates:
        each = values.reshape(-1, columns)
        return each.T @ each
    return np.bincount(cell_columns, weights=values * values, minlength=columns).astype(np.float64)


def idle_cells(row_ptr: Longs, cell_ptr: Longs, weights: Floats) -> Mask:
    """Return whether each cell ``(cells,)`` is of an entity without a row that trains: nothing is learnt from it."""
    trained = np.concatenate([[0], np.cumsum(weights > 0.0)])[row_ptr]
    idle: Mask = np.repeat(trained[1:] == trained[:-1], np.diff(cell_ptr))
    return idle


def _batches(rows: EntityRows) -> Iterator[Longs]:
    """Yield positions of entities that have equally many cells, in batches of bounded size."""
    sizes, lengths = np.diff(rows.cell_ptr), np.diff(rows.row_ptr)
    for size in np.unique(sizes[sizes > 0]):
        entities = np.flatnonzero(sizes == size)
        if size > _WIDE:
            yield from np.split(entities, len(entities))
            continue
        # An entity costs its dense rows and its matrix; whoever exceeds the bound alone is a batch alone.
        cost = np.cumsum((lengths[entities] + size) * size)
        yield from np.split(entities, np.flatnonzero(np.diff(cost // _BATCH)) + 1)


def _dense(rows: EntityRows, entities: Longs) -> tuple[Floats, Longs, Longs]:
    """Return the entities' rows as ``(r, c)`` over their own cells, the place of each row's entity, and the rows."""
    lengths = np.diff(rows.row_ptr)[entities]
    owner = np.repeat(np.arange(len(entities)), lengths)
    of_rows = ranges(rows.row_ptr[entities], lengths)
    size = int(rows.cell_ptr[entities[0] + 1] - rows.cell_ptr[entities[0]])
    examples = rows.examples.rows
    entries = np.diff(examples.indptr)[of_rows]
    place = ranges(examples.indptr[of_rows], entries)
    features = np.zeros((len(of_rows), size))
    np.add.at(features, (np.repeat(np.arange(len(of_rows)), entries), rows.local[place]), examples.values[place])
    return features, owner, of_rows


def ranges(starts: Longs, lengths: Longs) -> Longs:
    """Return the integers ``start … start + length - 1`` of each pair, one after the other."""
    ends = np.cumsum(lengths)
    found: Longs = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
    return found


def _precisions(features: Floats, owner: Longs, curvature: Floats, entities: int) -> Floats:
    """Return ``Z_eᵀ W Z_e + I`` of each entity, ``(entities, c, c)``."""
    size = features.shape[1]
    found = np.zeros((entities, size, size))
    if entities == 1:
        found[0] = features.T @ (features * curvature[:, None])
    else:
        step = max(1, _BATCH // (size * size))
        for start in range(0, len(owner), step):
            part, own = features[start : start + step], owner[start : start + step]
            outer = np.einsum("r,ri,rj->rij", curvature[start : start + step], part, part)
            first = np.flatnonzero(np.concatenate([[True], own[1:] != own[:-1]]))
            found[own[first]] += np.add.reduceat(outer, first, axis=0)
    found += np.eye(size)
    return found


def _quadratic(features: Floats, owner: Longs, covariance: Floats) -> Floats:
    """Return ``zᵢᵀ V zᵢ`` of each row."""
    if len(covariance) == 1:
        alone: Floats = np.einsum("ri,ri->r", features @ covariance[0], features)
        return alone
    step = max(1, _BATCH // features.shape[1] ** 2)
    found = np.empty(len(owner))
    for start in range(0, len(owner), step):
        part = features[start : start + step]
        found[start : start + step] = np.einsum("ri,rij,rj->r", part, covariance[owner[start : start + step]], part)
    return found
