"""Rows to train on or to score, from Avro records with bags of (name, term, value).

A bag becomes a raw feature of ours: a map whose key is Photon's feature key, the name and, where there is
one, U+0001 and the term. So index maps, vectors, bundles and serving work on them as on any other bag. The
column of a feature in a shard is that of its bag and key; Photon merges the bags of a shard first, which is
the same unless two bags share a feature, and that is refused.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from jobs.game.coordinates import ShardOption
from jobs.game.files import Range, read_ranges
from photon.avro.container import Fields
from yarnmill.errors import BadDataError
from yarnmill.records import Record
from yarnmill.trainingset import INTERCEPT

SEPARATOR: Final = "\x01"
"""Between name and term of a feature, as in Photon's own keys."""

_BATCH_ROWS: Final = 4096
_ROW_BITS: Final = 33  # of a uid, for the place in a range; the rest counts ranges


class Columns(Record, frozen=True, kw_only=True):
    """Names of the records' fields; an unnamed response is ``response``, or else ``label``."""

    response: str = ""
    offset: str = "offset"
    weight: str = "weight"
    uid: str = "uid"
    metadata: str = "metadataMap"


class ExampleForm(Record, frozen=True, kw_only=True):
    """What is read of a record.

    Parameters
    ----------
    columns
        Names of the common fields.
    shards
        Their bags are read; no row may have a feature twice in a shard.
    keys
        Entity ids: fields of the record, or else entries of its metadata map.
    needs_response
        Whether a record without response is refused.
    """

    columns: Columns
    shards: tuple[ShardOption, ...]
    keys: tuple[str, ...]
    needs_response: bool = True

    @property
    def bags(self) -> tuple[str, ...]:
        """All bags of the shards."""
        return tuple(dict.fromkeys(bag for shard in self.shards for bag in shard.bags))

    @property
    def schema(self) -> str:
        """Columns of the rows, in Spark's words."""
        ids = ", ".join(f"`{key}`: string" for key in self.keys)
        bags = ", ".join(f"`{bag}`: map<string, double>" for bag in self.bags)
        return (
            "uid long, given_uid string, response double, weight double, offset double, "
            f"ids struct<{ids}>, features struct<{bags}>"
        )


def feature_key(name: str, term: str | None) -> str:
    """Return Photon's key of a feature."""
    return f"{name}{SEPARATOR}{term}" if term else name


def name_and_term(key: str) -> tuple[str, str]:
    """Return the name and the term in a key."""
    name, _, term = key.partition(SEPARATOR)
    return name, term


def read_examples(spark: SparkSession, cut: Sequence[Range], form: ExampleForm) -> DataFrame:
    """Return the rows of files: the columns of a training set but for ``event_time``, ``split`` and ``shards``.

    ``uid`` tells the range and the place in it, the same at every reading; the records' own stands in
    ``given_uid``.
    """
    return read_ranges(spark, cut, _Reader(form=form), form.schema)


class _Reader(Record, frozen=True, kw_only=True):
    """What a task does with its records; it travels to the workers as a value."""

    form: ExampleForm

    def __call__(self, one: Range, records: Iterator[Fields]) -> Iterator[pa.RecordBatch]:
        batch: list[Fields] = []
        first = one.number << _ROW_BITS
        for record in records:
            batch.append(record)
            if len(batch) == _BATCH_ROWS:
                yield self._rows(batch, first)
                first += len(batch)
                batch = []
        if batch:
            yield self._rows(batch, first)

    def _rows(self, records: Sequence[Fields], first: int) -> pa.RecordBatch:
        columns = self.form.columns
        ids = [pa.array([self._id(record, key) for record in records], pa.string()) for key in self.form.keys]
        bags = {bag: [_entries(record, bag) for record in records] for bag in self.form.bags}
        for shard in self.form.shards:
            if len(shard.bags) > 1:
                _refuse_doubles(shard, bags)
        arrays = {
            "uid": pa.array(range(first, first + len(records)), pa.int64()),
            "given_uid": pa.array([_text(record.get(columns.uid)) for record in records], pa.string()),
            "response": _numbers([self._response(record) for record in records]),
            "weight": _numbers([record.get(columns.weight) for record in records], 1.0),
            "offset": _numbers([record.get(columns.offset) for record in records], 0.0),
            "ids": _struct(ids, self.form.keys, len(records)),
            "features": _struct([_maps(entries) for entries in bags.values()], self.form.bags, len(records)),
        }
        return pa.RecordBatch.from_pydict(arrays)

    def _response(self, record: Fields) -> object:
        named = self.form.columns.response
        names = (named,) if named else ("response", "label")
        found = next((record[name] for name in names if record.get(name) is not None), None)
        if found is None and self.form.needs_response:
            raise BadDataError(
                f"a record without {' or '.join(names)}: its fields are {', '.join(record)}",
                expected="a response in every record",
                mend="--input-column-names response=<field>",
            )
        return found

    def _id(self, record: Fields, key: str) -> str:
        found = record.get(key)
        if found is None:
            found = (record.get(self.form.columns.metadata) or {}).get(key)
        if found is None:
            raise BadDataError(
                f"a record without {key!r}", expected=f"a field, or an entry of {self.form.columns.metadata}"
            )
        return str(found)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _numbers(values: Sequence[Any], default: float | None = None) -> pa.Array:
    filled = [default if value is None else value for value in values]
    try:
        return pa.array(filled, pa.float64())
    except pa.ArrowInvalid:  # text or truth values, which Photon takes as well
        return pa.array([None if value is None else float(value) for value in filled], pa.float64())


def _struct(arrays: Sequence[pa.Array], names: Sequence[str], rows: int) -> pa.StructArray:
    if not names:
        return pa.array([{}] * rows, pa.struct([]))
    return pa.StructArray.from_arrays(list(arrays), list(names))


def _entries(record: Fields, bag: str) -> dict[str, float]:
    entries = record.get(bag)
    if not isinstance(entries, list):
        found = "missing" if bag not in record else f"a {type(entries).__name__}"
        raise BadDataError(f"feature bag {bag!r}: {found}", expected="a list of records with name, term and value")
    # Not by feature_key: this loop is the cost of reading.
    bagged = {
        f"{entry['name']}{SEPARATOR}{term}" if (term := entry.get("term")) else entry["name"]: entry["value"]
        for entry in entries
    }
    if len(bagged) < len(entries):
        _refuse_twice(bag, [feature_key(entry["name"], entry.get("term")) for entry in entries])
    if INTERCEPT in bagged:
        raise BadDataError(
            f"feature bag {bag!r}: a feature is named {INTERCEPT}",
            expected="the shard's own column of ones alone, which is there unless intercept=false",
        )
    return bagged


def _refuse_doubles(shard: ShardOption, bags: dict[str, list[dict[str, float]]]) -> None:
    for together in zip(*(bags[bag] for bag in shard.bags), strict=True):
        if len(set().union(*together)) < sum(map(len, together)):
            _refuse_twice(" and ".join(shard.bags), [key for entries in together for key in entries])


def _refuse_twice(where: str, keys: Sequence[str]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            name, term = name_and_term(key)
            raise BadDataError(f"{where}: feature (name {name!r}, term {term!r}) stands twice in a record")
        seen.add(key)


def _maps(bags: Sequence[dict[str, float]]) -> pa.MapArray:
    offsets = [0]
    for bag in bags:
        offsets.append(offsets[-1] + len(bag))
    keys = pa.array([key for bag in bags for key in bag], pa.string())
    values = pa.array([value for bag in bags for value in bag.values()], pa.float64())
    if values.null_count:
        name, term = name_and_term(next(key for bag in bags for key, value in bag.items() if value is None))
        raise BadDataError(f"feature (name {name!r}, term {term!r}) has no value", expected="a number; 0 is left out")
    return pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), keys, values)
