"""Which rows a coordinate trains on, chosen by a hash of the row's uid: the same in every run and partitioning.

Rows that are left out keep being scored; those that stay are weighted up by ``n / kept``, so the balance of
data and penalty stays what it was. Entities below the lower bound train nothing. A coordinate minimises the loss of its
sample; what a fit reports is the loss of all rows with their own weights, which every coordinate shares.
"""

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from photon.entities import EntityRows, group_sorted, with_weights
from photon.loss import RowLoss
from photon.rows import Examples, Floats, Longs, SparseRows, sums_by
from photon.settings import CoordinateSettings

Hashes = npt.NDArray[np.uint64]

_WHOLE: Final = 2.0**64
_CLASSIFICATIONS: Final = ("logistic", "smoothed_hinge")


def uid_hashes(uids: Longs) -> Hashes:
    """Return well-mixed 64 bits of each uid: SplitMix64's finaliser [1]_.

    References
    ----------
    .. [1] G. L. Steele, D. Lea and C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    mixed: Hashes = uids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: Hashes = mixed ^ (mixed >> np.uint64(31))
    return result


def down_sampled(uids: Longs, labels: Floats, weights: Floats, rate: float, loss: RowLoss) -> Floats:
    """Return the weights of a fixed effect's rows: a share ``rate`` stays, weighing ``1 / rate`` times as much.

    Of a classification the positives, mostly the rarer, all stay as they are.
    """
    if rate >= 1.0:
        return weights
    sampled = uid_hashes(uids) < np.uint64(rate * _WHOLE)
    thinned: Floats = np.where(sampled, weights / rate, 0.0)
    return np.where(labels > 0.5, weights, thinned) if loss.task in _CLASSIFICATIONS else thinned


def bounded(rows: EntityRows, uids: Longs, weights: Floats, lower: int, upper: int | None) -> Floats:
    """Return the weights of rows by entity, with no more than ``upper`` of an entity's rows and none of too few.

    Parameters
    ----------
    rows
        Rows by entity.
    uids, weights
        Of each row; rows of weight 0 do not count.
    lower
        Entities with fewer rows train nothing.
    upper
        Of entities with more rows, the ``upper`` rows of smallest hash stay.
    """
    if lower <= 1 and upper is None:
        return weights
    entities = len(rows.entities)
    entity = np.repeat(np.arange(entities), np.diff(rows.row_ptr))
    active = np.flatnonzero(weights > 0.0)
    counts = np.bincount(entity[active], minlength=entities)
    kept = np.where(counts >= lower, counts if upper is None else np.minimum(counts, upper), 0)
    order = active[np.lexsort((uid_hashes(uids[active]), entity[active]))]
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    stays = order[rank < kept[entity[order]]]
    result = np.zeros(len(weights))
    result[stays] = weights[stays] * (counts / np.maximum(kept, 1))[entity[stays]]
    return result


def correlated_entries(rows: EntityRows, weights: Floats, ratio: float, intercept: int | None) -> npt.NDArray[np.bool_]:
    """Return which entries stay when an entity keeps ``ratio`` features a row: those that tell most of its labels.

    An entity with ``n`` rows that train keeps the ``⌈ratio · n⌉`` cells with the largest ``|r|`` of feature and
    label, Pearson's correlation over these rows, zeros included; its intercept always. Ties go to the lower column.
    One without any keeps all: it trains nothing, and may have the coefficients of an earlier model.
    """
    features, entities = rows.examples.rows, len(rows.entities)
    entity = np.repeat(np.arange(entities), np.diff(rows.row_ptr))
    counts = (weights > 0.0).astype(np.float64)
    labels = rows.examples.labels
    row = features.row_of
    cell = rows.cell_ptr[entity[row]] + rows.local
    size, counted = len(rows.cells), counts[row]

    n = sums_by(entity, counts, entities)
    mean = sums_by(entity, counts * labels, entities) / np.maximum(n, 1.0)
    apart = labels - mean[entity]
    spread = sums_by(entity, counts * apart * apart, entities)
    owner = np.repeat(np.arange(entities), np.diff(rows.cell_ptr))
    total = sums_by(cell, counted * features.values, size)
    squares = sums_by(cell, counted * features.values**2, size) - total**2 / np.maximum(n[owner], 1.0)
    products = sums_by(cell, counted * features.values * apart[row], size)
    varies = squares > 1e-12 * np.maximum(total**2, 1e-300)
    with np.errstate(divide="ignore", invalid="ignore"):
        strength = np.where(varies, np.abs(products) / np.sqrt(squares * spread[owner]), 0.0)
    strength = np.where(np.isfinite(strength), strength, 0.0)
    columns = rows.cell_columns
    if intercept is not None:
        strength[columns == intercept] = np.inf
    # Rounding must not decide between equals, or partitions would.
    order = np.lexsort((columns, -np.round(strength, 9), owner))
    rank = np.empty(size, np.int64)
    rank[order] = np.arange(size) - rows.cell_ptr[owner]
    budget = np.ceil(ratio * n).astype(np.int64)
    if intercept is not None:
        budget += np.bincount(owner[columns == intercept], minlength=entities)
    kept: npt.NDArray[np.bool_] = ((rank < budget[owner]) | (n[owner] == 0.0))[cell]
    return kept


def trained_rows(rows: EntityRows, uids: Longs, settings: CoordinateSettings, intercept: int | None) -> EntityRows:
    """Return the rows of a random effect as it trains on them: sampled weights, and the features that tell most.

    Rows and entities stay the same; the cells are a subset.
    """
    weights = bounded(
        rows, uids, rows.examples.weights, settings.active_rows_lower_bound, settings.active_rows_upper_bound
    )
    sampled = with_weights(rows, weights)
    if settings.features_to_samples_ratio is None or not len(rows.cells):
        return sampled
    kept = correlated_entries(rows, weights, settings.features_to_samples_ratio, intercept)
    features = rows.examples.rows
    indptr = np.concatenate([[0], np.cumsum(kept)])[features.indptr]
    fewer = SparseRows(indptr, features.indices[kept], features.values[kept], features.columns)
    examples = Examples(fewer, rows.examples.labels, weights, rows.examples.offsets)
    numbers = np.repeat(np.arange(len(rows.entities)), np.diff(rows.row_ptr))
    return replace(group_sorted(numbers, examples), entities=rows.entities)


def fixed_weights(uids: Longs, labels: Floats, weights: Floats, settings: CoordinateSettings, loss: RowLoss) -> Floats:
    """Return the weights of the rows of a fixed effect as it trains on them."""
    return down_sampled(uids, labels, weights, settings.down_sampling_rate, loss)
