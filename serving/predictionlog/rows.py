"""From entries to the tables of :mod:`yarnmill.predictions`, one row group after the other."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from serving.predictionlog.entries import Labels, Prediction
from serving.predictionlog.values import values_of
from yarnmill.flavours.predictor import Column
from yarnmill.predictions import SCHEMAS

_GROUP_ROWS: Final = 10_000
_GROUP_BYTES: Final = 32 << 20
"""A row group is finished then: large enough for dictionaries, small enough that a reader of one model skips most."""

_TURNED_BYTES: Final = 4 << 20
"""As Arrow, with a name beside every number, entries take several times what they took as they came."""

_log = logging.getLogger(__name__)


def prediction_groups(entries: Sequence[Prediction]) -> Iterator[pa.Table]:
    """Yield the row groups of answered requests, by model and version; what cannot be turned into rows is left out."""
    gathered: list[pa.RecordBatch] = []
    rows = size = 0
    for alike in _alike(sorted(entries, key=lambda entry: (entry.model, entry.version))):
        try:
            batch = _prediction_batch(alike)
        except Exception:  # noqa: BLE001  # whatever a model's outputs are, its neighbours' rows are written
            _log.exception("model %s version %d: rows that cannot be logged", alike[0].model, alike[0].version)
            continue
        gathered.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield pa.Table.from_batches(gathered)
            gathered, rows, size = [], 0, 0
    if gathered:
        yield pa.Table.from_batches(gathered)


def label_groups(entries: Sequence[Labels]) -> Iterator[pa.Table]:
    """Yield the one row group of labels, by model."""
    ordered = sorted(entries, key=lambda entry: entry.model)
    labels = [label for entry in ordered for label in entry.labels]
    counts = [entry.rows for entry in ordered]
    received = _repeated([_us(entry.time_s) for entry in ordered], counts)
    times = [got if label.time_us is None else label.time_us for label, got in zip(labels, received, strict=True)]
    schema = SCHEMAS["labels"]
    columns = {
        "model": _repeated([entry.model for entry in ordered], counts),
        "session_id": [label.session_id for label in labels],
        "row_id": [label.row_id for label in labels],
        "label": [label.label for label in labels],
        "time": times,
        "received_at": received,
    }
    yield pa.Table.from_arrays([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def _alike(ordered: Iterable[Prediction]) -> Iterator[list[Prediction]]:
    """Yield neighbours of one version with the same columns, not too many at once."""
    alike: list[Prediction] = []
    layout: object = None
    rows = size = 0
    for entry in ordered:
        its_layout = (entry.model, entry.version, _layout(entry.features), _layout(entry.outputs))
        if alike and (its_layout != layout or rows >= _GROUP_ROWS or size >= _TURNED_BYTES):
            yield alike
            alike, rows, size = [], 0, 0
        layout = its_layout
        alike.append(entry)
        rows, size = rows + entry.rows, size + entry.held_bytes
    if alike:
        yield alike


def _layout(columns: Mapping[str, Column]) -> object:
    return tuple(
        (name, (column.dtype, column.shape[1:]) if isinstance(column, np.ndarray) else None)
        for name, column in columns.items()
    )


def _prediction_batch(alike: Sequence[Prediction]) -> pa.RecordBatch:
    counts = [entry.rows for entry in alike]
    rows = sum(counts)
    columns = {
        "model": pa.repeat(alike[0].model, rows),
        "session_id": _repeated([entry.asking.session_id for entry in alike], counts),
        "row_id": np.concatenate([np.arange(count) for count in counts]),
        "version": np.full(rows, alike[0].version),
        "arm": _repeated([entry.asking.arm for entry in alike], counts),
        "unit": _repeated([entry.asking.unit for entry in alike], counts),
        "time": _repeated([_us(entry.time_s) for entry in alike], counts),
        "latency_s": _repeated([entry.latency_s for entry in alike], counts),
        "features": values_of([entry.features for entry in alike], rows),
        "outputs": values_of([entry.outputs for entry in alike], rows),
        "snapshots": _repeated([", ".join(entry.sources) or None for entry in alike], counts),
    }
    schema = SCHEMAS["predictions"]
    arrays = [_array(columns[field.name], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(values: Any, dtype: pa.DataType) -> pa.Array:  # noqa: ANN401  # a list, or an array of either library
    return values if isinstance(values, pa.Array) else pa.array(values, dtype)


def _repeated(values: Sequence[Any], counts: Sequence[int]) -> list[Any]:
    """Return each value as often as its request has rows."""
    return [value for value, count in zip(values, counts, strict=True) for _ in range(count)]


def _us(time_s: float) -> int:
    return round(time_s * 1_000_000)
