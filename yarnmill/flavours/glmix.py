"""GLMix models: from a training output to memory-mapped arrays, and from named features to probabilities.

A bundle's folder holds ``model.json``, ``features.json`` (which features feed which shard), one folder of
arrays an effect (:mod:`photon.model`) and the index maps of the bags as sorted arrays. A request names
features as the feature tables do; which columns they are is the bundle's own business.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from photon.entities import Keys
from photon.model import (
    MODEL_NAME,
    Effect,
    EffectRecord,
    FixedEffect,
    GlmixModel,
    ModelRecord,
    RandomEffect,
    load_model,
    mapped,
    random_effect_from_entities,
    save_model,
)
from photon.rows import Floats, Longs, SparseRows
from photon.scoring import margins, means, positions
from yarnmill import fs
from yarnmill.bundle.manifest import Field, Signature
from yarnmill.errors import BadDataError, NotFoundError
from yarnmill.flavours.keys import fixed_width, text_widths, wanted_keys
from yarnmill.flavours.predictor import Column
from yarnmill.records import Record, canonical_json, parse_json
from yarnmill.tables import FeatureDtype
from yarnmill.trainingset import INTERCEPT, TrainingSet, index_url, read_training_set, training_set_url

FEATURES_NAME: Final = "features.json"
INDEX_NAME: Final = "index"


class ShardFeatures(Record, frozen=True, kw_only=True):
    """A shard: column of the intercept, column of each number, names of its bags (their maps are files)."""

    name: str
    columns: int
    intercept: int | None
    numbers: dict[str, int]
    bags: tuple[str, ...]


class InputFeature(Record, frozen=True, kw_only=True):
    """A feature that a request brings."""

    name: str
    dtype: FeatureDtype
    default: float | None = None


class ModelFeatures(Record, frozen=True, kw_only=True):
    """The content of ``features.json``."""

    features: tuple[InputFeature, ...]
    shards: tuple[ShardFeatures, ...]
    schema_version: int = 1


def prepare_glmix(output_url: str, folder: Path) -> Signature:
    """Fill a local folder with a trained model, ready to be memory-mapped, and return its signature.

    Raises
    ------
    NotFoundError
        If the output or the training set it names is not there.
    BadDataError
        If the training set's index maps are no longer those that the model was trained with.
    """
    record_url = fs.join(output_url, MODEL_NAME)
    record = parse_json(fs.read_bytes(record_url), ModelRecord, source=record_url)
    place = training_set_url(output_url, record.training_set)
    record = msgspec.structs.replace(record, training_set=place)
    training_set = read_training_set(record.training_set)
    _check_indexes(record, training_set)
    features = _features(record, training_set, folder)
    (folder / FEATURES_NAME).write_bytes(canonical_json(features))
    save_model(folder, record, (_read_effect(output_url, effect) for effect in record.effects))
    return _signature(record, training_set, features)


def _check_indexes(record: ModelRecord, training_set: TrainingSet) -> None:
    current = {shard.name: shard.index_sha256 for shard in training_set.shards}
    for effect in record.effects:
        if current.get(effect.shard) != effect.index_sha256:
            raise BadDataError(
                f"{record.training_set}: the index map of shard {effect.shard!r} is not the one {effect.name!r} has",
                expected=f"the map {effect.index_sha256[:12]}, which the model was trained with",
                mend="train again on the training set as it is now",
            )


def _read_effect(output_url: str, record: EffectRecord) -> Effect:
    # Serving needs no variances, which would double what it maps.
    columns = ("index", "value") if record.entity is None else ("entity", "indices", "values")
    table = _read_parquet(fs.join(output_url, "coefficients", record.name), columns)
    if record.entity is None:
        coefficients = np.zeros(record.columns)
        coefficients[table.column("index").to_numpy()] = table.column("value").to_numpy()
        return FixedEffect(record.name, record.shard, coefficients)
    indices, values = (table.column(name).combine_chunks() for name in ("indices", "values"))
    return random_effect_from_entities(
        record,
        _keys(table.column("entity")),
        np.diff(indices.offsets.to_numpy()).astype(np.int64),
        indices.flatten().to_numpy().astype(np.int64),
        values.flatten().to_numpy().astype(np.float64),
    )


def _keys(column: pa.ChunkedArray) -> Keys:
    if pa.types.is_integer(column.type):
        integers: Keys = column.to_numpy().astype(np.int64)
        return integers
    return np.array(column.to_pylist(), dtype=np.str_)


def _read_parquet(url: str, columns: Sequence[str]) -> pa.Table:
    tables = []
    for child in fs.children(url):
        if child.name.endswith(".parquet"):
            with fs.open_read(child.url) as stream:
                tables.append(pq.read_table(pa.BufferReader(stream.read()), columns=list(columns)))
    if not tables:
        raise NotFoundError(f"{url}: no Parquet there", expected="the output of a finished training run")
    return pa.concat_tables(tables).combine_chunks()


def _features(record: ModelRecord, training_set: TrainingSet, folder: Path) -> ModelFeatures:
    """Write the bags' index maps and return everything else that turns requests into columns."""
    used = {effect.shard for effect in record.effects}
    shards = [shard for shard in training_set.shards if shard.name in used]
    feeding = {name for shard in shards for name in shard.features}
    features = tuple(
        InputFeature(name=one.name, dtype=one.dtype, default=one.default)
        for one in training_set.features
        if one.name in feeding
    )
    bags = {one.name for one in features if one.dtype == "bag"}
    return ModelFeatures(
        features=features,
        shards=tuple(
            _shard_features(
                folder,
                _read_parquet(index_url(record.training_set, shard.name), ("name", "term", "index")),
                ShardFeatures(
                    name=shard.name,
                    columns=shard.dimension,
                    intercept=None,
                    numbers={},
                    bags=tuple(name for name in shard.features if name in bags),
                ),
            )
            for shard in shards
        ),
    )


def _shard_features(folder: Path, index: pa.Table, shard: ShardFeatures) -> ShardFeatures:
    names = np.array(index.column("name").to_pylist(), dtype=np.str_)
    terms = np.array(index.column("term").to_pylist(), dtype=np.str_)
    columns = index.column("index").to_numpy().astype(np.int64)
    for bag in shard.bags:
        own = np.flatnonzero(names == bag)
        order = own[np.argsort(terms[own], kind="stable")]
        below = folder / INDEX_NAME / shard.name / bag
        below.mkdir(parents=True)
        np.save(below / "terms.npy", terms[order], allow_pickle=False)
        np.save(below / "columns.npy", columns[order], allow_pickle=False)
    single = {str(name): int(column) for name, column in zip(names, columns, strict=True) if name not in shard.bags}
    intercept = single.pop(INTERCEPT, None)
    return ShardFeatures(name=shard.name, columns=shard.columns, intercept=intercept, numbers=single, bags=shard.bags)


def _signature(record: ModelRecord, training_set: TrainingSet, features: ModelFeatures) -> Signature:
    keys = dict.fromkeys(effect.entity for effect in record.effects if effect.entity is not None)
    ids = [Field(name=key, dtype=training_set.keys[key]) for key in keys]
    fields = [
        Field(name=one.name, dtype=one.dtype, required=one.default is None, default=one.default)
        for one in features.features
    ]
    output = "probability" if record.task == "logistic" else "mean"
    return Signature(inputs=(*ids, *fields), outputs=(Field(name=output, dtype="float64"),))


@dataclass(frozen=True, slots=True)
class _Bag:
    """Index map of one bag in one shard: terms ascending and their columns."""

    name: str
    terms: Keys
    columns: Longs


class GlmixPredictor:
    """A GLMix model over its memory-mapped files; unknown entities, terms and features of no shard count 0.

    Parameters
    ----------
    folder
        An unpacked bundle.
    signature
        What its manifest says that it takes and gives.
    without
        Effects whose files are not there: for whoever only wants :meth:`shards`.

    Raises
    ------
    BadDataError
        If the files do not fit each other.
    """

    def __init__(self, folder: Path, signature: Signature, *, without: Collection[str] = ()) -> None:
        self._signature = signature
        self._model: GlmixModel = load_model(folder, without=without)
        path = folder / FEATURES_NAME
        features = parse_json(path.read_bytes(), ModelFeatures, source=str(path))
        self._defaults = {one.name: one.default for one in features.features if one.default is not None}
        self._shards = features.shards
        self._bags = {
            shard.name: tuple(_open_bag(folder, shard.name, bag) for bag in shard.bags) for shard in self._shards
        }
        self._bag_names = tuple(one.name for one in features.features if one.dtype == "bag")
        randoms = [effect for effect in self._model.effects if isinstance(effect, RandomEffect)]
        self._id_widths = text_widths((effect.entity, effect.entities) for effect in randoms)
        self._term_widths = text_widths((bag.name, bag.terms) for own in self._bags.values() for bag in own)
        self._output = signature.outputs[0].name

    @property
    def signature(self) -> Signature:
        """Inputs and outputs, in order."""
        return self._signature

    def predict(self, columns: Mapping[str, Column]) -> dict[str, npt.NDArray[np.generic]]:
        """Return every output for a batch; see :class:`yarnmill.flavours.predictor.Predictor`."""
        shards, rows = self.shards(columns), len(next(iter(columns.values())))
        ids = {key: wanted_keys(columns[key], width) for key, width in self._id_widths.items()}
        return {self._output: means(self._model, margins(self._model, shards, ids, np.zeros(rows)))}

    def shards(self, columns: Mapping[str, Column]) -> dict[str, SparseRows]:
        """Return the features of a batch by shard, in the model's columns."""
        rows = len(next(iter(columns.values())))
        entries = {name: _flatten(columns[name], self._term_widths.get(name, 0)) for name in self._bag_names}
        return {shard.name: self._shard_rows(shard, columns, entries, rows) for shard in self._shards}

    def _shard_rows(
        self, shard: ShardFeatures, columns: Mapping[str, Column], entries: Mapping[str, "_Entries"], rows: int
    ) -> SparseRows:
        every = np.arange(rows)
        parts = []
        if shard.intercept is not None:
            parts.append((every, np.full(rows, shard.intercept), np.ones(rows)))
        for name, column in shard.numbers.items():
            parts.append((every, np.full(rows, column), self._numbers(name, columns, rows)))
        for bag in self._bags[shard.name]:
            given = entries[bag.name]
            place = positions(bag.terms, given.terms)[given.term_of]
            known = place >= 0
            parts.append((given.row_of[known], bag.columns[place[known]], given.values[known]))
        return _sparse(parts, rows, shard.columns)

    def _numbers(self, name: str, columns: Mapping[str, Column], rows: int) -> Floats:
        if name in columns:
            return np.asarray(columns[name], dtype=np.float64)
        return np.full(rows, self._defaults[name])


def _open_bag(folder: Path, shard: str, bag: str) -> _Bag:
    below = folder / INDEX_NAME / shard / bag
    terms, columns = mapped(below / "terms.npy"), mapped(below / "columns.npy")
    if terms.shape != columns.shape:
        raise BadDataError(f"{below}: {len(terms)} terms with {len(columns)} columns")
    return _Bag(bag, terms, columns.astype(np.int64, copy=False))


@dataclass(frozen=True, slots=True)
class _Entries:
    """The entries of a bag over a batch: distinct terms, and for each entry its row, term and value."""

    row_of: Longs
    terms: Keys
    term_of: Longs
    values: Floats


def _flatten(bags: Column, longest: int) -> _Entries:
    given: Sequence[Any] = list(bags)
    lengths = [len(bag) for bag in given]
    codes: dict[str, int] = {}
    term_of = [codes.setdefault(term, len(codes)) for bag in given for term in bag]
    values = [value for bag in given for value in (bag.values() if isinstance(bag, Mapping) else [1.0] * len(bag))]
    return _Entries(
        row_of=np.repeat(np.arange(len(given)), lengths),
        terms=fixed_width(list(codes), longest),
        term_of=np.array(term_of, dtype=np.int64),
        values=np.array(values, dtype=np.float64),
    )


def _sparse(parts: Sequence[tuple[Longs, Longs, Floats]], rows: int, columns: int) -> SparseRows:
    row_of = np.concatenate([np.zeros(0, np.int64), *(part[0] for part in parts)])
    indices = np.concatenate([np.zeros(0, np.int64), *(part[1] for part in parts)])
    values = np.concatenate([np.zeros(0), *(part[2] for part in parts)])
    order = np.lexsort((indices, row_of))
    indptr = np.searchsorted(row_of[order], np.arange(rows + 1)).astype(np.int64)
    return SparseRows(indptr, indices[order].astype(np.int32), values[order], columns)
