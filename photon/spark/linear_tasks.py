"""What a task of a linear system (:mod:`photon.spark.linear`) does with the rows of its partition."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from photon.local_posterior import third_derivatives
from photon.noise import cell_noise, row_noise
from photon.posterior import Posteriors, posteriors
from photon.random_effect import rows_by_cell
from photon.rows import Floats, SparseRows
from photon.spark.accelerator import Coordinate
from photon.spark.backend import Context, align
from photon.spark.blocks import Keyed
from photon.spark.fixed import SparkFixed
from photon.spark.linear_records import Along, AtMode, Noise, Records, Working, begun, records_of
from photon.spark.pieces import in_pieces
from photon.subspace import Mixtures, Path


def targets(found: Records, noise: Noise, variances: Floats) -> Floats:
    """Return ``y`` ``(rows, k)`` of all problems, given the margins' variances."""
    curvature, uids = found.mode.curvature, found.block.uids
    scale = np.zeros(len(uids))
    has_curvature = curvature > 0.0
    scale[has_curvature] = 1.0 / np.sqrt(curvature[has_curvature])
    drawn = [scale * row_noise(uids, noise.seed, draw) for draw in range(noise.draws)]
    skewed = -0.5 * noise.residual * variances * found.mode.skew
    return np.column_stack([*drawn, skewed, np.zeros((len(uids), len(noise.units)))])


def block_solve(parts: Sequence[Posteriors], right: Floats) -> Floats:
    """Return the solutions ``(cells, k)`` of each entity's own block of ``H``."""
    found = np.zeros_like(right)
    for part in parts:
        found[part.cells] = np.einsum("eij,ejk->eik", part.covariance, right[part.cells])
    return found


def times(rows: SparseRows, vectors: Floats) -> Floats:
    """Return ``X V`` ``(rows, k)``."""
    return np.column_stack([rows.dot(column) for column in vectors.T])


def transposed_times(rows: SparseRows, vectors: Floats) -> Floats:
    """Return ``Xᵀ V`` ``(columns, k)``."""
    return np.column_stack([rows.transposed_dot(column) for column in vectors.T])


def knower(context: Context, coordinate: Coordinate) -> Callable[[int, Iterable[Keyed]], Iterator[Keyed]]:
    """Return how a task finds what there is to know at the mode, its effect's part of the variances among it."""
    loss, active, is_random = context.loss, context.active, not isinstance(coordinate, SparkFixed)

    def know(partition: int, records: Iterable[Keyed]) -> Iterator[Keyed]:
        found = records_of(records)
        examples, arrived = found.block.examples, align(found.block, found.arrived)
        totals = arrived if arrived.ndim == 1 else arrived[:, 0]
        variances = np.zeros(len(totals)) if arrived.ndim == 1 else arrived[:, 1].copy()
        weights = found.block.active_weights(active)
        # A row that trains nothing may have a margin where the loss overflows.
        margins = np.where(weights > 0.0, totals + examples.offsets, 0.0)
        second = loss.second(margins, examples.labels)
        curvature = weights * second
        third = third_derivatives(loss, margins, examples.labels)
        skew = np.divide(third, second, out=np.zeros_like(third), where=curvature > 0.0)
        parts = tuple(posteriors(found.block.rows, curvature)) if is_random else ()
        for part in parts:
            variances[part.of_rows] += part.variances
        yield from in_pieces(partition, AtMode(totals, curvature, skew, variances, parts))

    return know


def totals_and_variances(found: Records) -> Floats:
    """Return the numbers ``(rows, 2)`` that go on to the next coordinate's :func:`knower`."""
    return np.column_stack([found.mode.totals, found.mode.variances])


def gram(found: Records) -> Floats:
    """Return ``XᵀWX`` of a fixed effect."""
    return found.block.examples.rows.gram(found.mode.curvature)


def _slopes_of(found: Records, residuals: Floats) -> Floats:
    return transposed_times(found.block.examples.rows, found.mode.curvature[:, None] * residuals)


def first_slopes(pending: Mixtures | None) -> Callable[[Records], Floats]:
    """Return how ``XᵀW`` times the residuals is found where a sweep begins: after the move that is still to make."""
    return lambda found: _slopes_of(found, begun(found.state.closed, pending).point)


def slopes(found: Records) -> Floats:
    """Return ``XᵀW`` times the residuals of a later fixed effect."""
    return _slopes_of(found, found.state.residuals)


def opened(pending: Mixtures | None, change: Floats) -> Callable[[Records], Floats]:
    """Return how the residuals are found after the first update of a sweep, of a fixed effect."""
    return lambda found: begun(found.state.closed, pending).point - times(found.block.examples.rows, change)


def less(change: Floats) -> Callable[[Records], Floats]:
    """Return how the residuals are found after the update of a later fixed effect."""
    return lambda found: found.state.residuals - times(found.block.examples.rows, change)


def updated_residuals(found: Records) -> Floats:
    """Return the residuals after the update of a random effect."""
    return found.state.residuals


def _received(found: Records, noise: Noise) -> Floats:
    arrived = align(found.block, found.arrived)
    return arrived if arrived.ndim == 2 else np.zeros((len(arrived), noise.problems))


def receiver(noise: Noise) -> Callable[[Records], Working]:
    """Return how a fixed effect takes the residuals that arrive."""
    nothing = Path.start(np.zeros((0, noise.problems)))
    return lambda found: Working(nothing, _received(found, noise), None)


def visitor(name: str, noise: Noise, pending: Mixtures | None, *, opens: bool = False) -> Callable[[Records], Working]:
    """Return the update of a random effect: each entity's own block of ``H``, solved exactly.

    Parameters
    ----------
    name, noise
        The effect and the problems.
    pending
        The move that is still to make.
    opens
        Whether the sweep begins here, with the residuals that the last one ended with; else they have arrived.
    """

    def visit(found: Records) -> Working:
        ends = begun(found.state.closed, pending) if opens else None
        rows, curvature = found.block.rows, found.mode.curvature
        drawn = [cell_noise(rows, noise.seed, draw, name) for draw in range(noise.draws)]
        prior = np.column_stack([*drawn, np.zeros((len(rows.cells), 1 + len(noise.units)))])
        path = Path.start(np.zeros_like(prior)) if found.working is None else begun(found.working.path, pending)
        features, residuals = rows_by_cell(rows), _received(found, noise) if ends is None else ends.point
        right = transposed_times(features, curvature[:, None] * residuals) + prior - path.point
        change = block_solve(found.mode.parts, right)
        path = path.arrived(path.point + change)
        along = Along.of(path.directions, path.point - prior, np.ones(len(rows.cells)))
        return Working(path, residuals - times(features, change), along, ends)

    return visit


def closer(pending: Mixtures | None, *, visited: bool) -> Callable[[Records], Working]:
    """Return how a sweep ends at the first coordinate, which keeps the residuals.

    Parameters
    ----------
    pending
        The move that was to make as the sweep began.
    visited
        Whether a :func:`visitor` that opens has made it.
    """

    def close(found: Records) -> Working:
        state = found.state
        path = state.closed if visited else begun(state.closed, pending)
        if found.arrived:
            path = path.arrived(align(found.block, found.arrived))
        curvature = found.mode.curvature
        along = Along.of(path.directions, curvature[:, None] * path.point, curvature)
        if visited and state.along is not None:
            along = along + state.along
        return Working(state.path, state.residuals, along, path)

    return close


def along_of(records: Iterable[Keyed]) -> Iterator[Along]:
    """Yield what a partition adds to the quadratic along the last steps."""
    along = records_of(records).state.along
    if along is None:
        raise RuntimeError("a sweep that did not come here")
    yield along
