"""A model that was fitted on Spark: its random effects stay in the executors, and rows to score go to them.

Of a random effect this process has the name, the columns and the number of entities. Its coefficients are brought
here where somebody asks for them by name, up to a limit: :meth:`SparkFitted.collected` and what is made of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from pyspark import RDD, StorageLevel
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from photon.entities import Keys
from photon.fitted import Fitted, GlmixRecord, dense_coefficients
from photon.model import Effect, EffectRecord, FixedEffect, GlmixModel, RandomEffect, random_effect_from_entities
from photon.rows import Floats
from photon.spark.arrow_rows import data_frame
from photon.spark.blocks import keys_of
from photon.spark.earlier import has_variances
from photon.spark.random_effect import SparkRandom
from photon.spark.scoring import JoinedEffect
from photon.spark.train import SparkGlmix
from yarnmill.errors import ConfigurationError, NotFoundError
from yarnmill.records import canonical_json, parse_json

MOST_COEFFICIENTS: Final = 50_000_000
"""Coefficients of random effects that come to this process unless more are asked for: 800 MB with their cells."""

_RECORD: Final = "glmix"
_COEFFICIENTS: Final = "coefficients"


@dataclass(frozen=True, slots=True)
class KeptEffect:
    """A random effect in the executors.

    Parameters
    ----------
    coefficients
        Rows (entity, indices, values[, variances]), one an entity.
    tables
        What of them is cached, if anything is: without anybody who holds it Spark lets go of it too.
    """

    coefficients: DataFrame
    tables: "RDD[bytes] | None" = None

    def release(self) -> None:
        """Let the executors go of what is cached."""
        if self.tables is not None:
            self.tables.unpersist()


def keep(glmix: SparkGlmix, coordinate: SparkRandom) -> tuple[KeptEffect, int]:
    """Return a random effect as the fit left it, and its entities: one pass, after which the fit's blocks may go.

    The rows are cached in the executors, on their disks where memory is short; where the session has a checkpoint
    folder they are written there too, so that losing an executor costs a read and not the fit over again.
    """
    tables = glmix.coefficient_tables(coordinate).persist(StorageLevel.MEMORY_AND_DISK)
    if glmix.spark.sparkContext.getCheckpointDir() is not None:
        tables.checkpoint()
    rows = data_frame(glmix.spark, tables, glmix.coefficient_columns(coordinate))
    return KeptEffect(rows, tables), rows.count()


class SparkFitted:
    """A fitted model whose random effects stay in the executors; what :class:`photon.fitted.Fitted` is otherwise.

    Parameters
    ----------
    record
        All but coefficients.
    fixed
        The fixed effect.
    random
        The random effects, in the model's order.
    """

    def __init__(self, record: GlmixRecord, fixed: FixedEffect, random: Sequence[KeptEffect]) -> None:
        self.record, self.fixed = record, fixed
        self._effects = {one.formula.name: one.effect_record for one in record.effects[1:]}
        self._random = dict(zip(self._effects, random, strict=True))
        self._cells: dict[str, int] = {}
        self._here: dict[str, RandomEffect] = {}
        self._is_released = False

    def coefficients(self, name: str) -> DataFrame:
        """Return a random effect's coefficients as rows (entity, indices, values[, variances]).

        Raises
        ------
        KeyError
            If there is no random effect of that name.
        ConfigurationError
            If they were released.
        """
        if name not in self._random:
            raise KeyError(f"no random effect {name!r}; there are {', '.join(self._random)}")
        if self._is_released:
            raise ConfigurationError(
                f"{name}: its coefficients were released",
                expected="a model that is scored with, collected or written before",
                mend="fit again, or read what write wrote",
            )
        return self._random[name].coefficients

    def release(self) -> None:
        """Let the executors go of the coefficients; what was collected, written or read stays."""
        self._is_released = True
        for one in self._random.values():
            one.release()

    @property
    def known(self) -> GlmixModel:
        """The effects that every executor may hold."""
        return GlmixModel(self.record.task, (self.fixed,))

    def joined(self) -> tuple[JoinedEffect, ...]:
        """Return the effects that rows meet by their entity."""
        return tuple(
            JoinedEffect(name, one.shard, one.entity or "", one.columns, self.coefficients(name))
            for name, one in self._effects.items()
        )

    def key_kinds(self) -> dict[str, Keys]:
        """Return, by entity key, no ids of the kind that the ids are of."""
        return {one.entity or "": _no_keys(self.coefficients(name)) for name, one in self._effects.items()}

    def collected(self, most_coefficients: int | None = None) -> Fitted:
        """Return the model with all coefficients in this process, where they are kept from then on.

        Raises
        ------
        ConfigurationError
            If there are more than ``most_coefficients`` in the random effects, :data:`MOST_COEFFICIENTS` unless given.
        """
        most = MOST_COEFFICIENTS if most_coefficients is None else most_coefficients
        effects: tuple[Effect, ...] = (self.fixed, *self._brought(list(self._random), most))
        return Fitted(GlmixModel(self.record.task, effects), self.record)

    @property
    def model(self) -> GlmixModel:
        """The model in this process: see :meth:`collected`."""
        return self.collected().model

    def effect(self, name: str) -> Effect:
        """Return an effect in this process; a random one is brought here, within the limit of :meth:`collected`."""
        if name == self.fixed.name:
            return self.fixed
        return self._brought([name], MOST_COEFFICIENTS)[0]

    def is_here(self, name: str) -> bool:
        """Return whether an effect's coefficients are in this process already."""
        return name == self.fixed.name or name in self._here

    def coefficients_of(self, name: str) -> tuple[Keys | None, Floats]:
        """Return what :meth:`photon.fitted.Fitted.coefficients_of` does, of :meth:`effect`."""
        return dense_coefficients(self.effect(name))

    def save(self, folder: Path) -> None:
        """Write the collected model as arrays below a folder of this machine."""
        self.collected().save(folder)

    def write(self, url: str) -> None:
        """Write the model to a folder that is not there yet, the executors their coefficients themselves as Parquet.

        The record comes last: a folder without it is none of a model.
        """
        spark = SparkSession.builder.getOrCreate()
        for place, name in enumerate(self._random, start=1):
            self.coefficients(name).write.parquet(_part(url, place))
        columns = {"index": pa.array(range(len(self.fixed.coefficients)), pa.int32())}
        columns["value"] = pa.array(self.fixed.coefficients)
        if self.fixed.variances is not None:
            columns["variance"] = pa.array(self.fixed.variances)
        spark.createDataFrame(pa.table(columns)).coalesce(1).write.parquet(_part(url, 0))
        text = canonical_json(self.record).decode()
        spark.createDataFrame([(text,)], "value string").coalesce(1).write.text(f"{url.rstrip('/')}/{_RECORD}")

    @classmethod
    def read(cls, url: str) -> "SparkFitted":
        """Return a model that :meth:`write` wrote: its coefficients are read as rows meet them.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        spark, place = SparkSession.builder.getOrCreate(), f"{url.rstrip('/')}/{_RECORD}"
        try:
            text = "".join(row[0] for row in spark.read.text(place, wholetext=True).collect())
        except AnalysisException as problem:
            raise NotFoundError(f"{url}: no model ({problem})", expected="a folder that Glmix.write wrote") from None
        record = parse_json(text.encode(), GlmixRecord, source=place)
        name = record.effects[0].formula.name
        table = spark.read.parquet(_part(url, 0)).toArrow().sort_by("index")
        fixed = FixedEffect(
            name,
            name,
            table.column("value").to_numpy(),
            table.column("variance").to_numpy() if "variance" in table.column_names else None,
        )
        random = [KeptEffect(spark.read.parquet(_part(url, place))) for place in range(1, len(record.effects))]
        return cls(record, fixed, random)

    def _brought(self, names: Sequence[str], most: int) -> list[RandomEffect]:
        """Return random effects in this process; those that are not here yet come, if all are within a limit."""
        missing = [name for name in names if name not in self._here]
        if missing:
            self._check_size(names, most)
        for name in missing:
            self._here[name] = collected_effect(self._effects[name], self.coefficients(name))
        return [self._here[name] for name in names]

    def _check_size(self, names: Sequence[str], most: int) -> None:
        for name in names:
            if name not in self._cells:
                row = self.coefficients(name).agg(F.sum(F.size("values"))).first()
                self._cells[name] = 0 if row is None else row[0] or 0
        found = sum(self._cells[name] for name in names)
        if found > most:
            raise ConfigurationError(
                f"{', '.join(names)}: {found:,} coefficients",
                expected=f"at most {most:,} in this process",
                mend="score Spark DataFrames (transform, predict), read fitted_.coefficients(effect) there, keep the "
                "model with write; collected(most_coefficients=…) brings more here",
            )


def collected_effect(record: EffectRecord, coefficients: DataFrame) -> RandomEffect:
    """Return a random effect in this process: the one way by which coefficients come here."""
    lists = ["indices", "values", *(["variances"] if has_variances(coefficients) else [])]
    table = coefficients.select("entity", *lists).toArrow().combine_chunks()
    if not table.num_rows:
        none, nothing = np.zeros(0, np.int64), np.zeros(0)
        variances = nothing if len(lists) > 2 else None
        return random_effect_from_entities(record, _no_keys(coefficients), none, none, nothing, variances)
    indices, *numbers = (pa.concat_arrays(table.column(name).chunks) for name in lists)
    return random_effect_from_entities(
        record,
        keys_of(table, "entity"),
        np.diff(indices.offsets.to_numpy()).astype(np.int64),
        indices.flatten().to_numpy().astype(np.int64),
        *(each.flatten().to_numpy().astype(np.float64) for each in numbers),
    )


def _no_keys(coefficients: DataFrame) -> Keys:
    is_text = coefficients.schema["entity"].dataType.simpleString() == "string"
    return np.zeros(0, np.str_) if is_text else np.zeros(0, np.int64)


def _part(url: str, place: int) -> str:
    # By number: the name of an effect, such as user:film, may be none that a file system takes.
    return f"{url.rstrip('/')}/{_COEFFICIENTS}/{place}"
