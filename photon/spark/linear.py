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

What lies in the partitions is in :mod:`photon.spark.linear_records`, what their tasks do in
:mod:`photon.spark.linear_tasks`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Final, TypeVar

import numpy as np
from pyspark import StorageLevel

from photon.joint import inverse_of
from photon.noise import column_noise
from photon.rows import Floats
from photon.spark import linear_tasks as tasks
from photon.spark.accelerator import Coordinate
from photon.spark.backend import Context, Table, align, delivered, messages, shortened, together
from photon.spark.blocks import Keyed
from photon.spark.fixed import SparkFixed
from photon.spark.linear_records import Along, Noise, Records, Working, begun, records_of
from photon.spark.pieces import in_pieces
from photon.subspace import Mixtures, Path

SumT = TypeVar("SumT")

_MOST_SWEEPS: Final = 60


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
        precision = one.regularisation.precision
        pull = np.zeros((len(precision), noise.problems))
        for draw in range(noise.draws):
            pull[:, draw] = np.sqrt(precision) * column_noise(len(precision), noise.seed, draw, one.name)
        pull[list(units), noise.draws + 1 + np.arange(len(units))] = 1.0
        return cls(inverse_of(gram + np.diag(precision)), precision, pull, Path.start(np.zeros_like(pull)))

    def update(self, slopes: Floats, pending: Mixtures | None) -> Floats:
        """Minimise over the block, ``slopes`` ``(d, k)`` being ``XᵀW`` times the residuals; return the change."""
        path = begun(self.path, pending)
        change: Floats = self.inverse @ (slopes + self.pull - self.precision[:, None] * path.point)
        self.path = path.arrived(path.point + change)
        return change

    def along(self) -> Along:
        """Return what its prior adds to the quadratic."""
        slopes = self.precision[:, None] * self.path.point - self.pull
        return Along.of(self.path.directions, slopes, self.precision)


class LinearSystem:
    """``H`` at the mode of a fit, whose random effects have the prior ``N(0, I)`` in their own coordinates.

    Parameters
    ----------
    context
        With the roles that train.
    coordinates
        Those that move, in update order, as the fit left them: the scores of the others are part of the margins.
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
            known = table.mapPartitionsWithIndex(tasks.knower(context, coordinate), preservesPartitioning=True)
            self.at_mode.append(known.persist(StorageLevel.MEMORY_AND_DISK))
            scores = self._sent(place, tasks.totals_and_variances)
        self._ends = scores
        self.fixed = {
            place: FixedBlock.of(one, self.summed(place, tasks.gram), noise, noise.units if place == 0 else ())
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
            nothing = Path.start(np.zeros((len(found.block.rows.cells), noise.problems)))
            ends = Path.start(tasks.targets(found, noise, variances))
            return Working(nothing, np.zeros((0, 0)), None, ends)

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
        arrived = self._opened(pending)
        for place in range(1, len(self.coordinates)):
            if place in self.fixed:
                self._renew(place, arrived, tasks.receiver(self.noise))
                change = self.fixed[place].update(self.summed(place, tasks.slopes), pending)
                arrived = self._sent(place, tasks.less(change))
            else:
                self._renew(place, arrived, tasks.visitor(self.coordinates[place].name, self.noise, pending))
                arrived = self._sent(place, tasks.updated_residuals)
        self._renew(0, arrived, tasks.closer(pending, visited=0 not in self.fixed))
        parts = [self.rows(place) for place in range(len(self.coordinates)) if place == 0 or place not in self.fixed]
        rows = self.context.spark.union([each.mapPartitions(tasks.along_of) for each in parts]).treeReduce(add)
        for table in self._idle:
            table.unpersist()
        self._idle = []
        return reduce(add, (block.along() for block in self.fixed.values()), rows)

    def _opened(self, pending: Mixtures | None) -> Table:
        """Return the residuals after the first update: of a fixed effect, but where all of those are locked."""
        first = self.fixed.get(0)
        if first is None:
            self._renew(0, None, tasks.visitor(self.coordinates[0].name, self.noise, pending, opens=True))
            return self._sent(0, tasks.updated_residuals)
        change = first.update(self.summed(0, tasks.first_slopes(pending)), pending)
        return self._sent(0, tasks.opened(pending, change))

    def _renew(self, place: int, arrived: Table | None, step: Callable[[Records], Working]) -> None:
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
