"""Feature snapshots as bundles: entity keys in, features out, over memory-mapped arrays.

A bundle's folder holds ``snapshot.json`` (:mod:`yarnmill.featuresnapshot`) and, for E entities::

    keys/<n>.npy       distinct values of key n, ascending: int64 or fixed-width text
    cells.npy          (E,) int64, ascending; only where there are several keys: the places of an entity's keys among
                       their distinct values, as one number (place 0 · distinct values of key 1 + place 1, and so on)
    numbers.npy        (E, features that are numbers) float64: an entity's lie together; NaN where nothing is known
    bags/<n>/ptr.npy   (E + 1,) int64: entity e has the entries ptr[e]:ptr[e + 1] of feature n
    bags/<n>/terms.npy, codes.npy, values.npy   distinct terms, ascending; for each entry its term's place and its value

An entity is found by binary search, the one that coefficients of GLMix are found by. All workers of a machine share
the pages; what no request asks for takes no memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from photon.entities import Keys
from photon.model import mapped
from photon.rows import Floats, Longs
from photon.scoring import positions
from yarnmill.bundle.manifest import Field, Signature
from yarnmill.errors import BadDataError
from yarnmill.featuresnapshot import KEYS_NAME, SNAPSHOT_NAME, FeatureSnapshot
from yarnmill.flavours.keys import text_width, wanted_keys
from yarnmill.flavours.predictor import Column
from yarnmill.records import parse_json

CELLS_FILE: Final = "cells.npy"
NUMBERS_FILE: Final = "numbers.npy"
BAGS_NAME: Final = "bags"
PTR_FILE: Final = "ptr.npy"
TERMS_FILE: Final = "terms.npy"
CODES_FILE: Final = "codes.npy"
VALUES_FILE: Final = "values.npy"

Bags = list[dict[str, float]]
Places = list[int] | None
"""Some of the numbers of an entity; None: all, in their order."""


def key_file(place: int) -> str:
    """Return the path of the distinct values of a key."""
    return f"{KEYS_NAME}/{place}.npy"


def bag_folder(place: int) -> str:
    """Return the path of a feature that is a bag."""
    return f"{BAGS_NAME}/{place}"


def signature_of(record: FeatureSnapshot) -> Signature:
    """Return what a snapshot takes and gives; a feature without a default may be missing."""
    return Signature(
        inputs=tuple(Field(name=key.name, dtype=key.dtype) for key in record.keys),
        outputs=tuple(
            Field(name=one.name, dtype=one.dtype, missing=one.dtype != "bag" and one.default is None)
            for one in record.features
        ),
    )


@dataclass(frozen=True, slots=True)
class _Bag:
    """One feature's entries, entity by entity."""

    ptr: Longs
    terms: Keys
    codes: npt.NDArray[np.int32]
    values: Floats


class FeaturesPredictor:
    """A feature snapshot over its memory-mapped files.

    Parameters
    ----------
    folder
        An unpacked bundle.
    signature
        What its manifest says that it takes and gives.

    Attributes
    ----------
    record
        What it is a snapshot of, and of which day.

    Raises
    ------
    BadDataError
        If the files do not fit each other.
    """

    def __init__(self, folder: Path, signature: Signature) -> None:
        self._signature = signature
        path = folder / SNAPSHOT_NAME
        self.record = parse_json(path.read_bytes(), FeatureSnapshot, source=str(path))
        record = self.record
        self._keys = {key.name: _opened(folder / key_file(place)) for place, key in enumerate(record.keys)}
        self._widths = {name: text_width(keys) for name, keys in self._keys.items()}
        only = next(iter(self._keys.values()))
        self._cells = _opened(folder / CELLS_FILE).astype(np.int64, copy=False) if len(self._keys) > 1 else None
        self.entities = len(only if self._cells is None else self._cells)
        self._places = {one.name: place for place, one in enumerate(record.numbers)}
        self._numbers: Floats = _opened(folder / NUMBERS_FILE).astype(np.float64, copy=False)
        if self._numbers.shape != (self.entities, len(self._places)):
            raise BadDataError(
                f"{folder / NUMBERS_FILE}: has the shape {self._numbers.shape}",
                expected=f"{(self.entities, len(self._places))}, a row an entity",
            )
        self._bags = {
            one.name: _opened_bag(folder / bag_folder(place), self.entities)
            for place, one in enumerate(record.features)
            if one.dtype == "bag"
        }

    @property
    def signature(self) -> Signature:
        """Inputs and outputs, in order."""
        return self._signature

    def find(self, keys: Mapping[str, Column]) -> Longs:
        """Return where the entities of some rows stand, -1 for those of which nothing is known.

        Parameters
        ----------
        keys
            Every entity key by name, all with the same number of rows.
        """
        cells: Longs | None = None
        for name, known in self._keys.items():
            place = positions(known, wanted_keys(keys[name], self._widths[name]))
            cells = place if cells is None else np.where((cells < 0) | (place < 0), -1, cells * len(known) + place)
        if cells is None:
            raise AssertionError
        return cells if self._cells is None else positions(self._cells, cells)

    def places(self, names: Sequence[str]) -> Places:
        """Return where features that are numbers stand among them: for :meth:`numbers`, which is asked more often."""
        places = [self._places[name] for name in names]
        return None if places == list(range(len(self._places))) else places

    def numbers(self, places: Places, found: Longs) -> Floats:
        """Return numbers of entities as (rows, features), NaN where nothing is known.

        Parameters
        ----------
        places
            What :meth:`places` returned.
        found
            What :meth:`find` returned.
        """
        rows = self._numbers[found]  # -1 is some row, which stands for none below
        rows[found < 0] = np.nan
        return rows if places is None else rows[:, places]

    def bags(self, name: str, found: Longs) -> Bags:
        """Return a bag of each entity, empty where nothing is known; ``found`` is as for :meth:`numbers`."""
        bag, bags = self._bags[name], []
        for entity in found.tolist():
            start, stop = (bag.ptr[entity], bag.ptr[entity + 1]) if entity >= 0 else (0, 0)
            terms = bag.terms[bag.codes[start:stop]].tolist()
            bags.append(dict(zip(terms, bag.values[start:stop].tolist(), strict=True)))
        return bags

    def predict(self, columns: Mapping[str, Column]) -> dict[str, npt.NDArray[np.generic]]:
        """Return every feature, its default where nothing is known: see :class:`yarnmill.flavours.predictor`."""
        found = self.find(columns)
        features: dict[str, npt.NDArray[np.generic]] = {}
        for one in self.record.features:
            if one.dtype == "bag":
                features[one.name] = as_objects(self.bags(one.name, found))
                continue
            values = self.numbers(self.places([one.name]), found)[:, 0]
            features[one.name] = values if one.default is None else np.where(np.isnan(values), one.default, values)
        return features


def as_objects(values: Sequence[Any]) -> npt.NDArray[np.object_]:
    """Return an array (rows,) of objects, whatever they are."""
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _opened(path: Path) -> Keys:
    """Return a saved array as a plain view of its mapping: NumPy looks longer at its own kind for mapped files."""
    return np.asarray(mapped(path))


def _opened_bag(folder: Path, entities: int) -> _Bag:
    bag = _Bag(
        ptr=_opened(folder / PTR_FILE).astype(np.int64, copy=False),
        terms=_opened(folder / TERMS_FILE),
        codes=_opened(folder / CODES_FILE).astype(np.int32, copy=False),
        values=_opened(folder / VALUES_FILE).astype(np.float64, copy=False),
    )
    if len(bag.ptr) != entities + 1 or bag.ptr[-1] != len(bag.codes) or bag.codes.shape != bag.values.shape:
        raise BadDataError(
            f"{folder}: {len(bag.ptr)} places and {len(bag.codes)} terms with {len(bag.values)} values",
            expected=f"{entities + 1} places, the last of which is the number of terms and values",
        )
    return bag
