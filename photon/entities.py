"""Rows grouped by entity, each entity with its own columns only.

An entity with ten rows touches a handful of a shard's columns; every other coefficient of it is
exactly 0 under an L2 penalty. So its problem is *compacted*: a **cell** is one (entity, column) pair
that occurs, cells are numbered entity by entity, and all solves work on cells. The pair is written as
one integer, ``entity · columns + column``: sorted, searchable, and what a stored model holds too.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from photon.rows import Examples, Floats, Ints, Longs, Mask

Keys = npt.NDArray[np.generic]
"""Entity ids: int64 or fixed-width text."""

NO_NUMBER: Final = np.iinfo(np.int64).min
NO_TEXT: Final = "\x00 none"
"""Ids of rows without one: no model knows them. (Of a text that ends in NUL, NumPy drops the NUL.)"""


def has_no_id(ids: Keys) -> Mask:
    """Return which ids stand for none."""
    found: Mask = ids == (NO_TEXT if ids.dtype.kind == "U" else NO_NUMBER)
    return found


@dataclass(frozen=True, slots=True)
class EntityRows:
    """Examples sorted by entity.

    Parameters
    ----------
    entities
        ``(E,)`` ids, ascending.
    row_ptr
        ``(E + 1,)``: entity ``e`` owns the rows ``row_ptr[e]:row_ptr[e + 1]``.
    examples
        The rows, in that order, with columns of the shard.
    cells
        ``(C,)`` ``e · columns + column``, ascending.
    cell_ptr
        ``(E + 1,)``: entity ``e`` owns the cells ``cell_ptr[e]:cell_ptr[e + 1]``.
    local
        For each entry of the rows, its cell counted from the entity's first.
    """

    entities: Keys
    row_ptr: Longs
    examples: Examples
    cells: Longs
    cell_ptr: Longs
    local: Ints

    @property
    def cell_columns(self) -> Longs:
        """Column of each cell."""
        return self.cells % max(1, self.examples.rows.columns)


def group_sorted(keys: Keys, examples: Examples) -> EntityRows:
    """Return examples that are already sorted by ``keys`` with their entities and cells."""
    rows = examples.rows
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
    row_ptr = np.append(starts, len(keys)).astype(np.int64)
    entity_of_row = np.repeat(np.arange(len(starts)), np.diff(row_ptr))
    entity_of_entry = entity_of_row[rows.row_of]
    cells, cell_of_entry = np.unique(entity_of_entry * np.int64(rows.columns) + rows.indices, return_inverse=True)
    boundaries = np.arange(len(starts) + 1) * np.int64(rows.columns)
    cell_ptr = np.searchsorted(cells, boundaries).astype(np.int64)
    return EntityRows(
        entities=keys[starts],
        row_ptr=row_ptr,
        examples=examples,
        cells=cells,
        cell_ptr=cell_ptr,
        local=(cell_of_entry - cell_ptr[entity_of_entry]).astype(np.int32),
    )


def group(keys: Keys, examples: Examples) -> tuple[EntityRows, Longs]:
    """Return examples grouped by ``keys``, and the order that sorted them (stable)."""
    order = np.argsort(keys, kind="stable")
    sorted_examples = Examples(
        rows=examples.rows.take(order),
        labels=examples.labels[order],
        weights=examples.weights[order],
        offsets=examples.offsets[order],
    )
    return group_sorted(keys[order], sorted_examples), order


def with_weights(rows: EntityRows, weights: Floats) -> EntityRows:
    """Return the same rows with other weights: a row of weight 0 is scored and trains nothing."""
    examples = Examples(rows.examples.rows, rows.examples.labels, weights, rows.examples.offsets)
    return EntityRows(rows.entities, rows.row_ptr, examples, rows.cells, rows.cell_ptr, rows.local)
