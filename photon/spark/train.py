"""A GLMix fit on Spark from a DataFrame to coefficients in Parquet: load once, fit any number of times."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from photon.descent import Descent, Sweep, descend
from photon.objective import Penalty
from photon.rows import Floats
from photon.settings import CoordinateSettings, FitSettings, checked
from photon.spark.arrow_rows import data_frame, to_bytes
from photon.spark.backend import Context, SparkFixed, SparkRandom, Table, align, gather, together
from photon.spark.blocks import Keyed, Layout, blocks, shuffled
from photon.spark.rows import Measure, RoleRows, checked_rows, coefficient_rows, measured_rows, rows_of_roles

Coordinate = SparkFixed | SparkRandom


@dataclass(frozen=True, slots=True)
class ShardShape:
    """Columns of a shard, and which of them is 1 in every row, if any."""

    columns: int
    intercept: int | None


class SparkGlmix:
    """A GLMix fit whose data stay cached in the executors.

    Parameters
    ----------
    data
        Columns as in :func:`photon.spark.blocks.routed`; ``role`` is a position in ``roles``.
    settings
        Task and coordinates.
    shards
        Shape of every shard that a coordinate names.
    roles
        Names of the parts of the data, such as train, validation, test.
    partitions
        Partitions of every coordinate's blocks: at least as many as cores work.
    carried_ids
        Entity keys that evaluations group by.
    """

    def __init__(
        self,
        data: DataFrame,
        settings: FitSettings,
        shards: Mapping[str, ShardShape],
        roles: Sequence[str],
        *,
        partitions: int,
        carried_ids: Sequence[str] = (),
    ) -> None:
        self.settings = checked(settings, source="fit")
        self.roles = tuple(roles)
        self.layout = Layout(
            coordinates=settings.coordinates,
            columns=tuple(shards[coordinate.shard].columns for coordinate in settings.coordinates),
            partitions=partitions,
            carried_ids=tuple(carried_ids),
        )
        self._spark = data.sparkSession
        self._key_types = _key_types(data)
        self._context = Context(
            spark=self._spark.sparkContext,
            task=settings.task,
            coordinates=len(settings.coordinates),
            partitions=partitions,
            active=frozenset(),
            names=self.roles,
        )
        payloads = shuffled(data, self.layout)
        self.coordinates = tuple(
            self._coordinate(position, one, blocks(payloads, self.layout, position), shards[one.shard])
            for position, one in enumerate(settings.coordinates)
        )

    def _coordinate(self, position: int, one: CoordinateSettings, rows: Table, shape: ShardShape) -> Coordinate:
        penalty = Penalty.ridge(
            one.l2, shape.columns, intercept=shape.intercept, penalise_intercept=one.intercept_is_penalised
        )
        kind = SparkFixed if one.kind == "fixed" else SparkRandom
        return kind(self._context, one, position, rows, penalty)

    @property
    def fixed(self) -> SparkFixed:
        """The fixed effect."""
        first = self.coordinates[0]
        if not isinstance(first, SparkFixed):
            raise TypeError("the first coordinate is the fixed effect")
        return first

    @property
    def random(self) -> tuple[SparkRandom, ...]:
        """The random effects, in update order."""
        return tuple(one for one in self.coordinates if isinstance(one, SparkRandom))

    def check(self) -> tuple[RoleRows, ...]:
        """Return what each role holds; the first pass over the data, which also fills the cache.

        Raises
        ------
        BadDataError
            If a label does not fit the task, a weight is negative, a number is not finite, a column is
            outside its shard, or a uid stands twice.
        """
        task = self.settings.task
        found = self.fixed.blocks.flatMap(lambda record: rows_of_roles(record[1], task)).collect()
        return checked_rows(found, len(self.roles), task)

    def fit(
        self,
        train: Iterable[str],
        *,
        start: Table | None = None,
        progress: Callable[[Sweep], None] = lambda _: None,
    ) -> Descent[Table | None]:
        """Fit to the rows of the roles ``train``.

        Parameters
        ----------
        train
            Roles whose rows train; the others are scored with them in passing.
        start
            The scores that an earlier fit of this object ended with: the fit goes on from its coefficients.
        progress
            Called after every sweep.
        """
        context = self._with_active(train)
        for coordinate in self.coordinates:
            coordinate.context = context
        return descend(
            self.coordinates,
            start,
            max_sweeps=self.settings.max_sweeps,
            tolerance=self.settings.tolerance,
            progress=progress,
        )

    def fit_fixed_alone(self, train: Iterable[str]) -> Floats:
        """Return the coefficients of the fixed effect fitted alone: the baseline of a GLMix model."""
        alone = SparkFixed(self._with_active(train), self.fixed.settings, 0, self.fixed.blocks, self.fixed.penalty)
        alone.update(None)
        return alone.coefficients

    def _with_active(self, train: Iterable[str]) -> Context:
        return replace(self._context, active=frozenset(self.roles.index(name) for name in train))

    def measured(self, scores: Table | None, measures: Sequence[Measure]) -> DataFrame:
        """Return the rows that :func:`photon.spark.evaluation.evaluate` takes, for scores that a fit ended with."""
        count, wanted, names = self._context.coordinates, tuple(measures), self.layout.carried_ids

        def emit(records: Iterable[Keyed]) -> Iterator[bytes]:
            found = gather(records)
            margins = align(found.block, found.arrived, count).sum(axis=1) + found.block.examples.offsets
            for measure in wanted:
                yield to_bytes(measured_rows(found.block, margins, measure, names))

        tables = together(self._context, self.fixed.blocks, scores).mapPartitions(emit)
        columns = ["measure string, score double, label double, weight double"]
        columns += [f"`{name}` {self._key_types[name]}" for name in names]
        return data_frame(self._spark, tables, ", ".join(columns))

    def coefficients(self, coordinate: SparkRandom) -> DataFrame:
        """Return a random effect as rows (entity, indices, values), sorted by entity within each partition."""
        if coordinate.solved is None:
            raise RuntimeError(f"{coordinate.name} was never fitted")

        def emit(records: Iterable[Keyed]) -> Iterator[bytes]:
            found = gather(records)
            if found.solved is not None and len(found.block.rows.entities):
                yield to_bytes(coefficient_rows(found.block.rows, found.solved.coefficients))

        tables = together(self._context, coordinate.blocks, coordinate.solved).mapPartitions(emit)
        kind = self._key_types[coordinate.settings.entity_key]
        return data_frame(self._spark, tables, f"entity {kind}, indices array<int>, values array<double>")

    def release(self) -> None:
        """Let go of everything that is cached."""
        for coordinate in self.coordinates:
            coordinate.release()


def _key_types(data: DataFrame) -> dict[str, str]:
    ids = data.schema["ids"].dataType
    if not isinstance(ids, StructType):
        raise TypeError("ids is a struct of entity ids")
    return {field.name: "string" if field.dataType.simpleString() == "string" else "bigint" for field in ids.fields}
