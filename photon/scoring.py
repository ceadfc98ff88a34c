"""Scores of rows under a model: plain NumPy, the same for serving, batch and tests.

An entity that the model does not know, and a column that an entity has no coefficient for, count 0.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from photon.entities import Keys
from photon.loss import loss_of
from photon.model import Effect, FixedEffect, GlmixModel, RandomEffect
from photon.rows import Floats, Longs, SparseRows, sums_by

_TABLE_CELLS: Final = 1 << 20
"""Cells (8 MiB) of the table that holds the coefficients of a batch's entities."""

_LEAST_STEP: Final = 64
"""Rows that must fit in the table at once."""

_CELLS_AN_ENTRY: Final = 8
"""Cells of the entities an entry of their rows up to which copying them costs less than searching."""


def positions(sorted_values: Keys, wanted: Keys) -> Longs:
    """Return where each wanted value stands in an ascending array, or -1."""
    if not len(sorted_values) or not len(wanted):
        return np.full(len(wanted), -1, np.int64)
    if wanted.dtype.kind == "U" and wanted.dtype.itemsize > sorted_values.dtype.itemsize:
        # NumPy would widen, and so copy, the whole mapped array; text longer than any in it is not in it.
        fits = np.strings.str_len(wanted.astype(np.str_)) * 4 <= sorted_values.dtype.itemsize
        narrow = positions(sorted_values, wanted.astype(sorted_values.dtype))
        return np.where(fits, narrow, -1)
    found = np.searchsorted(sorted_values, wanted)
    inside = np.minimum(found, len(sorted_values) - 1)
    return np.where(sorted_values[inside] == wanted, inside, -1).astype(np.int64, copy=False)


def score_effect(effect: Effect, rows: SparseRows, ids: Keys | None) -> Floats:
    """Return one effect's part of the margin of each row."""
    if isinstance(effect, FixedEffect):
        return rows.dot(effect.coefficients)
    if ids is None:
        raise ValueError(f"{effect.name}: rows without {effect.entity}")
    return _score_random(effect, rows, ids)


def _score_random(effect: RandomEffect, rows: SparseRows, ids: Keys) -> Floats:
    step = _TABLE_CELLS // max(1, effect.columns)
    if len(rows) <= step:
        return _score_some(effect, rows, ids)
    if step < _LEAST_STEP:
        return _searched(effect, rows, *_by_entity(effect, ids))
    starts = range(0, len(rows), step)
    return np.concatenate(
        [_score_some(effect, rows.slice(at, min(at + step, len(rows))), ids[at : at + step]) for at in starts]
    )


def _by_entity(effect: RandomEffect, ids: Keys) -> tuple[Longs, Longs]:
    """Return the rows of known entities, ordered by them, and the position of each one's entity."""
    if ids.dtype.kind in "iu":
        # Ascending needles: each search begins where the one before it ended, and stays in the cache.
        order = np.argsort(ids)
        entity = positions(effect.entities, ids[order])
    else:
        found = positions(effect.entities, ids)  # text is searched sooner than sorted
        order = np.argsort(found)
        entity = found[order]
    known = entity >= 0
    return order[known], entity[known]


def _score_some(effect: RandomEffect, rows: SparseRows, ids: Keys) -> Floats:
    """Score by a dense table of the coefficients of each row's entity: two searches a row and none an entry."""
    order, entity = _by_entity(effect, ids)
    columns = np.int64(effect.columns)
    first = entity * columns
    start = np.searchsorted(effect.cells, first)
    lengths = np.searchsorted(effect.cells, first + columns) - start
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    if total > _CELLS_AN_ENTRY * len(rows.indices):
        return _searched(effect, rows, order, entity)
    cell = np.arange(total) + np.repeat(start + lengths - ends, lengths)
    table = np.zeros(len(rows) * effect.columns)
    table[effect.cells[cell] + np.repeat(order * columns - first, lengths)] = effect.coefficients[cell]
    row_of = rows.row_of
    return sums_by(row_of, rows.values * table[row_of * columns + rows.indices], len(rows))


def _searched(effect: RandomEffect, rows: SparseRows, order: Longs, entity: Longs) -> Floats:
    """Score by a search an entry: for entities with far more columns than their rows have."""
    base = np.full(len(rows), -1, np.int64)
    base[order] = entity * np.int64(effect.columns)
    row_of = rows.row_of
    wanted = base[row_of]
    wanted[wanted >= 0] += rows.indices[wanted >= 0]
    by_cell = np.argsort(wanted)
    cell = positions(effect.cells, wanted[by_cell])
    hit = cell >= 0
    entry = by_cell[hit]
    parts = np.zeros(len(wanted))
    parts[entry] = rows.values[entry] * effect.coefficients[cell[hit]]
    return sums_by(row_of, parts, len(rows))


def contributions(model: GlmixModel, shards: Mapping[str, SparseRows], ids: Mapping[str, Keys]) -> dict[str, Floats]:
    """Return what each effect adds to the margin of each row, by its name; offsets are not among them."""
    return {
        effect.name: score_effect(
            effect, shards[effect.shard], ids[effect.entity] if isinstance(effect, RandomEffect) else None
        )
        for effect in model.effects
    }


def margins(model: GlmixModel, shards: Mapping[str, SparseRows], ids: Mapping[str, Keys], offsets: Floats) -> Floats:
    """Return the margin of each row: the sum of all effects and the offset.

    Parameters
    ----------
    model
        The model.
    shards
        The rows' features by shard.
    ids
        The rows' entity ids by entity key.
    offsets
        ``(rows,)``.
    """
    total = np.array(offsets, dtype=np.float64)
    for part in contributions(model, shards, ids).values():
        total += part
    return total


def means(model: GlmixModel, margin: Floats) -> Floats:
    """Return ``E[y]`` of each margin: a probability for the logistic task."""
    mean: Floats = loss_of(model.task).mean(margin)
    return mean
