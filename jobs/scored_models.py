"""What to score rows with: a bundle as a task opens it, and which of its effects no executor should hold.

The features of a GLMix model are the training set's own vectors where the model was trained with its index maps, and
looked up anew, as a request's are, where it was not. Effects that are not joined are memory-mapped, so the workers of
a node share their pages. The coefficients of those that are joined are read in ranges, straight from the blob store.
"""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from photon.model import (
    CELLS_NAME,
    COEFFICIENTS_NAME,
    EFFECTS_NAME,
    ENTITIES_NAME,
    MODEL_NAME,
    VARIANCES_NAME,
    EffectRecord,
    GlmixModel,
    ModelRecord,
    load_model,
)
from photon.rows import Longs
from photon.spark.arrow_rows import id_array, vectors
from photon.spark.parts import Parts, known_parts
from photon.spark.scoring import JoinedEffect
from yarnmill.blobs import BlobStore, open_store
from yarnmill.bundle.cache import HeldBundle
from yarnmill.bundle.manifest import Manifest
from yarnmill.bundle.pack import read_manifest
from yarnmill.bundle.store import fetch_held, read_bundle_manifest
from yarnmill.errors import BadDataError, ConfigurationError
from yarnmill.flavours.columns import columns_of
from yarnmill.flavours.glmix import INDEX_NAME, GlmixPredictor
from yarnmill.records import Record, parse_json
from yarnmill.trainingset import TrainingSet

CELLS_A_TASK: Final = 1 << 21
"""Coefficients that one task reads: 32 MiB of them and their cells."""

_HEADER_BYTES: Final = 4096
"""More than NumPy's header of a plain array ever takes."""


class GlmixPlan(Record, frozen=True, kw_only=True):
    """How a GLMix bundle scores rows; it travels to the workers as a value.

    Parameters
    ----------
    record
        The content of its ``model.json``.
    joined
        Effects whose coefficients the rows meet in a shuffle.
    has_vectors
        Whether the rows' own vectors are in the model's columns.
    without
        Files that no task opens.
    """

    blobs: str
    bundle_id: str
    cache: str
    record: ModelRecord
    joined: tuple[str, ...]
    has_vectors: bool
    without: tuple[str, ...]

    @property
    def order(self) -> tuple[str, ...]:
        """The effects, in the model's order."""
        return tuple(effect.name for effect in self.record.effects)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the rows that are read to score them."""
        if not self.has_vectors:
            return ("features", "shards")
        return tuple(dict.fromkeys(f"shards.{effect.shard}" for effect in self.record.effects))

    def with_vectors(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return rows with ``shards`` in the model's columns."""
        if self.has_vectors:
            return batch
        predictor = _opened_predictor(self)
        found = predictor.shards(columns_of(batch, predictor.signature))
        shards = pa.StructArray.from_arrays([vectors(rows) for rows in found.values()], list(found))
        return batch.set_column(batch.schema.names.index("shards"), "shards", shards)

    def __call__(self, batch: pa.RecordBatch) -> Parts:
        """Return the parts of the effects that are not joined."""
        columns = {effect.shard: effect.columns for effect in self.record.effects}
        return known_parts(_opened_model(self), batch, columns)


def plan_glmix(
    store: BlobStore, bundle_id: str, manifest: Manifest, rows: TrainingSet, join_above_mib: int, cache: str
) -> GlmixPlan:
    """Return how a GLMix bundle scores rows: the largest effects are joined until the others fit in a size.

    Raises
    ------
    BadDataError
        If the bundle has no ``model.json``.
    """
    files = {file.path: file for file in manifest.files}
    if MODEL_NAME not in files:
        raise BadDataError(f"bundle {bundle_id}: no {MODEL_NAME}", expected="the files of a GLMix model")
    with store.open(files[MODEL_NAME].sha256) as stream:
        record = parse_json(stream.read(), ModelRecord, source=f"{MODEL_NAME} of bundle {bundle_id}")
    sizes = {
        effect.name: sum(files[path].size_bytes for path in _paths(effect) if path in files)
        for effect in record.effects
        if effect.entity is not None
    }
    joined = _too_large(sizes, join_above_mib << 20)
    maps = {shard.name: shard.index_sha256 for shard in rows.shards}
    has_vectors = all(maps.get(effect.shard) == effect.index_sha256 for effect in record.effects)
    without = [path for effect in record.effects if effect.name in joined for path in _paths(effect)]
    without += [path for path in files if path.endswith(f"/{VARIANCES_NAME}")]
    without += [path for path in files if has_vectors and path.startswith(f"{INDEX_NAME}/")]
    return GlmixPlan(
        blobs=store.url,
        bundle_id=bundle_id,
        cache=cache,
        record=record,
        joined=joined,
        has_vectors=has_vectors,
        without=tuple(without),
    )


def _paths(effect: EffectRecord) -> tuple[str, ...]:
    names = (CELLS_NAME, COEFFICIENTS_NAME, ENTITIES_NAME)
    return tuple(f"{EFFECTS_NAME}/{effect.name}/{name}" for name in names)


def _too_large(sizes: dict[str, int], limit: int) -> tuple[str, ...]:
    left, joined = sum(sizes.values()), []
    for name in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        if left > limit:
            joined.append(name)
            left -= sizes[name]
    return tuple(name for name in sizes if name in joined)


def joined_effects(spark: SparkSession, plan: GlmixPlan) -> tuple[JoinedEffect, ...]:
    """Return the joined effects with their coefficients; every byte that an executor reads of them is checked."""
    store = open_store(plan.blobs)
    files = {file.path: file.sha256 for file in read_bundle_manifest(store, plan.bundle_id).files}
    effects = [effect for effect in plan.record.effects if effect.name in plan.joined]
    return tuple(_joined(spark, store, effect, [files[path] for path in _paths(effect)]) for effect in effects)


def _joined(spark: SparkSession, store: BlobStore, effect: EffectRecord, blobs: Sequence[str]) -> JoinedEffect:
    cells, coefficients, entities = (_layout(store, blob) for blob in blobs)
    starts = range(0, max(1, cells.length), CELLS_A_TASK)
    cut = [(start, min(start + CELLS_A_TASK, cells.length)) for start in starts]
    frame = spark.createDataFrame(spark.sparkContext.parallelize(cut, len(cut)), "start long, stop long")
    read = _ReadCells(
        blobs=store.url, columns=effect.columns, cells=cells, coefficients=coefficients, entities=entities
    )
    return JoinedEffect(effect.name, effect.shard, effect.entity or "", effect.columns, frame, read)


class _Layout(Record, frozen=True, kw_only=True):
    """An array in a blob: where its numbers begin, of which type and how many they are."""

    blob: str
    first_byte: int
    dtype: str
    length: int

    def part(self, store: BlobStore, start: int, stop: int) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
        """Return the elements from ``start`` up to ``stop``."""
        dtype = np.dtype(self.dtype)
        size = (stop - start) * dtype.itemsize
        data = store.read_part(self.blob, self.first_byte + start * dtype.itemsize, size)
        if len(data) < size:
            raise BadDataError(f"blob {self.blob} in {store.url}: ends before its element {stop}")
        return np.frombuffer(data, dtype)


def _layout(store: BlobStore, blob: str) -> _Layout:
    stream = io.BytesIO(store.read_part(blob, 0, _HEADER_BYTES))
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return _Layout(blob=blob, first_byte=stream.tell(), dtype=dtype.str, length=shape[0])


class _ReadCells(Record, frozen=True, kw_only=True):
    """From ranges of cells to rows of coefficients; an entity that two ranges share has two rows."""

    blobs: str
    columns: int
    cells: _Layout
    coefficients: _Layout
    entities: _Layout

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        store = open_store(self.blobs)
        for batch in batches:
            for row in batch.to_pylist():
                if row["stop"] > row["start"]:
                    yield self._rows(store, row["start"], row["stop"])

    def _rows(self, store: BlobStore, start: int, stop: int) -> pa.RecordBatch:
        cells: Longs = self.cells.part(store, start, stop).astype(np.int64)
        entity, column = np.divmod(cells, self.columns)
        starts = np.flatnonzero(np.diff(entity, prepend=-1))
        offsets = pa.array(np.append(starts, len(cells)), pa.int32())
        first, last = int(entity[0]), int(entity[-1])
        known = self.entities.part(store, first, last + 1)[entity[starts] - first]
        lists = [
            pa.ListArray.from_arrays(offsets, part)
            for part in (pa.array(column, pa.int32()), pa.array(self.coefficients.part(store, start, stop)))
        ]
        return pa.RecordBatch.from_arrays([id_array(known), *lists], names=["entity", "indices", "values"])


@lru_cache(maxsize=16)
def _opened_model(plan: GlmixPlan) -> GlmixModel:
    return load_model(_bundle(plan).folder, without=plan.joined)


@lru_cache(maxsize=16)
def _opened_predictor(plan: GlmixPlan) -> GlmixPredictor:
    folder = _bundle(plan).folder
    return GlmixPredictor(folder, read_manifest(folder).signature, without=plan.joined)


@lru_cache(maxsize=16)
def _bundle(plan: GlmixPlan) -> HeldBundle:
    return fetch_held(open_store(plan.blobs), plan.bundle_id, bundle_cache(plan.cache), without=plan.without)


def bundle_cache(of_user: str) -> Path:
    """Return where bundles are kept: a container's own folder, which YARN clears, else the user's cache."""
    return Path("bundles").absolute() if "CONTAINER_ID" in os.environ else Path(of_user)


def refuse_contributions(name: str, manifest: Manifest) -> None:
    """Raise ConfigurationError unless the model is a sum of effects."""
    if manifest.flavour != "glmix":
        raise ConfigurationError(
            f"contributions: model {name!r} is of flavour {manifest.flavour}, which is no sum of effects",
            expected="models of flavour glmix alone",
            mend=f"score {name} by a job of its own, without contributions",
        )
