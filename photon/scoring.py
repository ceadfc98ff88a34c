"""Scores of rows under a model: plain NumPy, the same for serving, batch and tests.

An entity that the model does not know, and a column that an entity has no coefficient for, count 0.
"""

from collections.abc import Mapping

import numpy as np

from photon.entities import Keys
from photon.loss import loss_of
from photon.model import Effect, FixedEffect, GlmixModel, RandomEffect
from photon.rows import Floats, Longs, SparseRows, sums_by


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
    entity = positions(effect.entities, ids)[rows.row_of]
    # An unknown entity is -1, so its cells are negative and never found.
    cell = positions(effect.cells, entity * np.int64(effect.columns) + rows.indices)
    known = (entity >= 0) & (cell >= 0)
    parts = np.zeros(len(cell))
    parts[known] = rows.values[known] * effect.coefficients[cell[known]]
    return sums_by(rows.row_of, parts, len(rows))


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
    for effect in model.effects:
        own_ids = ids[effect.entity] if isinstance(effect, RandomEffect) else None
        total += score_effect(effect, shards[effect.shard], own_ids)
    return total


def means(model: GlmixModel, margin: Floats) -> Floats:
    """Return ``E[y]`` of each margin: a probability for the logistic task."""
    mean: Floats = loss_of(model.task).mean(margin)
    return mean
