"""Lookups: features of the entities of a request, out of the snapshot that is deployed at this moment."""

import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from photon.entities import NO_TEXT
from serving.dialect import FeatureUse
from serving.refusals import ModelUnavailableError
from serving.transformer.definition import LookedUp, Lookup
from serving.transformer.kinds import BAG, INTEGER, NUMBER, TEXT, Columns, Kind, Kinds, Values
from yarnmill.errors import ConfigurationError
from yarnmill.flavours.features import FeaturesPredictor, Places, as_objects
from yarnmill.units import render_seconds


class Snapshot(NamedTuple):
    """A feature snapshot that is open: the version of the model that it is, and itself."""

    table: str
    version: int
    features: FeaturesPredictor

    @property
    def source(self) -> str:
        """Its name where people read of it: ``shop.clients/3 ds=2026-01-31``."""
        return f"{self.table}/{self.version} ds={self.features.record.ds}"


Snapshots = Callable[[str], Snapshot]
"""Gives the snapshot of a table that is deployed now; ModelUnavailableError if none is."""


class TableLookup:
    """One compiled lookup.

    Parameters
    ----------
    lookup
        The declaration.
    kinds
        The columns that stand before it.

    Raises
    ------
    ConfigurationError
        If a key's column is not there, or can be no key, or a feature's stands already.
    """

    def __init__(self, lookup: Lookup, kinds: Kinds) -> None:
        self.table = lookup.table
        self._lookup = lookup
        self._wanted = lookup.wanted
        self._numbers = [one for one in self._wanted if one.dtype != "bag"]
        self._bags = [one for one in self._wanted if one.dtype == "bag"]
        self._names = [one.name for one in self._numbers]
        self._prepared: _Prepared | None = None
        for key, column in lookup.entities.items():
            kind = kinds.get(column)
            if kind not in {INTEGER, TEXT}:
                raise ConfigurationError(
                    f"entities.{key}: column {column!r} is {kind or 'not there'}",
                    expected="an input of int64 or string, as the table's key is",
                )
        self._key_dtypes = {
            key: "string" if kinds[column] == TEXT else "int64" for key, column in lookup.entities.items()
        }
        for name, _ in self.kinds:
            if name in kinds:
                raise ConfigurationError(
                    f"features: column {name!r} stands already",
                    expected="a column of its own",
                    mend=f"{{name: …, column: another_{name}}}",
                )

    @property
    def kinds(self) -> Iterator[tuple[str, Kind]]:
        """The columns that it makes."""
        return ((one.target, BAG if one.dtype == "bag" else NUMBER) for one in self._wanted)

    def look_up(self, columns: Columns, snapshot: Snapshot, now_s: float) -> FeatureUse:
        """Add the features' columns to those of the keys; return how many of the keys were known.

        Parameters
        ----------
        columns
            What stands already, and gets the features.
        snapshot
            Where to look.
        now_s
            Seconds since 1970, for the age.

        Raises
        ------
        ModelUnavailableError
            If the snapshot is too old, or has not what is looked for.
        """
        features, (_, places, defaults) = snapshot.features, self._prepared_for(snapshot)
        found = features.find(self._keys(columns))
        if self._lookup.max_age is not None and self._is_stale(snapshot, now_s, float(self._lookup.max_age)):
            found = np.full(len(found), -1)
        if self._names:
            values = features.numbers(places, found)
            missing = np.isnan(values)
            if missing.any():
                values = np.where(missing, defaults, values)
            for place, one in enumerate(self._numbers):
                columns[one.target] = values[:, place]
        for one in self._bags:
            columns[one.target] = as_objects(features.bags(one.name, found))
        known = int(np.count_nonzero(found >= 0))
        return FeatureUse(snapshot.source, self.table, known, len(found) - known)

    def _keys(self, columns: Columns) -> dict[str, Values]:
        keys = {key: _key_texts(columns[column]) for key, column in self._lookup.entities.items()}
        if len(keys) > 1:  # of a pair, one may stand for all rows
            keys = dict(zip(keys, np.broadcast_arrays(*keys.values()), strict=True))
        return keys

    def _is_stale(self, snapshot: Snapshot, now_s: float, max_age_s: float) -> bool:
        age_s = now_s - snapshot.features.record.ends_at_s
        if age_s <= max_age_s:
            return False
        if self._lookup.when_stale == "refuse":
            raise ModelUnavailableError(
                f"features {snapshot.source} are {render_seconds(age_s)} old",
                expected=f"{render_seconds(max_age_s)} at most, as the model's transformer says",
                mend=f"yarnmill features publish {self.table}",
            )
        return True

    def _prepared_for(self, snapshot: Snapshot) -> "_Prepared":
        """Return what of a snapshot is looked at once, and whether it has what is asked of it is."""
        prepared, features = self._prepared, snapshot.features
        if prepared is None or prepared.of() is not features:
            defaults = self._checked(snapshot)
            prepared = self._prepared = _Prepared(weakref.ref(features), features.places(self._names), defaults)
        return prepared

    def _checked(self, snapshot: Snapshot) -> Values:
        record = snapshot.features.record
        known = {one.name: one for one in record.features}
        for one in self._wanted:
            there = known.get(one.name)
            if there is None or there.dtype != one.dtype:
                raise ModelUnavailableError(
                    f"features {snapshot.source}: {one.name!r} is {there.dtype if there else 'not there'}",
                    expected=f"{one.dtype}, as the model's transformer says",
                    mend="publish the table with it, or a version of the model whose transformer does without",
                )
        keys = {key.name: key.dtype for key in record.keys}
        if keys != self._key_dtypes:
            raise ModelUnavailableError(
                f"features {snapshot.source}: its keys are {_named(keys)}",
                expected=f"{_named(self._key_dtypes)}, as the model's transformer says",
            )
        return np.array([_default(one, known[one.name].default) for one in self._numbers], np.float64)


class _Prepared(NamedTuple):
    """What of a snapshot is needed for every request: where its numbers stand, and their defaults.

    It is held weakly: one that is deployed no more is closed, whether somebody asks for the next one or not.
    """

    of: "weakref.ref[FeaturesPredictor]"
    places: Places
    defaults: Values


def _named(keys: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({dtype})" for name, dtype in keys.items())


def _default(wanted: LookedUp, of_table: float | None) -> float:
    default = of_table if wanted.default is None else wanted.default
    return np.nan if default is None else default


def _key_texts(column: Values) -> Values:
    """Return a key's column with a text that is no key for those that are missing."""
    if column.dtype.kind != "O":
        return column
    values: list[Any] = column.tolist()
    return as_objects([NO_TEXT if value is None else value for value in values]) if None in values else column
