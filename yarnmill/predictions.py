"""The prediction log: what models were asked and what they answered, and the labels that came for it later.

Layout below the log's URL, one table for all models::

    predictions/ds=YYYY-MM-DD/hour=HH/*.parquet    by the moment of the answer (UTC)
    labels/ds=YYYY-MM-DD/hour=HH/*.parquet         by the moment at which a label came in (UTC)

A file appears whole; names that begin with ``_`` or ``.`` are under way and nobody's business. In a file rows are
ordered by model, so that the statistics of its row groups let a reader of one model skip the others. A label belongs to
every row with its model, session id and row id: the answer that a user saw, and those of versions that were asked
beside it.

This module does not know what writes the tables, nor Spark.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from yarnmill import fs
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError

Table = Literal["predictions", "labels"]

TIME: Final = pa.timestamp("us", tz="UTC")
VALUES: Final = pa.struct(
    {
        "numbers": pa.map_(pa.string(), pa.float64()),
        "integers": pa.map_(pa.string(), pa.int64()),
        "texts": pa.map_(pa.string(), pa.string()),
    }
)
"""The inputs or outputs of one row by name: ``age``, an element of a tensor ``vector[3]``, a term of a bag ``films:7``.

A value is null where it was missing.
"""

_KEY: Final = (
    pa.field("model", pa.string(), nullable=False),
    pa.field("session_id", pa.string(), nullable=False),
    pa.field("row_id", pa.int64(), nullable=False),
)
SCHEMAS: Final[dict[Table, pa.Schema]] = {
    "predictions": pa.schema(
        [
            *_KEY,
            pa.field("version", pa.int64(), nullable=False),
            pa.field("arm", pa.string(), nullable=False),
            pa.field("unit", pa.string()),
            pa.field("time", TIME, nullable=False),
            pa.field("latency_s", pa.float64(), nullable=False),
            pa.field("features", VALUES),
            pa.field("outputs", VALUES),
            pa.field("snapshots", pa.string()),
        ]
    ),
    "labels": pa.schema(
        [
            *_KEY,
            pa.field("label", pa.float64(), nullable=False),
            pa.field("time", TIME, nullable=False),
            pa.field("received_at", TIME, nullable=False),
        ]
    ),
}
"""``arm``: ``experiment`` if the version was chosen by a rule with several, ``mirror`` if it got a copy of what another
one answered, ``named`` if the address names it, else ``main``. ``snapshots`` are what a transformer took features from,
such as ``shop.clients/3 ds=2026-01-31``, null without one. A label's ``time`` is what its sender says, else when it
came.
"""

_HOUR: Final = dt.timedelta(hours=1)
_BATCH_ROWS: Final = 8192
"""A row may have hundreds of features: what is read ahead is to stay small."""


class Span(NamedTuple):
    """From when to when; a ``stop`` of None is the end of the log. Both have a time zone."""

    start: dt.datetime
    stop: dt.datetime | None = None


def hour_url(url: str, table: Table, moment: dt.datetime) -> str:
    """Return the folder of the rows of a moment's hour."""
    utc = moment.astimezone(dt.UTC)
    return fs.join(url, table, f"ds={utc:%Y-%m-%d}", f"hour={utc:%H}")


def read_predictions(
    url: str, model: str, span: Span, *, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the answers of a model within a span of time, in no order.

    Parameters
    ----------
    url
        The log's.
    model
        Its name.
    span
        When it answered; only the folders of these hours are looked at.
    columns
        Some of the table's; None: all.

    Raises
    ------
    NotFoundError
        If there is no prediction log.
    """
    if not fs.exists(fs.join(url, "predictions")):
        raise NotFoundError(
            f"{url}: no prediction log there", mend="set serving.log.url of the tier that shall write it"
        )
    time = ds.field("time")
    within = time >= pa.scalar(span.start, TIME)
    if span.stop is not None:
        within &= time < pa.scalar(span.stop, TIME)
    yield from _rows(url, "predictions", span, (ds.field("model") == model) & within, columns)


def read_labels(url: str, model: str, span: Span) -> pa.Table:
    """Return ``session_id, row_id, label, time`` of the labels of a model that came in within whole hours.

    Of several labels for one row the last that came counts.
    """
    batches = list(_rows(url, "labels", span, ds.field("model") == model, None))
    labels = pa.Table.from_batches(batches, SCHEMAS["labels"]).sort_by("received_at")
    last = labels.group_by(["session_id", "row_id"], use_threads=False)  # with threads there is no last one
    found = last.aggregate([("label", "last"), ("time", "last")])
    return found.rename_columns(["session_id", "row_id", "label", "time"])


def read_labelled(
    url: str,
    model: str,
    span: Span,
    *,
    columns: Sequence[str] | None = None,
    labels_until: dt.datetime | None = None,
) -> pa.Table:
    """Return the answers of a model with ``label`` and ``label_time`` beside them, null where no label has come.

    All of it is in memory: what does not fit is for Spark.

    Parameters
    ----------
    url, model, span, columns
        As in :func:`read_predictions`.
    labels_until
        Until when labels may have come in, to the hour; None: until now.
    """
    wanted = SCHEMAS["predictions"].names if columns is None else list(columns)
    with_key = [*wanted, *(name for name in ("session_id", "row_id") if name not in wanted)]
    schema = pa.schema([SCHEMAS["predictions"].field(name) for name in with_key])
    rows = pa.Table.from_batches(read_predictions(url, model, span, columns=with_key), schema)
    labels = read_labels(url, model, Span(span.start, labels_until))
    # Arrow joins no maps: the labels are brought to the places of their rows, and put beside them.
    places = rows.select(["session_id", "row_id"]).append_column("place", pa.array(np.arange(rows.num_rows)))
    beside = places.join(labels, ["session_id", "row_id"], join_type="left outer").sort_by("place")
    return rows.select(wanted).append_column("label", beside["label"]).append_column("label_time", beside["time"])


def _rows(
    url: str, table: Table, span: Span, wanted: pc.Expression, columns: Sequence[str] | None
) -> Iterator[pa.RecordBatch]:
    files = [fs.locate(file) for file in _files(fs.join(url, table), span)]
    if not files:
        return
    with fs.translated(url):
        found = ds.dataset(
            [file.path for file in files], SCHEMAS[table], format="parquet", filesystem=files[0].filesystem
        )
        names = None if columns is None else list(columns)
        for batch in found.to_batches(columns=names, filter=wanted, batch_size=_BATCH_ROWS):
            if batch.num_rows:
                yield batch


def _files(table_url: str, span: Span) -> Iterator[str]:
    """Yield the files of the hours that a span touches; days out of it are not looked into."""
    start, stop = _utc(span.start), None if span.stop is None else _utc(span.stop)
    for day, day_url in _partitions(table_url, "ds=", "%Y-%m-%d"):
        if day + 24 * _HOUR <= start or (stop is not None and day >= stop):
            continue
        for hour, folder in _partitions(day_url, "hour=", "%H"):
            moment = day.replace(hour=hour.hour)
            if moment + _HOUR > start and (stop is None or moment < stop):
                yield from (file.url for file in fs.children(folder) if _is_finished(file.name))


def _partitions(url: str, prefix: str, form: str) -> Iterator[tuple[dt.datetime, str]]:
    try:
        children = fs.children(url)
    except NotFoundError:  # no label has come yet, or somebody clears old days away
        return
    for child in children:
        if child.is_folder and child.name.startswith(prefix):
            try:
                moment = dt.datetime.strptime(child.name, f"{prefix}{form}").replace(tzinfo=dt.UTC)
            except ValueError:
                raise BadDataError(f"{child.url}: no partition of a prediction log", expected=prefix + form) from None
            yield moment, child.url


def _is_finished(name: str) -> bool:
    return name.endswith(".parquet") and not name.startswith(("_", "."))


def _utc(moment: dt.datetime) -> dt.datetime:
    if moment.tzinfo is None:
        raise ConfigurationError(f"{moment.isoformat()}: has no time zone", expected="such as 2026-01-02T03:00:00Z")
    return moment.astimezone(dt.UTC)
