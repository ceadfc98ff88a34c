"""Scores of rows under a model: plain NumPy, the same for serving, batch and tests.

An entity that the model does not know, and a column that an entity has no coefficient for, count 0.
"""

from collections.abc import Mapping

import numpy as np

from photon.entities import Keys
from photon.loss import loss_of
from photon.model import Effect, FixedEffect, GlmixModel, RandomEffect
from photon.rows import Floats, Ints, Longs, SparseRows, sums_by


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
    return np.where(sorted_values[inside] == wanted, inside, -1).astype(np.int64)


def score_effect(effect: Effect, rows: SparseRows, ids: Keys | None) -> Floats:
    """Return one effect's part of the margin of each row."""
    if isinstance(effect, FixedEffect):
        return rows.dot(effect.coefficients)
    if ids is None:
        raise ValueError(f"{effect.name}: rows without {effect.entity}")
    return _score_random(effect, rows, ids)


def _score_random(effect: RandomEffect, rows: SparseRows, ids: Keys) -> Floats:
    if not len(effect.cells):
        return np.zeros(len(rows))
    entity = positions(effect.entities, ids)
    base = entity * np.int64(effect.columns)
    row_of = rows.row_of
    wanted = base[row_of] + rows.indices
    cell = _guessed(effect.cells, base, row_of, rows.indices)
    known = entity[row_of] >= 0
    # Beyond its cell where the entity lacks a column before this one.
    beyond = np.flatnonzero(known & (effect.cells[cell] > wanted))
    if len(beyond):
        cell[beyond] = np.maximum(positions(effect.cells, wanted[beyond]), 0)
    right = known & (effect.cells[cell] == wanted)
    parts = np.where(right, rows.values * effect.coefficients[cell], 0.0)
    return sums_by(row_of, parts, len(rows))


def _guessed(cells: Longs, base: Longs, row_of: Longs, indices: Ints) -> Longs:
    """Return where each entry's cell stands if its entity has every column before: a search a row, not an entry."""
    start = np.searchsorted(cells, base)
    found: Longs = np.minimum(start[row_of] + indices, len(cells) - 1)
    return found


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
