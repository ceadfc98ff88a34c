"""The linear system of a posterior on Spark: draws from it, and how its skewness moves the mode.

At the mode of a fit the rows have curvatures ``W``, and with ``H = XᵀWX + Λ`` everything that
:mod:`photon.empirical_bayes` asks is the minimum of ``½ Σ w·(y - xᵀv)² + ½ (v - m)ᵀΛ(v - m)`` for some ``y`` and ``m``:

* a draw from ``N(0, H⁻¹)`` has ``y = ε/√w`` and ``m = Λ^-½ η``, with standard normal ``ε`` and ``η``
  (:mod:`photon.noise`, so that each partition makes those of its own rows and entities);
* the mean's distance from the mode has ``y = -½ v·loss‴/loss″`` and ``m = 0``.

All are solved side by side. The residuals ``y - Xv`` of the rows, a column a problem, go round the
coordinates as scores do in a fit; each coordinate solves its own block of ``H`` exactly, entity by entity, and a
sweep ends with the best move along the last steps, as in :mod:`photon.subspace`. What the driver sees is the
fixed effects and sums of a few numbers a problem.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Final, TypeVar

import numpy as np
from pyspark import StorageLevel

from photon.joint import inverse_of
from photon.local_posterior import third_derivatives
from photon.noise import cell_noise, column_noise, row_noise
from photon.posterior import Posteriors, posteriors
from photon.random_effect import rows_by_cell
from photon.rows import Floats, SparseRows
from photon.spark.accelerator import Coordinate
from photon.spark.backend import Context, Scores, Table, align, delivered, messages, shortened, together
from photon.spark.blocks import Block, Keyed
from photon.spark.fixed import SparkFixed
from photon.spark.pieces import in_pieces, whole
from photon.spark.worker import settle_worker
from photon.subspace import Mixtures, Path

SumT = TypeVar("SumT")

_MOST_SWEEPS: Final = 60
_WINDOW: Final = 3
_SMALLEST: Final = 1e-12
"""Curvature along a direction, relative to that of the first sweep, that is rounding."""


@dataclass(frozen=True, slots=True)
class Noise:
    """The problems: draws of a seed, the skewness at a residual variance, columns of ``H⁻¹``.

    ``units`` are columns of the first fixed effect; the solutions there are the columns of ``H⁻¹``.
    """

    seed: int
    draws: int
    residual: float = 1.0
    units: tuple[int, ...] = ()

    @property
    def problems(self) -> int:
        """Right-hand sides: the draws, the skewness, the units."""
        return self.draws + 1 + len(self.units)


@dataclass(frozen=True, slots=True)
class AtMode:
    """What a partition knows of its rows and entities at the mode.

    Parameters
    ----------
    totals
        ``(rows,)`` sums of scores.
    curvature, skew
        ``(rows,)`` weighted second derivative of the loss, and the third divided by the second.
    variances
        ``(rows,)`` of the margins, by this effect and those before it in the round.
    parts
        Posteriors of the entities given all else; none for a fixed effect.
    """

    totals: Floats
    curvature: Floats
    skew: Floats
    variances: Floats
    parts: tuple[Posteriors, ...]


@dataclass(frozen=True, slots=True)
class Along:
    """A quadratic along the directions of each problem: ``gradient`` ``(m, k)`` and ``hessian`` ``(m, m, k)``."""

    gradient: Floats
    hessian: Floats

    def __add__(self, other: "Along") -> "Along":
        return Along(self.gradient + other.gradient, self.hessian + other.hessian)

    @classmethod
    def of(cls, directions: Floats, slopes: Floats, weights: Floats) -> "Along":
        """Return it from directions ``(m, size, k)``, slopes ``(size, k)`` and curvatures ``(size,)``."""
        weighted = directions * weights[:, None]
        return cls(
            np.einsum("jsk,sk->jk", directions, slopes),
            np.einsum("jsk,lsk->jlk", directions, weighted),
        )

    def move(self, first: Floats) -> Mixtures:
        """Return the best move of each problem ``(m, k)``, its own sweep's curvature at first being ``(k,)``."""
        best = np.zeros_like(self.gradient)
        for problem in range(best.shape[1]):
            hessian = self.hessian[:, :, problem]
            scale = np.sqrt(np.maximum(np.diag(hessian), 0.0))
            scale[scale * scale <= _SMALLEST * first[problem]] = np.inf
            inverse = np.linalg.pinv(hessian / np.outer(scale, scale), rcond=1e-10, hermitian=True)
            best[:, problem] = -(inverse @ (self.gradient[:, problem] / scale)) / scale
        return best


@dataclass(frozen=True, slots=True)
class Working:
    """A partition in the middle of a sweep.

    Parameters
    ----------
    path
        Of the coefficients ``(cells, k)``; of the residuals ``(rows, k)`` at the ends of the sweeps for the first
        coordinate, whose coefficients are with the driver like those of all fixed effects.
    residuals
        ``(rows, k)`` after this coordinate's update; of a fixed effect before it.
    along
        What this partition adds to the quadratic along the last steps.
    """

    path: Path
    residuals: Floats
    along: Along | None


@dataclass(frozen=True, slots=True)
class Records:
    """The records of one partition, by kind."""

    block: Block
    at_mode: AtMode | None
    working: Working | None
    arrived: tuple[Scores, ...]
    rest: tuple[object, ...]

    @property
    def state(self) -> Working:
        """Where the solves are."""
        if self.working is None:
            raise RuntimeError("a partition without its solves: the unions are no longer narrow")
        return self.working

    @property
    def mode(self) -> AtMode:
        """What is known at the mode."""
        if self.at_mode is None:
            raise RuntimeError("a partition without its mode: the unions are no longer narrow")
        return self.at_mode


def records_of(records: Iterable[Keyed]) -> Records:
    """Return the records of one partition by kind."""
    settle_worker()
    found = list(whole(records))
    (block,) = (one for one in found if isinstance(one, Block))
    kinds = (Block, AtMode, Working, Scores)
    return Records(
        block=block,
        at_mode=next((one for one in found if isinstance(one, AtMode)), None),
        working=next((one for one in found if isinstance(one, Working)), None),
        arrived=tuple(one for one in found if isinstance(one, Scores)),
        rest=tuple(one for one in found if not isinstance(one, kinds)),
    )


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


class LinearSystem:
    """``H`` at the mode of a fit, whose random effects have the prior ``N(0, I)`` in their own coordinates.

    Parameters
    ----------
    context
        With the roles that train.
    coordinates
        In update order, as the fit left them.
    scores
        The scores that it ended with.
    noise
        Of the draws.
    """

    def __init__(self, context: Context, coordinates: Sequence[Coordinate], scores: Table, noise: Noise) -> None:
        self.context, self.coordinates, self.noise = context, tuple(coordinates), noise
        self.at_mode: list[Table] = []
        self.working: list[Table | None] = [None] * len(self.coordinates)
        self._idle: list[Table] = []
        for place, coordinate in enumerate(self.coordinates):
            table = together(context, coordinate.blocks, scores)
            known = table.mapPartitionsWithIndex(_knower(context, coordinate), preservesPartitioning=True)
            self.at_mode.append(known.persist(StorageLevel.MEMORY_AND_DISK))
            scores = self._sent(place, _totals_and_variances)
        self._ends = scores
        self.fixed = {
            place: FixedBlock.of(one, self.summed(place, _gram), noise, noise.units if place == 0 else ())
            for place, one in enumerate(self.coordinates)
            if isinstance(one, SparkFixed)
        }

    def rows(self, place: int) -> Table:
        """Return the blocks of a coordinate beside what is known there."""
        return together(self.context, self.coordinates[place].blocks, self.at_mode[place], self.working[place])

    def summed(self, place: int, part: Callable[[Records], SumT], more: Table | None = None) -> SumT:
        """Return the sum of something over the partitions of a coordinate."""
        table = together(self.context, self.rows(place), more)
        return table.mapPartitions(lambda records: iter([part(records_of(records))])).treeReduce(add)

    def solve(self, tolerance: float) -> int:
        """Solve all problems, the curvature of each one's step lowered by ``tolerance²``; return the sweeps it took."""
        noise = self.noise

        def begin(found: Records) -> Working:
            arrived = align(found.block, found.arrived)
            variances = arrived[:, 1] if arrived.ndim == 2 else arrived
            return Working(Path.start(targets(found, noise, variances)), np.zeros((0, 0)), None)

        self._renew(0, self._ends, begin)
        pending: Mixtures | None = None
        first = np.zeros(noise.problems)
        for sweep in range(1, _MOST_SWEEPS + 1):
            along = self._sweep(pending)
            curvature = along.hessian[0, 0]
            first = curvature if sweep == 1 else first
            if np.all(curvature <= tolerance**2 * first):
                return sweep
            pending = along.move(first)
            self.working = [None if table is None else shortened(table, self.context, sweep) for table in self.working]
        return _MOST_SWEEPS

    def release(self) -> None:
        """Let go of what is cached."""
        for table in (*self.at_mode, *self.working, *self._idle):
            if table is not None:
                table.unpersist()

    def _sweep(self, pending: Mixtures | None) -> Along:
        first = self.fixed[0]
        change = first.update(self.summed(0, _first_slopes(pending)), pending)
        arrived = self._sent(0, _opened(pending, change))
        for place in range(1, len(self.coordinates)):
            if place in self.fixed:
                self._renew(place, arrived, _receiver(self.noise))
                change = self.fixed[place].update(self.summed(place, _slopes), pending)
                arrived = self._sent(place, _less(change))
            else:
                self._renew(place, arrived, _visitor(self.coordinates[place].name, self.noise, pending))
                arrived = self._sent(place, _residuals)
        self._renew(0, arrived, _closer(pending))
        parts = [self.rows(place) for place in range(len(self.coordinates)) if place == 0 or place not in self.fixed]
        rows = self.context.spark.union([each.mapPartitions(_along) for each in parts]).treeReduce(add)
        for table in self._idle:
            table.unpersist()
        self._idle = []
        return reduce(add, (block.along() for block in self.fixed.values()), rows)

    def _renew(self, place: int, arrived: Table, step: Callable[[Records], Working]) -> None:
        def renew(partition: int, records: Iterable[Keyed]) -> Iterator[Keyed]:
            yield from in_pieces(partition, step(records_of(records)))

        table = together(self.context, self.rows(place), arrived)
        before = self.working[place]
        fresh = table.mapPartitionsWithIndex(renew, preservesPartitioning=True)
        self.working[place] = fresh.persist(StorageLevel.MEMORY_AND_DISK)
        # What the new table is made of is needed until an action has made it.
        self._idle += [] if before is None else [before]

    def _sent(self, place: int, numbers: Callable[[Records], Floats]) -> Table:
        def send(records: Iterable[Keyed]) -> Iterator[Keyed]:
            found = records_of(records)
            yield from messages(found.block, numbers(found))

        return delivered(self.rows(place).mapPartitions(send), self.context)


@dataclass(slots=True)
class FixedBlock:
    """A fixed effect's coefficients ``(d, k)``, held by the driver, and the inverse of its block of ``H``.

    ``pull`` ``(d, k)`` is ``Λm``, or a unit vector.
    """

    inverse: Floats
    precision: Floats
    pull: Floats
    path: Path

    @classmethod
    def of(cls, one: SparkFixed, gram: Floats, noise: Noise, units: Sequence[int]) -> "FixedBlock":
        """Return the effect at 0, from ``XᵀWX``."""
        precision = one.regularisation.penalty.l2
        pull = np.zeros((len(precision), noise.problems))
        for draw in range(noise.draws):
            pull[:, draw] = np.sqrt(precision) * column_noise(len(precision), noise.seed, draw, one.name)
        pull[list(units), noise.draws + 1 + np.arange(len(units))] = 1.0
        return cls(inverse_of(gram + np.diag(precision)), precision, pull, Path.start(np.zeros_like(pull)))

    def update(self, slopes: Floats, pending: Mixtures | None) -> Floats:
        """Minimise over the block, ``slopes`` ``(d, k)`` being ``XᵀW`` times the residuals; return the change."""
        path = _begun(self.path, pending)
        change: Floats = self.inverse @ (slopes + self.pull - self.precision[:, None] * path.point)
        self.path = path.arrived(path.point + change)
        return change

    def along(self) -> Along:
        """Return what its prior adds to the quadratic."""
        slopes = self.precision[:, None] * self.path.point - self.pull
        return Along.of(self.path.directions, slopes, self.precision)


def _begun(path: Path, pending: Mixtures | None) -> Path:
    return path if pending is None else path.moved(pending, _WINDOW)


def _knower(context: Context, coordinate: Coordinate) -> Callable[[int, Iterable[Keyed]], Iterator[Keyed]]:
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


def _totals_and_variances(found: Records) -> Floats:
    return np.column_stack([found.mode.totals, found.mode.variances])


def _gram(found: Records) -> Floats:
    return found.block.examples.rows.gram(found.mode.curvature)


def _slopes_of(found: Records, residuals: Floats) -> Floats:
    return transposed_times(found.block.examples.rows, found.mode.curvature[:, None] * residuals)


def _first_slopes(pending: Mixtures | None) -> Callable[[Records], Floats]:
    return lambda found: _slopes_of(found, _begun(found.state.path, pending).point)


def _slopes(found: Records) -> Floats:
    return _slopes_of(found, found.state.residuals)


def _opened(pending: Mixtures | None, change: Floats) -> Callable[[Records], Floats]:
    return lambda found: _begun(found.state.path, pending).point - times(found.block.examples.rows, change)


def _less(change: Floats) -> Callable[[Records], Floats]:
    return lambda found: found.state.residuals - times(found.block.examples.rows, change)


def _residuals(found: Records) -> Floats:
    return found.state.residuals


def _received(found: Records, noise: Noise) -> Floats:
    arrived = align(found.block, found.arrived)
    return arrived if arrived.ndim == 2 else np.zeros((len(arrived), noise.problems))


def _receiver(noise: Noise) -> Callable[[Records], Working]:
    nothing = Path.start(np.zeros((0, noise.problems)))
    return lambda found: Working(nothing, _received(found, noise), None)


def _visitor(name: str, noise: Noise, pending: Mixtures | None) -> Callable[[Records], Working]:
    def visit(found: Records) -> Working:
        rows, curvature = found.block.rows, found.mode.curvature
        drawn = [cell_noise(rows, noise.seed, draw, name) for draw in range(noise.draws)]
        prior = np.column_stack([*drawn, np.zeros((len(rows.cells), 1 + len(noise.units)))])
        path = Path.start(np.zeros_like(prior)) if found.working is None else _begun(found.working.path, pending)
        features, residuals = rows_by_cell(rows), _received(found, noise)
        right = transposed_times(features, curvature[:, None] * residuals) + prior - path.point
        change = block_solve(found.mode.parts, right)
        path = path.arrived(path.point + change)
        along = Along.of(path.directions, path.point - prior, np.ones(len(rows.cells)))
        return Working(path, residuals - times(features, change), along)

    return visit


def _closer(pending: Mixtures | None) -> Callable[[Records], Working]:
    def close(found: Records) -> Working:
        path = _begun(found.state.path, pending)
        if found.arrived:
            path = path.arrived(align(found.block, found.arrived))
        curvature = found.mode.curvature
        along = Along.of(path.directions, curvature[:, None] * path.point, curvature)
        return Working(path, found.state.residuals, along)

    return close


def _along(records: Iterable[Keyed]) -> Iterator[Along]:
    along = records_of(records).state.along
    if along is None:
        raise RuntimeError("a sweep that did not come here")
    yield along
