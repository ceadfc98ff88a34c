"""The training set: the contract between the job that joins and indexes and everything that trains.

Layout below its URL::

    data/split=train|validation|test/part-*.parquet
    index/<shard>/part-*.parquet          name, term, index: one row a column of the shard
    training_set.json                     the record below
    report.json                           written last: the set is complete when it stands

Columns of ``data``: ``uid`` (int64), ``event_time`` (timestamp, UTC), ``response``, ``weight``,
``offset`` (double), ``ids`` (struct, one field an entity key), ``features`` (struct, one field a raw
feature: double or ``map<string, double>``), ``shards`` (struct, one field a feature shard:
``struct<indices: list<int32>, values: list<double>>``, indices ascending, intercept included).
"""

from typing import Final

from yarnmill import fs
from yarnmill.records import Record, parse_json
from yarnmill.tables import FeatureDtype, KeyDtype

INTERCEPT: Final = "(INTERCEPT)"
"""Name of the feature that is 1 in every row, as Photon ML calls it; its term is empty."""

SPLITS: Final = ("train", "validation", "test")
RECORD_NAME: Final = "training_set.json"


class FeatureColumn(Record, frozen=True, kw_only=True):
    """A raw feature as the join leaves it: what a request has to bring."""

    name: str
    dtype: FeatureDtype
    table: str
    default: float | None = None


class Shard(Record, frozen=True, kw_only=True):
    """A feature shard: which features feed it and how many columns its index map has."""

    name: str
    features: tuple[str, ...]
    dimension: int
    index_sha256: str


class TrainingSet(Record, frozen=True, kw_only=True):
    """What a training set holds; everything that trains or scores reads this first."""

    response: str
    keys: dict[str, KeyDtype]
    features: tuple[FeatureColumn, ...]
    shards: tuple[Shard, ...]
    rows: dict[str, int]
    inputs: tuple[str, ...]
    schema_version: int = 1


def read_training_set(url: str) -> TrainingSet:
    """Return the record of the training set at ``url``; NotFoundError if there is none."""
    record_url = fs.join(url, RECORD_NAME)
    return parse_json(fs.read_bytes(record_url), TrainingSet, source=record_url)


def training_set_url(output_url: str, place: str) -> str:
    """Return the URL of a model's training set; a relative place lies below the model, as an imported one's does."""
    return fs.as_url(place) if "://" in place or place.startswith("/") else fs.join(output_url, place)


def split_url(url: str, split: str) -> str:
    """Return the folder of one split's Parquet files."""
    return fs.join(url, "data", f"split={split}")


def index_url(url: str, shard: str) -> str:
    """Return the folder of one shard's index map."""
    return fs.join(url, "index", shard)
