"""A GLMix model in memory and as memory-mapped files.

A random effect is stored as the *cells* of :mod:`photon.entities`: entities ascending, one sorted
integer ``entity · columns + column`` a coefficient, and one value each. Looking up is two binary
searches, on arrays that the operating system pages in as they are asked for: a hundred million
coefficients cost a server no more memory than the ones its requests touch.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from photon.entities import Keys
from photon.loss import Task
from photon.rows import Floats, Longs
from yarnmill.errors import BadDataError
from yarnmill.records import Record, canonical_json, parse_json

MODEL_NAME: Final = "model.json"
EFFECTS_NAME: Final = "effects"
CELLS_NAME: Final = "cells.npy"
COEFFICIENTS_NAME: Final = "coefficients.npy"
ENTITIES_NAME: Final = "entities.npy"
VARIANCES_NAME: Final = "variances.npy"


@dataclass(frozen=True, slots=True)
class FixedEffect:
    """One coefficient a column of the shard, for all rows; its variance too, if the fit took any."""

    name: str
    shard: str
    coefficients: Floats
    variances: Floats | None = None


@dataclass(frozen=True, slots=True)
class RandomEffect:
    """Coefficients of each entity; a (entity, column) pair without a cell has coefficient 0.

    Parameters
    ----------
    name, shard, entity
        The coordinate, its features, and the id it is per.
    columns
        Columns of the shard.
    entities
        ``(E,)`` ids, ascending.
    cells
        ``(C,)`` ``position of the entity · columns + column``, ascending.
    coefficients
        ``(C,)``.
    variances
        ``(C,)``, if the fit took any.
    """

    name: str
    shard: str
    entity: str
    columns: int
    entities: Keys
    cells: Longs
    coefficients: Floats
    variances: Floats | None = None


Effect = FixedEffect | RandomEffect


@dataclass(frozen=True, slots=True)
class GlmixModel:
    """A sum of linear effects inside the link of its task."""

    task: Task
    effects: tuple[Effect, ...]


class EffectRecord(Record, frozen=True, kw_only=True):
    """An effect in ``model.json``: everything but its numbers."""

    name: str
    shard: str
    columns: int
    entity: str | None = None
    l2: float = 0.0
    l1: float = 0.0
    penalise_intercept: bool = False
    index_sha256: str = ""

    @property
    def kind(self) -> str:
        """``fixed`` or ``random``."""
        return "fixed" if self.entity is None else "random"


class ModelRecord(Record, frozen=True, kw_only=True):
    """The content of ``model.json``, of a training output and of a saved model alike."""

    task: Task
    effects: tuple[EffectRecord, ...]
    training_set: str = ""
    schema_version: int = 1


def random_effect_from_entities(  # columns of one table
    record: EffectRecord,
    entities: Keys,
    lengths: Longs,
    columns: Longs,
    coefficients: Floats,
    variances: Floats | None = None,
) -> RandomEffect:
    """Return a random effect from entities in any order, each with ``lengths`` entries one after the other."""
    order = np.argsort(entities, kind="stable")
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    cells = np.repeat(position, lengths) * np.int64(record.columns) + columns
    by_cell = np.argsort(cells, kind="stable")
    return RandomEffect(
        name=record.name,
        shard=record.shard,
        entity=record.entity or "",
        columns=record.columns,
        entities=entities[order],
        cells=cells[by_cell],
        coefficients=coefficients[by_cell],
        variances=None if variances is None else variances[by_cell],
    )


def save_model(folder: Path, record: ModelRecord, effects: Iterator[Effect]) -> None:
    """Write a model below ``folder``: ``model.json`` and one folder of ``.npy`` files an effect."""
    for effect in effects:
        below = folder / EFFECTS_NAME / effect.name
        below.mkdir(parents=True)
        np.save(below / COEFFICIENTS_NAME, effect.coefficients, allow_pickle=False)
        if effect.variances is not None:
            np.save(below / VARIANCES_NAME, effect.variances, allow_pickle=False)
        if isinstance(effect, RandomEffect):
            np.save(below / ENTITIES_NAME, effect.entities, allow_pickle=False)
            np.save(below / CELLS_NAME, effect.cells, allow_pickle=False)
    (folder / MODEL_NAME).write_bytes(canonical_json(record))


def load_model(folder: Path, *, without: Collection[str] = ()) -> GlmixModel:
    """Return a saved model but for some effects, memory-mapped.

    Raises
    ------
    BadDataError
        If a file, which it names, does not fit ``model.json``.
    """
    path = folder / MODEL_NAME
    record = parse_json(path.read_bytes(), ModelRecord, source=str(path))
    kept = [item for item in record.effects if item.name not in without]
    return GlmixModel(record.task, tuple(_load_effect(folder / EFFECTS_NAME / item.name, item) for item in kept))


def _load_effect(below: Path, record: EffectRecord) -> Effect:
    coefficients = _floats(mapped(below / COEFFICIENTS_NAME))
    if record.entity is None:
        if coefficients.shape != (record.columns,):
            raise BadDataError(f"{below}: {coefficients.shape} coefficients", expected=f"{record.columns}")
        return FixedEffect(record.name, record.shard, coefficients, _variances(below, coefficients))
    entities, cells = mapped(below / ENTITIES_NAME), mapped(below / CELLS_NAME).astype(np.int64, copy=False)
    if cells.shape != coefficients.shape:
        raise BadDataError(f"{below}: {len(cells)} cells with {len(coefficients)} coefficients")
    return RandomEffect(
        record.name,
        record.shard,
        record.entity,
        record.columns,
        entities,
        cells,
        coefficients,
        _variances(below, coefficients),
    )


def _variances(below: Path, coefficients: Floats) -> Floats | None:
    path = below / VARIANCES_NAME
    if not path.exists():
        return None
    variances = _floats(mapped(path))
    if variances.shape != coefficients.shape:
        raise BadDataError(f"{path}: {len(variances)} variances of {len(coefficients)} coefficients")
    return variances


def _floats(array: Keys) -> Floats:
    return array.astype(np.float64, copy=False)


def mapped(path: Path) -> Keys:
    """Return a saved array, memory-mapped: nothing but its header is read."""
    try:
        array: Keys = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # an empty file cannot be mapped, and a model without a single entity is still a model
        array = np.load(path, allow_pickle=False)
    return array
