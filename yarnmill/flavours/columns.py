"""From rows of a training set to the columns that a model's signature asks for.

An input is looked for among the entity ids, then the raw features, then the feature shards; a shard is
given in its dense form. Values go to the model as they stand: a request that brings the same gets the same.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from yarnmill.bundle.manifest import Field, Signature
from yarnmill.errors import BadDataError, ConfigurationError
from yarnmill.flavours.predictor import Column
from yarnmill.trainingset import TrainingSet


def check_inputs(signature: Signature, rows: TrainingSet, model: str) -> None:
    """Raise ConfigurationError if the rows lack a required input, or have a shard of another size."""
    known = {*rows.keys, *(feature.name for feature in rows.features)}
    dimensions = {shard.name: shard.dimension for shard in rows.shards}
    for field in signature.inputs:
        if field.name in known:
            continue
        if field.name not in dimensions:
            if not field.required:
                continue
            raise ConfigurationError(
                f"{model}: its input {field.name!r} is in no column of the rows",
                expected=f"one of {', '.join(sorted({*known, *dimensions}))}",
            )
        if field.shape != (dimensions[field.name],):
            raise ConfigurationError(
                f"{model}: its input {field.name!r} has shape {list(field.shape)} and the shard has "
                f"{dimensions[field.name]} columns",
                mend="score the training set that the model was trained on, or train it anew",
            )


def columns_of(batch: pa.RecordBatch, signature: Signature) -> dict[str, Column]:
    """Return the inputs of a batch of rows (``ids``, ``features`` and ``shards`` as in a training set)."""
    parts = {name: batch.column(name) for name in ("ids", "features", "shards")}
    found = {field.name: _column(parts, field) for field in signature.inputs}
    return {name: column for name, column in found.items() if column is not None}


def _column(parts: Mapping[str, pa.StructArray], field: Field) -> Column | None:
    for part in ("ids", "features"):
        if parts[part].type.get_field_index(field.name) >= 0:
            values = parts[part].field(field.name)
            return _bags(values) if field.dtype == "bag" else _numbers(values, field)
    if parts["shards"].type.get_field_index(field.name) >= 0:
        return dense(parts["shards"].field(field.name), field.shape[0]).astype(field.dtype)
    return None


def _bags(values: pa.MapArray) -> Sequence[Mapping[str, float]]:
    return [dict(bag or ()) for bag in values.to_pylist()]


def _numbers(values: pa.Array, field: Field) -> npt.NDArray[np.generic]:
    if values.null_count:
        if field.default is None:
            raise BadDataError(
                f"{field.name!r} is not known in {values.null_count} rows and the model has no default for it",
                mend="give the feature a default in its table's definition",
            )
        values = values.fill_null(field.default)
    if field.dtype == "string":
        return np.asarray(values.to_pylist(), dtype=np.str_)
    array: npt.NDArray[np.generic] = values.to_numpy(zero_copy_only=False).astype(field.dtype)
    return array


def dense(vectors: pa.StructArray, dimension: int) -> npt.NDArray[np.float64]:
    """Return sparse vectors (``indices``, ``values``) as one array (rows, dimension)."""
    indices, values = vectors.field("indices"), vectors.field("values")
    lengths = np.diff(indices.offsets.to_numpy())
    rows = np.repeat(np.arange(len(vectors)), lengths)
    array = np.zeros((len(vectors), dimension))
    array[rows, indices.flatten().to_numpy()] = values.flatten().to_numpy()
    return array
