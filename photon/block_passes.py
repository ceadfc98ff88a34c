"""Compiled passes over a block of rows that share their coefficients: importing this module brings numba along.

One pass computes margins, loss, gradient and Hessian together, some rows at a time, from the sparse entries as
they are: a thirty per cent dense block costs a tenth of the arithmetic of its dense twin, and no copy.
"""

from typing import Final

import numpy as np

import photon.entity_rows
import photon.loss
import photon.row_passes
from photon.compiled import compiled, compiled_and_kept
from photon.entity_rows import Data
from photon.row_passes import Span, row_costs, row_slopes
from photon.rows import Floats

CHUNK: Final = 512
"""Rows at a time: their margins and slopes stay in the first cache."""


@compiled
def _margins(data: Data, span: Span, coefficients: Floats, totals: Floats) -> None:
    rows = data.rows
    for i in range(span.rows):
        total = data.targets.offsets[span.start + i]
        for p in range(rows.indptr[span.start + i], rows.indptr[span.start + i + 1]):
            total += rows.values[p] * coefficients[rows.local[p]]
        totals[i] = total


@compiled
def _add_gradient(data: Data, span: Span, slopes: Floats, gradient: Floats) -> None:
    rows = data.rows
    for i in range(span.rows):
        for p in range(rows.indptr[span.start + i], rows.indptr[span.start + i + 1]):
            gradient[rows.local[p]] += slopes[i] * rows.values[p]


@compiled
def _add_hessian(data: Data, span: Span, curvatures: Floats, hessian: Floats) -> None:
    """Add the rows' part; an entry of two columns goes to where the one that stands first in the row has its row."""
    rows = data.rows
    for i in range(span.rows):
        last = rows.indptr[span.start + i + 1]
        for p in range(rows.indptr[span.start + i], last):
            scaled = curvatures[i] * rows.values[p]
            own = hessian[rows.local[p]]
            own[rows.local[p]] += scaled * rows.values[p]
            for q in range(p + 1, last):
                own[rows.local[q]] += scaled * rows.values[q]
                if rows.local[q] == rows.local[p]:  # a column that stands twice counts twice
                    own[rows.local[q]] += scaled * rows.values[q]


@compiled_and_kept(photon.loss, photon.row_passes, photon.entity_rows)
def derive_block(  # numba has no keywords alone
    data: Data,
    coefficients: Floats,
    room: Floats,
    gradient: Floats,
    hessian: Floats,
    with_hessian: bool,  # noqa: FBT001
) -> float:
    """Add gradient and Hessian of a block, and return the loss.

    Parameters
    ----------
    data
        The rows; their ``local`` are the columns themselves.
    coefficients
        ``(columns,)``.
    room
        ``(3, CHUNK)``.
    gradient
        ``(columns,)``, added to.
    hessian
        ``(columns, columns)``, added to if ``with_hessian``: ``H[a, b] + H[b, a]``, ``a ≠ b``, is the entry of two
        columns, ``H[a, a]`` that of one.
    with_hessian
        Whether there is a Hessian.
    """
    totals, slopes, curvatures = room[0], room[1], room[2]
    count, value = len(data.rows.indptr) - 1, 0.0
    for start in range(0, count, CHUNK):
        span = Span(start, min(CHUNK, count - start))
        _margins(data, span, coefficients, totals)
        value += row_costs(data.task, data.targets, span, totals)
        row_slopes(data.task, data.targets, span, totals, slopes, curvatures)
        _add_gradient(data, span, slopes, gradient)
        if with_hessian:
            _add_hessian(data, span, curvatures, hessian)
    return value


def new_room() -> Floats:
    """Return the room of :func:`derive_block`."""
    return np.empty((3, CHUNK))
