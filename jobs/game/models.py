"""Saved GAME models in Photon's Avro, written by the executors and read side by side; never through the driver.

Between the file and our columns stands one long form, a row a coefficient: ``model_id``, ``key`` (Photon's
feature key), ``mean`` and ``variance``. Coefficients come in the layout of :mod:`jobs.train_glmix`: index and value for
a fixed effect, entity, indices and values for a random one; with ``variance`` or ``variances`` where there are any.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from jobs.game.examples import feature_key, name_and_term
from jobs.game.files import Range, avro_files, ranges, read_ranges, write_parts
from photon.avro.container import Fields, write_records
from photon.avro.layout import (
    COEFFICIENTS_FOLDER,
    FIXED_FOLDER,
    ID_INFO_NAME,
    METADATA_NAME,
    RANDOM_FOLDER,
    EffectInfo,
    parse_id_info,
    render_id_info,
    task_of_metadata,
)
from photon.avro.models import FIXED_MODEL_ID, SPARSITY_THRESHOLD, NamedModel, model_of_record, model_record
from photon.avro.schemas import BAYESIAN_LINEAR_MODEL
from yarnmill import fs
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError
from yarnmill.records import Record
from yarnmill.trainingset import INTERCEPT

SMALL_INDEX: Final = 1_000_000
"""Columns up to which an index map is sent to every executor instead of being shuffled to meet its rows."""

_LONG: Final = "model_id string, key string, mean double, variance double"
_BATCH: Final = 65536

IndexRows = DataFrame
"""``shard, name, term, index``: index maps with bags and keys."""


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """The index map of one shard: ``key``, ``index``."""

    rows: DataFrame
    dimension: int

    @property
    def hinted(self) -> DataFrame:
        """The rows, to be broadcast if they are few."""
        return F.broadcast(self.rows) if self.dimension <= SMALL_INDEX else self.rows


def shard_index(index: IndexRows, shard: str, dimension: int) -> ShardIndex:
    """Return one shard's map by feature key."""
    key = F.when(F.col("name") == INTERCEPT, F.lit(INTERCEPT)).otherwise(F.col("term"))
    return ShardIndex(index.where(F.col("shard") == shard).select(key.alias("key"), "index"), dimension)


@dataclass(frozen=True, slots=True)
class Writing:
    """How models are written.

    Parameters
    ----------
    task
        Ours; told in every record.
    threshold
        Coefficients no larger than this are left out.
    files
        Most files a coordinate; unset: one a partition.
    """

    task: str
    threshold: float = SPARSITY_THRESHOLD
    files: int | None = None


def write_effect(effect: EffectInfo, coefficients: DataFrame, index: ShardIndex, folder: str, writing: Writing) -> int:
    """Write one coordinate of a model below ``folder``; return the number of its models.

    Parameters
    ----------
    effect
        Which coordinate.
    coefficients
        In the layout of a training output.
    index
        The map of its shard.
    folder
        The model's folder.
    writing
        How.
    """
    named = _named(effect, coefficients, index, writing.threshold)
    if effect.entity is None:
        named = named.repartition(1)
    elif index.dimension > SMALL_INDEX:
        # The join has torn entities apart.
        named = named.repartition("model_id").sortWithinPartitions("model_id")
    if writing.files is not None:
        named = named.coalesce(writing.files)
    below = fs.join(folder, effect.folder)
    fs.write_bytes(fs.join(below, ID_INFO_NAME), render_id_info(effect))
    to_records = _ToRecords(task=writing.task, threshold=writing.threshold)
    written = write_parts(named, fs.join(below, COEFFICIENTS_FOLDER), BAYESIAN_LINEAR_MODEL, to_records)
    if effect.entity is None and not written:  # every coefficient is smaller than the threshold
        nothing = model_record(NamedModel(FIXED_MODEL_ID, writing.task, (), ()))
        with fs.open_write(fs.join(below, COEFFICIENTS_FOLDER, "part-00000.avro"), overwrite=True) as stream:
            write_records(stream, BAYESIAN_LINEAR_MODEL, [nothing])
        return 1
    return written


def _named(effect: EffectInfo, coefficients: DataFrame, index: ShardIndex, threshold: float) -> DataFrame:
    """Return the coefficients in the long form, those of an entity one after the other."""
    rows = _one_a_row(effect, coefficients).where(F.abs("mean") > threshold)
    return rows.join(index.hinted, "index").select("model_id", "key", "mean", "variance")


def _one_a_row(effect: EffectInfo, coefficients: DataFrame) -> DataFrame:
    nothing = F.lit(None).cast("double")
    if effect.entity is None:
        variance = F.col("variance") if "variance" in coefficients.columns else nothing
        named = F.lit(FIXED_MODEL_ID).alias("model_id")
        return coefficients.select(named, "index", F.col("value").alias("mean"), variance.alias("variance"))
    has_variances = "variances" in coefficients.columns
    zipped = F.arrays_zip("indices", "values", *(("variances",) if has_variances else ()))
    rows = coefficients.select(F.col("entity").cast("string").alias("model_id"), F.explode(zipped).alias("one"))
    variance = F.col("one.variances") if has_variances else nothing
    return rows.select(
        "model_id",
        F.col("one.indices").alias("index"),
        F.col("one.values").alias("mean"),
        variance.alias("variance"),
    )


class _ToRecords(Record, frozen=True, kw_only=True):
    """From long rows, entity after entity, to model records; it travels to the workers as a value."""

    task: str
    threshold: float

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[Fields]:
        for model_id, rows in itertools.groupby(_tuples(batches), key=lambda row: row[0]):
            keys, means, variances = zip(*((key, mean, variance) for _, key, mean, variance in rows), strict=True)
            known = None if variances[0] is None else variances
            model = NamedModel(model_id, self.task, tuple(map(name_and_term, keys)), means, known)
            yield model_record(model, threshold=self.threshold)


def _tuples(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[str, str, float, float | None]]:
    for batch in batches:
        columns = (batch.column(name).to_pylist() for name in ("model_id", "key", "mean", "variance"))
        yield from zip(*columns, strict=True)


class SavedModel(Record, frozen=True, kw_only=True):
    """What a model's folder holds: its task, None if nothing tells it, and its coordinates."""

    url: str
    task: str | None
    effects: tuple[EffectInfo, ...]


def read_saved_model(url: str) -> SavedModel:
    """Return what stands in a model's folder.

    Raises
    ------
    NotFoundError
        If it holds no coordinate.
    ConfigurationError
        If it holds a matrix factorisation, as Photon made them before its version 8.
    """
    names = {child.name for child in fs.children(url)}
    if "matrix-factorization" in names:
        raise ConfigurationError(f"{url}: has a matrix factorisation", expected="fixed and random effects alone")
    effects = [
        parse_id_info(fs.read_bytes(fs.join(child.url, ID_INFO_NAME)), child.name, is_random=kind == RANDOM_FOLDER)
        for kind in (FIXED_FOLDER, RANDOM_FOLDER)
        if kind in names
        for child in fs.children(fs.join(url, kind))
    ]
    if not effects:
        raise NotFoundError(f"{url}: no GAME model", expected=f"{FIXED_FOLDER} or {RANDOM_FOLDER} below it")
    task = task_of_metadata(fs.read_bytes(fs.join(url, METADATA_NAME))) if METADATA_NAME in names else None
    return SavedModel(url=url, task=task, effects=tuple(effects))


def read_effect(spark: SparkSession, model: SavedModel, effect: EffectInfo) -> DataFrame:
    """Return the coefficients of a saved coordinate in the long form; ``variance`` is null where none is known."""
    files = avro_files([fs.join(model.url, effect.folder, COEFFICIENTS_FOLDER)])
    return read_ranges(spark, ranges(files), _ToRows(task=model.task), _LONG)


def copy_effect(spark: SparkSession, model: SavedModel, effect: EffectInfo, folder: str) -> None:
    """Copy a saved coordinate as it is into another model's folder, file by file in the executors."""
    source, target = fs.join(model.url, effect.folder), fs.join(folder, effect.folder)
    fs.write_bytes(fs.join(target, ID_INFO_NAME), render_id_info(effect))
    pairs = [
        (file.url, fs.join(target, COEFFICIENTS_FOLDER, file.name))
        for file in fs.children(fs.join(source, COEFFICIENTS_FOLDER))
        if not file.is_folder and not file.name.startswith(".")
    ]
    fs.make_folder(fs.join(target, COEFFICIENTS_FOLDER))
    spark.sparkContext.parallelize(pairs, len(pairs)).foreach(_copy)


def _copy(pair: tuple[str, str]) -> None:
    fs.copy_file(*pair, overwrite=True)


class _ToRows(Record, frozen=True, kw_only=True):
    """From model records to long rows."""

    task: str | None

    def __call__(self, _: Range, records: Iterator[Fields]) -> Iterator[pa.RecordBatch]:
        rows: list[tuple[str, str, float, float | None]] = []
        for record in records:
            model = model_of_record(record)
            if self.task is not None and model.task not in (None, self.task):
                raise BadDataError(
                    f"model {model.model_id!r} is {model.task}", expected=f"{self.task}, as its folder says"
                )
            variances: Sequence[float | None] = model.variances or (None,) * len(model.means)
            rows += [
                (model.model_id, feature_key(*key), mean, _known(variance))
                for key, mean, variance in zip(model.keys, model.means, variances, strict=True)
            ]
            while len(rows) >= _BATCH:
                yield _batch(rows[:_BATCH])
                rows = rows[_BATCH:]
        if rows:
            yield _batch(rows)


def _known(variance: float | None) -> float | None:
    return None if variance is None or math.isnan(variance) else variance


def _batch(rows: Sequence[tuple[str, str, float, float | None]]) -> pa.RecordBatch:
    ids, keys, means, variances = zip(*rows, strict=True)
    return pa.RecordBatch.from_pydict(
        {
            "model_id": pa.array(ids, pa.string()),
            "key": pa.array(keys, pa.string()),
            "mean": pa.array(means, pa.float64()),
            "variance": pa.array(variances, pa.float64()),
        }
    )


def indexed(effect: EffectInfo, rows: DataFrame, index: ShardIndex) -> DataFrame:
    """Return long rows in the layout of a training output; features that the index does not have are left out."""
    found = rows.join(index.hinted, "key")
    if effect.entity is None:
        return found.select("index", F.col("mean").alias("value"), "variance")
    gathered = found.groupBy("model_id").agg(
        F.array_sort(F.collect_list(F.struct("index", "mean", "variance"))).alias("all")
    )
    part: Callable[[str], Column] = lambda name: F.transform("all", lambda one: one[name])  # noqa: E731
    return gathered.select(
        F.col("model_id").alias("entity"),
        part("index").alias("indices"),
        part("mean").alias("values"),
        part("variance").alias("variances"),
    )
