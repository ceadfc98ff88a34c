"""A GLMix fit on Spark from a DataFrame to coefficients in Parquet: load once, fit any number of times."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import add

import msgspec
from pyspark import RDD
from pyspark.sql import DataFrame
from pyspark.sql.types import DataType, StructType

from photon.checks import Checks, Fault, refuse
from photon.descent import Descent, Sweep, descend
from photon.earlier import prior_of_columns
from photon.model import FixedEffect
from photon.normalise import FeatureStatistics
from photon.regularisation import Regularisation, regularisation_of
from photon.rows import Floats
from photon.settings import CoordinateSettings, FitSettings, checked
from photon.spark.accelerator import Coordinate, SparkAccelerator
from photon.spark.arrow_rows import data_frame, to_bytes
from photon.spark.backend import Context, Partition, Table, align, gather, sent, together
from photon.spark.blocks import Keyed, Layout, blocks, shuffled
from photon.spark.delivery import Delivery, Opening, locked_scores, open_scores
from photon.spark.earlier import EarlierEffects, check_earlier, has_variances, sent_earlier
from photon.spark.estimable import check_estimable_on_spark
from photon.spark.fixed import SparkFixed
from photon.spark.random_effect import SparkRandom
from photon.spark.rows import (
    Measure,
    RoleRows,
    coefficient_tables,
    id_inspector,
    inspector,
    measured_rows,
    summed_roles,
)
from yarnmill.errors import ConfigurationError


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
    earlier
        Effects of an earlier model: where a fit starts, a prior where ``prior_weight`` says so, all of a locked
        coordinate, and the coefficients of entities without data. A random one is rows (entity, indices,
        values[, variances]); its entities go to the partitions of their rows, and never through the driver.
    """

    def __init__(  # noqa: PLR0913  # by keyword, all that a fit is of
        self,
        data: DataFrame,
        settings: FitSettings,
        shards: Mapping[str, ShardShape],
        roles: Sequence[str],
        *,
        partitions: int,
        carried_ids: Sequence[str] = (),
        earlier: EarlierEffects | None = None,
    ) -> None:
        self.settings = checked(settings, source="fit")
        self._earlier = earlier
        self._shards = shards
        if any(one.estimate != "none" for one in settings.coordinates):
            check_estimable_on_spark(settings, self.columns)
        check_earlier(settings, self.columns, earlier)
        self.roles = tuple(roles)
        self.layout = Layout(
            coordinates=_ordered(settings),
            columns=tuple(shards[coordinate.shard].columns for coordinate in _ordered(settings)),
            partitions=partitions,
            carried_ids=tuple(carried_ids),
        )
        self.spark = data.sparkSession
        self._id_types = _id_types(data)
        self._context = Context(
            spark=self.spark.sparkContext,
            loss=settings.loss,
            partitions=partitions,
            active=frozenset(),
            names=self.roles,
            window=settings.window,
        )
        payloads = shuffled(data, self.layout)
        self.coordinates = tuple(
            self._coordinate(one, blocks(payloads, self.layout, position))
            for position, one in enumerate(self.layout.coordinates)
        )
        self.moving = self.coordinates[self.layout.first :]
        self._accelerator = SparkAccelerator(self.moving) if self._context.window else None
        self._opening: Opening | None = None
        self._opened_for = frozenset[int]()
        self._locked: Table | None = None
        self._ended: Delivery | None = None

    def _coordinate(self, one: CoordinateSettings, rows: Table) -> Coordinate:
        shape = self._shards[one.shard]
        # Statistics of the features are of the rows that train, so they come with a fit.
        plain = regularisation_of(msgspec.structs.replace(one, normalisation="none"), shape.columns, shape.intercept)
        effect = (self._earlier or {}).get(one.name)
        if one.kind == "fixed":
            return SparkFixed(self._context, one, rows, plain, effect if isinstance(effect, FixedEffect) else None)
        earlier = None
        if isinstance(effect, DataFrame):
            key_type = self._id_types[one.entity_key]
            earlier = sent_earlier(effect, one, shape.columns, key_type, self.layout.partitions)
        return SparkRandom(self._context, one, rows, plain, shape.intercept, earlier)

    def _regularisation(self, coordinate: Coordinate, active: frozenset[int]) -> Regularisation:
        """Return what settings say of an effect; with a normalisation this is a pass over the rows that train."""
        one = coordinate.settings
        shape, statistics = self._shards[one.shard], None
        if one.normalisation != "none":

            def partial(records: Iterable[Keyed]) -> Iterator[FeatureStatistics]:
                block = gather(records).block
                yield FeatureStatistics.of(block.examples.rows, block.active_weights(active))

            statistics = coordinate.blocks.mapPartitions(partial).treeReduce(add)
        plain = regularisation_of(one, shape.columns, shape.intercept, statistics)
        # A random effect's prior lies beside its blocks.
        return plain if isinstance(coordinate, SparkRandom) else _with_prior(plain, coordinate)

    @property
    def columns(self) -> dict[str, int]:
        """Columns of each shard."""
        return {name: shape.columns for name, shape in self._shards.items()}

    @property
    def fixed(self) -> SparkFixed:
        """The fixed effect that is updated first; TypeError if every fixed effect is locked."""
        if self.baseline is None:
            raise TypeError("the first coordinate that moves is a random effect")
        return self.baseline

    @property
    def baseline(self) -> SparkFixed | None:
        """The fixed effect that a model is compared with: the one updated first, None if every one is locked."""
        first = self.moving[0]
        return first if isinstance(first, SparkFixed) else None

    @property
    def all_fixed(self) -> tuple[SparkFixed, ...]:
        """The fixed effects, the locked ones first."""
        return tuple(one for one in self.coordinates if isinstance(one, SparkFixed))

    @property
    def random(self) -> tuple[SparkRandom, ...]:
        """The random effects, the locked ones first."""
        return tuple(one for one in self.coordinates if isinstance(one, SparkRandom))

    def check(self, checks: Checks = "full") -> tuple[RoleRows, ...]:
        """Return what each role holds; the first pass over the data, which also fills the cache.

        Parameters
        ----------
        checks
            Whether all rows are checked, a tenth of them, or none.

        Raises
        ------
        BadDataError
            If anything of :mod:`photon.checks` is wrong.
        """
        found = self._context.spark.union(self._inspections(checks)).collect()
        refuse([each for each in found if isinstance(each, Fault)], self.settings.loss)
        return summed_roles([each for each in found if isinstance(each, RoleRows)], len(self.roles))

    def _inspections(self, checks: Checks) -> list["RDD[RoleRows | Fault]"]:
        """Return the passes that see every row once and the features of every shard once."""
        loss, shards = self.settings.loss, set[str]()
        parts: list[RDD[RoleRows | Fault]] = []
        for coordinate in self.coordinates:
            shard = coordinate.settings.shard
            if shard not in shards and (checks != "off" or not parts):
                inspect = inspector(shard, loss, checks, features_alone=bool(parts))
                parts.append(coordinate.blocks.mapPartitions(inspect))
            shards.add(shard)
            if coordinate.settings.entity is not None and checks != "off":
                parts.append(coordinate.blocks.mapPartitions(id_inspector(coordinate.settings.entity, checks)))
        return parts

    def fit(
        self,
        train: Iterable[str],
        *,
        start: Table | None = None,
        progress: Callable[[Sweep], None] = lambda _: None,
        max_sweeps: int | None = None,
        tolerance: float | None = None,
    ) -> Descent[Table | None]:
        """Fit to the rows of the roles ``train``.

        Parameters
        ----------
        train
            Roles whose rows train; the others are scored with them in passing.
        start
            The scores that an earlier fit of this object ended with: the fit goes on from its coefficients,
            without its memory of steps. None: from the earlier model, or from nothing.
        progress
            Called after every sweep.
        max_sweeps, tolerance
            In place of those of the settings.
        """
        for one in self.random:
            if one.settings.estimate != "none" and one.factor is None:
                raise RuntimeError(f"{one.name} has no prior: estimate_priors comes before the fit")
        context = self.with_active(train)
        for coordinate in self.moving:
            coordinate.context = context
            coordinate.regularisation = self._regularisation(coordinate, context.active)
            coordinate.begin(afresh=start is None)
        opening = self._opened(context.active) if start is None else None
        if self._accelerator is not None:
            self._accelerator.begin(afresh=start is None, opening=None if opening is None else opening.sums)
        descent = descend(
            self.moving,
            start if opening is None else opening.scores,
            max_sweeps=self.settings.max_sweeps if max_sweeps is None else max_sweeps,
            tolerance=self.settings.tolerance if tolerance is None else tolerance,
            accelerator=self._accelerator,
            progress=progress,
        )
        self._ended = Delivery(self.moving, descent.scores)
        return descent

    def _opened(self, active: frozenset[int]) -> Opening | None:
        """Return the scores of the earlier model, None without one.

        Which features of an entity train hangs on the rows that do, so that other roles begin elsewhere.
        """
        if self._earlier and (self._opening is None or self._opened_for != active):
            if self._opening is not None:
                self._opening.scores.unpersist()
            self._opening, self._opened_for = open_scores(self.moving, self.locked_scores()), active
        return self._opening

    def locked_scores(self) -> Table | None:
        """Return the sums of the scores of the locked coordinates, on their way to the first that moves, if any are."""
        if self._locked is None:
            self._locked = locked_scores(self.coordinates[: self.layout.first])
        return self._locked

    def retune(self, settings: FitSettings) -> None:
        """Take other penalties for the fits to come; data stay cached, and a fit goes on from the last coefficients.

        Parameters
        ----------
        settings
            The same task and coordinates with other penalties, sweeps or tolerance.

        Raises
        ------
        ConfigurationError
            If they are of another task, of other coordinates or remember other directions: the data that are cached,
            and the coefficients that a fit goes on from, are of the first ones.
        """
        for name in ("task", "tweedie_power"):
            first, other = getattr(self.settings, name), getattr(settings, name)
            if other != first:
                raise ConfigurationError(
                    f"{name}: {other}, after fits with {first}",
                    expected=f"{first}, as in the first fit",
                    mend=f"begin a fit of its own for {name}: {other}",
                )
        if settings.window != self._context.window:
            raise ConfigurationError(
                f"acceleration: {settings.window}", expected=f"{self._context.window}, as in the first fit"
            )
        now, before = (
            [(one.name, one.kind, one.shard, one.entity, one.locked, one.prior_weight) for one in coordinates]
            for coordinates in (_ordered(settings), self.layout.coordinates)
        )
        if now != before:
            raise ConfigurationError("coordinates: not those of the first fit", expected="other penalties alone")
        self.settings = checked(settings, source="fit")
        for coordinate, one in zip(self.coordinates, _ordered(settings), strict=True):
            coordinate.settings = one

    def take_priors(self, factors: Mapping[str, Floats]) -> None:
        """Fit random effects from now on under priors ``N(0, LLᵀ)`` in place of their penalties.

        Parameters
        ----------
        factors
            ``L`` by effect (:meth:`photon.covariance.Covariance.factor`), in units of the residual variance.
        """
        for coordinate in self.random:
            if coordinate.name in factors:
                coordinate.take_prior(factors[coordinate.name])
                coordinate.settings = msgspec.structs.replace(coordinate.settings, l2=1.0, penalise_intercept=True)

    def rescored(self) -> Table:
        """Return the scores of the coefficients as they are, after features or priors have changed.

        A fit that starts there goes on from these coefficients.
        """
        scores = self.locked_scores()
        for coordinate in self.moving:
            table, totals = together(self._context, coordinate.rows(), scores), _added(coordinate.margins_of())
            scores = sent(table, self._context, totals)
        if scores is None:
            raise TypeError("a fit without coordinates")
        if self._accelerator is not None:
            self._accelerator.restart(table, totals)
        return scores

    def fit_fixed_alone(self, train: Iterable[str]) -> Floats:
        """Return the coefficients of the fixed effect fitted alone: the baseline of a GLMix model."""
        context = self.with_active(train)
        regularisation = self._regularisation(self.fixed, context.active)
        alone = SparkFixed(context, self.fixed.settings, self.fixed.blocks, regularisation)
        alone.update(None)
        if alone.others is not None:
            alone.others.unpersist()
        return alone.coefficients

    def with_active(self, train: Iterable[str]) -> Context:
        """Return what coordinates share in a fit to the rows of the roles ``train``."""
        return replace(self._context, active=frozenset(self.roles.index(name) for name in train))

    def measured(self, scores: Table | None, measures: Sequence[Measure]) -> DataFrame:
        """Return the rows that :func:`photon.spark.evaluation.evaluate` takes, for scores that a fit ended with."""
        wanted, names = tuple(measures), self.layout.carried_ids

        def emit(records: Iterable[Keyed]) -> Iterator[bytes]:
            found = gather(records)
            margins = align(found.block, found.arrived) + found.block.examples.offsets
            for measure in wanted:
                yield to_bytes(measured_rows(found.block, margins, measure, names))

        blocks_of = self.moving[0] if all(one.fixed_alone is None for one in wanted) else self.fixed
        tables = together(self._context, blocks_of.blocks, scores).mapPartitions(emit)
        columns = ["measure string, score double, label double, weight double"]
        columns += [f"`{name}` {self._key_type(name)}" for name in names]
        return data_frame(self.spark, tables, ", ".join(columns))

    def coefficients(self, coordinate: SparkRandom) -> DataFrame:
        """Return a random effect as rows (entity, indices, values), sorted by entity within each partition.

        With ``variances`` as well where the coordinate's settings want them.
        """
        return data_frame(self.spark, self.coefficient_tables(coordinate), self.coefficient_columns(coordinate))

    def coefficient_tables(self, coordinate: SparkRandom) -> "RDD[bytes]":
        """Return the rows of :meth:`coefficients` before they are a DataFrame, as whoever keeps them takes them."""
        parts = coordinate.effects(self._delivered(coordinate))
        return parts.flatMap(lambda part: map(to_bytes, coefficient_tables(part)))

    def coefficient_columns(self, coordinate: SparkRandom) -> str:
        """Return the columns of :meth:`coefficients`, as Spark writes a schema."""
        columns = f"entity {self._key_type(coordinate.settings.entity_key)}, indices array<int>, values array<double>"
        return columns + (", variances array<double>" if self._has_variances(coordinate) else "")

    def fixed_variances(self, coordinate: SparkFixed) -> Floats | None:
        """Return the variances of a fixed effect's coefficients; None where its settings want none."""
        return coordinate.variances(self._delivered(coordinate))

    def _key_type(self, key: str) -> str:
        return "string" if self._id_types[key].simpleString() == "string" else "bigint"

    def _has_variances(self, coordinate: SparkRandom) -> bool:
        earlier = (self._earlier or {}).get(coordinate.name)
        if coordinate.settings.locked:
            return isinstance(earlier, DataFrame) and has_variances(earlier)
        return coordinate.settings.variances != "none"

    def _delivered(self, coordinate: Coordinate) -> Table | None:
        if coordinate.settings.locked:
            return None
        if self._ended is None:
            raise RuntimeError(f"{coordinate.name} was never fitted")
        return self._ended.to(coordinate)

    def release(self) -> None:
        """Let go of everything that is cached."""
        for coordinate in self.coordinates:
            coordinate.release()
        if self._opening is not None:
            self._opening.scores.unpersist()
        if self._locked is not None:
            self._locked.unpersist()
        if self._accelerator is not None:
            self._accelerator.release()


def _added(margins: Callable[[Partition], Floats]) -> Callable[[Partition], Floats]:
    return lambda found: align(found.block, found.arrived) + margins(found)


def _ordered(settings: FitSettings) -> tuple[CoordinateSettings, ...]:
    """Return the coordinates in update order, but the locked ones first: their scores are needed once."""
    return tuple(sorted(settings.cycle, key=lambda one: not one.locked))


def _with_prior(plain: Regularisation, coordinate: SparkFixed) -> Regularisation:
    return prior_of_columns(plain, coordinate.earlier, coordinate.settings.prior_weight)


def _id_types(data: DataFrame) -> dict[str, DataType]:
    ids = data.schema["ids"].dataType
    if not isinstance(ids, StructType):
        raise TypeError("ids is a struct of entity ids")
    return {field.name: field.dataType for field in ids.fields}
