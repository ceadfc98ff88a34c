"""The feature snapshot: the contract between the job that makes one and what serves it.

What was known of each entity at the end of a day. Layout below its URL::

    rows/part-*.parquet       one row an entity: its keys, then its features; ascending by the keys, part by part
    keys/<n>/part-*.parquet   the distinct values of key n, ascending; only where a table has several keys
    terms/<n>/part-*.parquet  the distinct terms of feature n, ascending; only of bags
    snapshot.json             the record below
    report.json               written last: the snapshot is complete when it stands
"""

import datetime as dt
from typing import Final

from yarnmill import fs
from yarnmill.records import Record, parse_json
from yarnmill.tables import FeatureDtype, KeyDtype

SNAPSHOT_NAME: Final = "snapshot.json"
ROWS_NAME: Final = "rows"
KEYS_NAME: Final = "keys"
TERMS_NAME: Final = "terms"
ENTITIES: Final = "entities"
"""The metric that counts them."""
PROJECT: Final = "features"
"""The project of the registry whose models are snapshots, each named as its table."""
VALUE: Final = "value"
"""The only column of what stands below ``keys`` and ``terms``."""


class SnapshotKey(Record, frozen=True, kw_only=True):
    """An entity key."""

    name: str
    dtype: KeyDtype


class SnapshotFeature(Record, frozen=True, kw_only=True):
    """A feature; ``default`` stands in where nothing is known."""

    name: str
    dtype: FeatureDtype
    default: float | None = None


class FeatureSnapshot(Record, frozen=True, kw_only=True):
    """What a snapshot holds: ``table`` (``namespace.table``) as it was known at the end of the day ``ds`` (UTC)."""

    table: str
    ds: dt.date
    keys: tuple[SnapshotKey, ...]
    features: tuple[SnapshotFeature, ...]
    schema_version: int = 1

    @property
    def ends_at_s(self) -> float:
        """When the day ends, in seconds since 1970."""
        midnight = dt.datetime.combine(self.ds, dt.time(), dt.UTC)
        return (midnight + dt.timedelta(days=1)).timestamp()

    @property
    def numbers(self) -> tuple[SnapshotFeature, ...]:
        """The features that are numbers, in order."""
        return tuple(one for one in self.features if one.dtype != "bag")


def read_snapshot(url: str) -> FeatureSnapshot:
    """Return the record of the snapshot at ``url``; NotFoundError if there is none."""
    record_url = fs.join(url, SNAPSHOT_NAME)
    return parse_json(fs.read_bytes(record_url), FeatureSnapshot, source=record_url)
