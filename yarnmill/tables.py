"""Feature tables and observation tables: their YAML definitions and their partitions on HDFS.

A table is a folder ``<root>/<namespace>/<table>/ds=YYYY-MM-DD/`` of Parquet files. A partition is
complete when its ``_SUCCESS`` stands; readers refuse one without. A row's event time, not its
partition, decides what was known when: ``ds`` names the load that brought the row. The definition
stands beside the partitions as ``_definition.yaml``, so a table is found by root and name alone.
"""

import datetime as dt
import re
from typing import Literal

from yarnmill import fs
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError
from yarnmill.records import Record, parse_yaml, render_yaml

SUCCESS_NAME = "_SUCCESS"
DEFINITION_NAME = "_definition.yaml"
_PARTITION = re.compile(r"^ds=(?P<day>\d{4}-\d{2}-\d{2})$")

FeatureDtype = Literal["float64", "bag"]
"""A number a row, or a sparse bag of terms with values (Arrow ``map<string, double>``)."""

KeyDtype = Literal["int64", "string"]


class EntityKey(Record, frozen=True, kw_only=True):
    """A column that names an entity, such as a user."""

    name: str
    dtype: KeyDtype
    meaning: str


class Feature(Record, frozen=True, kw_only=True):
    """One feature: a number, or a bag of terms. ``default`` stands in where nothing is known yet."""

    name: str
    dtype: FeatureDtype
    owner: str
    meaning: str
    default: float | None = None


class FeatureTable(Record, frozen=True, kw_only=True):
    """Definition of a feature table: what is known about an entity, from which moment on."""

    namespace: str
    name: str
    keys: tuple[EntityKey, ...]
    event_time: str
    features: tuple[Feature, ...]
    meaning: str
    schema_version: int = 1


class ObservationTable(Record, frozen=True, kw_only=True):
    """Definition of an observation table: what happened to which entities, and the response."""

    namespace: str
    name: str
    uid: str
    keys: tuple[EntityKey, ...]
    event_time: str
    response: str
    meaning: str
    weight: str | None = None
    offset: str | None = None
    schema_version: int = 1


class Partition(Record, frozen=True, kw_only=True):
    """One complete day of a table."""

    day: dt.date
    url: str


def parse_feature_table(text: str, *, source: str) -> FeatureTable:
    """Return the definition in a YAML document, checked.

    Raises
    ------
    ConfigurationError
        If keys are unknown, ill-typed or missing, names stand twice, or a bag has a default.
    """
    table = parse_yaml(text, FeatureTable, source=source)
    _refuse_doubles([key.name for key in table.keys] + [feature.name for feature in table.features], source)
    for feature in table.features:
        if feature.dtype == "bag" and feature.default is not None:
            raise ConfigurationError(
                f"{source}: features.{feature.name}.default: a bag has none",
                expected="no default: a bag of which nothing is known is empty",
            )
    return table


def parse_observation_table(text: str, *, source: str) -> ObservationTable:
    """Return the definition in a YAML document, checked; ConfigurationError as for a feature table."""
    table = parse_yaml(text, ObservationTable, source=source)
    _refuse_doubles([table.uid, table.event_time, table.response, *(key.name for key in table.keys)], source)
    return table


def _refuse_doubles(names: list[str], source: str) -> None:
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise ConfigurationError(f"{source}: the column names {', '.join(doubles)} stand twice")


def table_url(root: str, table: FeatureTable | ObservationTable) -> str:
    """Return the folder of a table below the tables' root."""
    return fs.join(root, table.namespace, table.name)


def write_definition(root: str, table: FeatureTable | ObservationTable) -> None:
    """Put the definition beside the table's partitions, unless exactly this one stands there."""
    url = fs.join(table_url(root, table), DEFINITION_NAME)
    data = render_yaml(table).encode()
    if not fs.exists(url) or fs.read_bytes(url) != data:
        fs.write_bytes(url, data, overwrite=True)


def read_feature_table(root: str, name: str) -> FeatureTable:
    """Return the definition of the feature table ``namespace.table``; NotFoundError if it has none."""
    url = _definition_url(root, name)
    return parse_feature_table(_definition_text(url, name), source=url)


def read_observation_table(root: str, name: str) -> ObservationTable:
    """Return the definition of the observation table ``namespace.table``; NotFoundError if it has none."""
    url = _definition_url(root, name)
    return parse_observation_table(_definition_text(url, name), source=url)


def _definition_url(root: str, name: str) -> str:
    namespace, dot, table = name.partition(".")
    if not (namespace and dot and table) or "/" in name:
        raise ConfigurationError(f"{name!r} is no name of a table", expected="namespace.table")
    return fs.join(root, namespace, table, DEFINITION_NAME)


def _definition_text(url: str, name: str) -> str:
    if not fs.exists(url):
        raise NotFoundError(f"{name}: no such table, {url} is not there", mend="correct the name or the tables' root")
    return fs.read_bytes(url).decode()


def partition_url(root: str, table: FeatureTable | ObservationTable, day: dt.date) -> str:
    """Return the folder of one day of a table."""
    return fs.join(table_url(root, table), f"ds={day.isoformat()}")


def complete_partitions(
    root: str,
    table: FeatureTable | ObservationTable,
    *,
    first: dt.date | None = None,
    last: dt.date | None = None,
) -> list[Partition]:
    """Return the partitions from ``first`` to ``last`` (both included), ordered by day.

    Raises
    ------
    NotFoundError
        If the table is not there, or has no partition in the range.
    BadDataError
        If one of them has no ``_SUCCESS``: its writer is still at work, or died.
    """
    url = table_url(root, table)
    if not fs.exists(url):
        raise NotFoundError(f"{url}: no such table", expected=f"partitions of {table.namespace}.{table.name} there")
    found = []
    for child in fs.children(url):
        match = _PARTITION.match(child.name)
        if match is None:
            continue
        day = dt.date.fromisoformat(match["day"])
        if (first and day < first) or (last and day > last):
            continue
        if not fs.exists(fs.join(child.url, SUCCESS_NAME)):
            raise BadDataError(
                f"{child.url}: incomplete, it has no {SUCCESS_NAME}",
                expected="a partition whose writer has finished",
                mend="run the job that writes it again, or leave its day out of the range",
            )
        found.append(Partition(day=day, url=child.url))
    if not found:
        raise NotFoundError(
            f"{url}: no partition from {first or 'the first day'} to {last or 'the last day'}",
            mend="write the missing days, or widen the range",
        )
    return found
