"""The reference of a model that is packed: from a sample of its training data, answered by the model itself.

Whoever is asked later is the packed form, so the scores that its answers are compared with are its own as well.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from yarnmill import fs
from yarnmill.bundle.manifest import Field, Flavour, Signature
from yarnmill.drift.reference import REFERENCE_NAME, Reference, make_reference, parse_reference
from yarnmill.errors import BadDataError
from yarnmill.flavours.predictor import Column, Predictor
from yarnmill.records import canonical_json

SAMPLE_NAME: Final = "reference.parquet"
MOST_ROWS: Final = 10_000
"""Rows of a sample that are looked at: they leave a PSI by chance of 0.002."""

_ASKED_AT_ONCE: Final = 1024


def write_reference(flavour: Flavour, output_url: str, folder: Path, predictor: Predictor) -> None:
    """Write ``reference.json`` into a folder that is to become a bundle, if the training run left what it takes.

    That is, in this order: ``reference.json`` itself, ``reference.parquet`` with a column an input, or for GLMix the
    rows of the training set that were held out.

    Parameters
    ----------
    flavour, output_url
        The training run.
    folder
        Where the model's files are.
    predictor
        The form of the model that will answer.

    Raises
    ------
    BadDataError
        If what is there does not fit the signature.
    """
    made, sample = fs.join(output_url, REFERENCE_NAME), fs.join(output_url, SAMPLE_NAME)
    reference: Reference | None = None
    if fs.exists(made):
        reference = parse_reference(fs.read_bytes(made), predictor.signature, source=made)
    elif fs.exists(sample):
        reference = reference_of(predictor, read_sample(sample, predictor.signature))
    elif flavour == "glmix":
        from yarnmill.flavours.glmix_example import held_out_rows  # noqa: PLC0415  # each flavour loads its libraries

        columns = held_out_rows(folder, predictor.signature, MOST_ROWS)
        reference = None if columns is None else reference_of(predictor, columns)
    if reference is not None:
        (folder / REFERENCE_NAME).write_bytes(canonical_json(reference))


def reference_of(predictor: Predictor, columns: Mapping[str, Column]) -> Reference:
    """Return the reference of a model, whose scores for some rows are its own."""
    rows = len(next(iter(columns.values())))
    parts = [
        predictor.predict({name: column[start : start + _ASKED_AT_ONCE] for name, column in columns.items()})
        for start in range(0, rows, _ASKED_AT_ONCE)
    ]
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return make_reference(predictor.signature, columns, outputs, rows)


def read_sample(url: str, signature: Signature) -> dict[str, Column]:
    """Return some rows of a Parquet file, evenly spaced, as the columns that a model takes.

    A number is a number, a text a string, a vector or tensor a list (of lists) and a bag a map of terms to numbers or a
    list of terms. Where a number is null it is missing, or takes the input's default.

    Raises
    ------
    BadDataError
        If an input is not there, has another type, or a null that it may not have.
    """
    with fs.open_read(url) as stream, pq.ParquetFile(stream) as file:
        there = set(file.schema_arrow.names)
        fields = [field for field in signature.inputs if field.required or field.name in there]
        if missing := [field.name for field in fields if field.name not in there]:
            raise BadDataError(f"{url}: no column {', '.join(missing)}", expected="a column for each input")
        rows = pa.Table.from_batches(list(_spread(file, [field.name for field in fields]))).combine_chunks()
    if not rows.num_rows:
        raise BadDataError(f"{url}: no rows", expected="some rows of the training data")
    found: dict[str, Column] = {}
    for field in fields:
        try:
            found[field.name] = _column(rows.column(field.name).combine_chunks(), field)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as problem:
            raise BadDataError(
                f"{url}: column {field.name!r} is {rows.schema.field(field.name).type}: {problem}",
                expected=f"{field.dtype} of shape {list(field.shape)} in every row",
            ) from None
    return found


def _spread(file: pq.ParquetFile, names: list[str]) -> Iterator[pa.RecordBatch]:
    step, start = max(1, -(-file.metadata.num_rows // MOST_ROWS)), 0
    yield pa.RecordBatch.from_pylist([], schema=pa.schema([file.schema_arrow.field(name) for name in names]))
    for batch in file.iter_batches(columns=names):
        taken = np.arange(-start % step, batch.num_rows, step)
        yield batch.select(names).take(pa.array(taken))
        start += batch.num_rows


def _column(values: pa.Array, field: Field) -> Column:
    if field.dtype == "bag":
        bag = _bag_reader(values.type)
        return [bag(each or ()) for each in values.to_pylist()]
    rows = len(values)
    while (
        pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type)
    ):
        values = values.flatten()
    is_text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
    if is_text != (field.dtype == "string"):
        raise TypeError("another type")
    array = _texts(values) if is_text else _numbers(values, field)
    return array.reshape(rows, *field.shape)


def _bag_reader(kind: pa.DataType) -> Callable[[Any], Mapping[str, float]]:
    if pa.types.is_map(kind):
        return dict
    if pa.types.is_list(kind):
        return lambda terms: dict.fromkeys(terms, 1.0)
    raise TypeError("neither a map of terms to numbers nor a list of terms")


def _texts(values: pa.Array) -> npt.NDArray[np.generic]:
    if values.null_count:
        raise ValueError(f"null in {values.null_count} places")
    return np.asarray(values.to_pylist(), dtype=object)


def _numbers(values: pa.Array, field: Field) -> npt.NDArray[np.generic]:
    if pa.types.is_boolean(values.type):
        values = pc.cast(values, pa.int64())
    if values.null_count:
        if field.default is None and not field.missing:
            raise ValueError(f"null in {values.null_count} places, and the input has no default")
        values = pc.cast(values, pa.float64()).fill_null(np.nan if field.default is None else field.default)
    array: npt.NDArray[np.generic] = values.to_numpy(zero_copy_only=False)
    return array.astype(field.dtype)
