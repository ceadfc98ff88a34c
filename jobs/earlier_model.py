"""A model trained earlier, as a training takes it: its coefficients by the columns of the rows at hand.

The earlier model is the output of :mod:`jobs.train_glmix` or :mod:`jobs.import_photon_model`. Where its index maps are
not those of the training set, coefficients find their columns by the names of their features: one join of the two maps,
and one of the coefficients, in the executors. A feature that the training set has not is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from jobs.game.models import SMALL_INDEX
from photon.earlier import check_task
from photon.loss import Task
from photon.model import MODEL_NAME, EffectRecord, FixedEffect, ModelRecord
from photon.rows import Floats
from photon.settings import CoordinateSettings
from photon.spark.earlier import EarlierEffects
from yarnmill import fs
from yarnmill.errors import BadDataError, ConfigurationError
from yarnmill.records import parse_json
from yarnmill.trainingset import Shard, TrainingSet, index_url, training_set_url


@dataclass(frozen=True, slots=True)
class EarlierModel:
    """A training output: where it is and what it says of itself."""

    url: str
    record: ModelRecord

    @property
    def training_set(self) -> str:
        """URL of the training set whose index maps number its columns."""
        return training_set_url(self.url, self.record.training_set)

    def effect(self, name: str) -> EffectRecord | None:
        """Return the effect of that name, if there is one."""
        return next((effect for effect in self.record.effects if effect.name == name), None)


def read_earlier_model(url: str, task: Task, coordinates: Sequence[CoordinateSettings]) -> EarlierModel:
    """Return an earlier model that is one of these coordinates.

    Raises
    ------
    NotFoundError
        If there is none.
    ConfigurationError
        If it is of another task, lacks a locked coordinate, or has another entity of one.
    """
    place = fs.join(url, MODEL_NAME)
    model = EarlierModel(url, parse_json(fs.read_bytes(place), ModelRecord, source=place))
    check_task(model.record.task, task, name=f"earlier_model: {url}")
    for number, one in enumerate(coordinates):
        effect = model.effect(one.name)
        if effect is None and one.locked:
            raise ConfigurationError(
                f"coordinates[{number}].locked: {url} has no {one.name!r}",
                expected=f"one of {', '.join(each.name for each in model.record.effects)}",
            )
        if effect is not None and effect.entity != one.entity:
            raise ConfigurationError(
                f"coordinates[{number}].entity: {one.entity}",
                expected=f"{effect.entity}, as {one.name!r} of {url} has it, or another name",
            )
    return model


def earlier_effects(
    spark: SparkSession,
    model: EarlierModel,
    coordinates: Sequence[CoordinateSettings],
    rows: tuple[str, TrainingSet],
) -> EarlierEffects:
    """Return the effects that the coordinates have in an earlier model, by the columns of a training set.

    Parameters
    ----------
    spark
        The session.
    model
        The earlier one.
    coordinates
        What is to be fitted.
    rows
        URL and record of the training set.
    """
    url, training_set = rows
    shards = {shard.name: shard for shard in training_set.shards}
    found: dict[str, FixedEffect | DataFrame] = {}
    for one in coordinates:
        effect = model.effect(one.name)
        if effect is None:
            continue
        coefficients = spark.read.parquet(fs.join(model.url, "coefficients", one.name))
        shard = shards[one.shard]
        if (effect.index_sha256, effect.columns) != (shard.index_sha256, shard.dimension):
            before = spark.read.parquet(index_url(model.training_set, effect.shard))
            now = spark.read.parquet(index_url(url, one.shard))
            coefficients = renumbered(coefficients, _map(before, now, shard), is_random=one.kind == "random")
        found[one.name] = coefficients if one.kind == "random" else fixed_effect(one, coefficients, shard.dimension)
    return found


def _map(before: DataFrame, now: DataFrame, shard: Shard) -> DataFrame:
    """Return ``before, index``: the columns of the features that both maps have."""
    old = before.select("name", "term", F.col("index").alias("before"))
    # Bags may share a column, which then has several names.
    found = old.join(now.select("name", "term", "index"), ["name", "term"]).select("before", "index").distinct()
    return F.broadcast(found) if shard.dimension <= SMALL_INDEX else found


def renumbered(coefficients: DataFrame, columns: DataFrame, *, is_random: bool) -> DataFrame:
    """Return coefficients by other columns.

    Parameters
    ----------
    coefficients
        In the layout of a training output.
    columns
        ``before, index``; coefficients of other columns are left out.
    is_random
        Whether they are of a random effect.
    """
    if not is_random:
        return coefficients.withColumnRenamed("index", "before").join(columns, "before").drop("before")
    lists = ["indices", *(name for name in ("values", "variances") if name in coefficients.columns)]
    one_a_row = coefficients.select("entity", F.explode(F.arrays_zip(*lists)).alias("one"))
    flat = one_a_row.select(
        "entity", F.col("one.indices").alias("before"), *(F.col(f"one.{name}") for name in lists[1:])
    )
    entries = F.struct(F.col("index").alias("indices"), *lists[1:])
    gathered = flat.join(columns, "before").groupBy("entity").agg(F.array_sort(F.collect_list(entries)).alias("all"))
    return gathered.select("entity", *(_part(name) for name in lists))


def _part(name: str) -> Column:
    return F.transform("all", lambda one: one[name]).alias(name)


def fixed_effect(settings: CoordinateSettings, coefficients: DataFrame, columns: int) -> FixedEffect:
    """Return a fixed effect from rows (index, value[, variance]): a number a column, at the driver as in training.

    Raises
    ------
    BadDataError
        If there are other columns than ``columns``.
    """
    table = coefficients.toArrow()
    places = table.column("index").to_numpy()
    if np.any((places < 0) | (places >= columns)):
        raise BadDataError(f"coordinate {settings.name}: the earlier model has column {places.max()} of {columns}")

    def dense(name: str) -> Floats:
        values = np.zeros(columns)
        values[places] = table.column(name).fill_null(0.0).to_numpy()
        return values

    has_variances = "variance" in table.column_names and table.column("variance").null_count < len(table)
    variances = dense("variance") if has_variances else None
    return FixedEffect(settings.name, settings.shard, dense("value"), variances)
