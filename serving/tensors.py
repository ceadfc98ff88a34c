"""Tensors of the Open Inference Protocol: to the columns of a predictor, and from its outputs.

Numbers come as flat or nested lists or as raw little-endian bytes, texts as strings or as bytes with their length
before them. A tensor's first size is that of the rows. Numbers may be narrower than what they are for, never wider;
a bag, for which the protocol has no type, is a text of JSON a row.
"""

from collections.abc import Mapping
from itertools import chain
from math import prod
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from serving.columns import CellError, column_decoder, first_unfit
from serving.refusals import BadRequestError, shown
from yarnmill.bundle.manifest import Dtype, Field
from yarnmill.flavours.predictor import Column

NUMBERS: Final[Mapping[str, np.dtype[Any]]] = {
    "BOOL": np.dtype("bool"),
    "INT8": np.dtype("int8"),
    "INT16": np.dtype("int16"),
    "INT32": np.dtype("int32"),
    "INT64": np.dtype("int64"),
    "UINT8": np.dtype("uint8"),
    "UINT16": np.dtype("uint16"),
    "UINT32": np.dtype("uint32"),
    "UINT64": np.dtype("uint64"),
    "FP16": np.dtype("float16"),
    "FP32": np.dtype("float32"),
    "FP64": np.dtype("float64"),
}
BYTES: Final = "BYTES"
DATATYPES: Final[Mapping[Dtype, str]] = {
    "int64": "INT64",
    "int32": "INT32",
    "float32": "FP32",
    "float64": "FP64",
    "string": BYTES,
    "bag": BYTES,
}
"""The type of each kind of field."""

_OF_DTYPE: Final = {dtype: name for name, dtype in NUMBERS.items()}
_LENGTH_BYTES: Final = 4


class Tensor(NamedTuple):
    """A tensor as it came: ``values`` is a flat or nested list of JSON, or raw bytes."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: list[Any] | bytes


def column_of(tensor: Tensor, field: Field) -> Column:
    """Return the column of an input.

    Raises
    ------
    BadRequestError
        If type, shape, size or values are not those of the input.
    """
    place = f"inputs.{tensor.name}"
    if not tensor.shape or tensor.shape[1:] not in {field.shape, (*field.shape, 1)}:
        raise BadRequestError(f"{place}.shape: is {list(tensor.shape)}", expected=f"{['rows', *field.shape]}")
    if field.dtype in {"string", "bag"}:
        return _texts(tensor, field, place)
    dtype = NUMBERS.get(tensor.datatype)
    if dtype is None or dtype.kind == "b" or not np.can_cast(dtype, np.dtype(field.dtype), "safe"):
        raise BadRequestError(f"{place}.datatype: is {tensor.datatype}", expected=DATATYPES[field.dtype])
    raw = tensor.values if isinstance(tensor.values, bytes) else None
    missing = field.missing and dtype.kind == "f"
    values = _listed(tensor, dtype, place, missing=missing) if raw is None else _raw(raw, tensor, dtype, place)
    at = first_unfit(values, missing=missing) if values.dtype.kind == "f" else None
    if at is not None:
        raise BadRequestError(f"{place}.data[{at}]: is {values[at]}", expected="a finite number")
    return values.astype(field.dtype, copy=False).reshape(tensor.shape[0], *field.shape)


def _raw(data: bytes, tensor: Tensor, dtype: np.dtype[Any], place: str) -> npt.NDArray[Any]:
    expected = prod(tensor.shape) * dtype.itemsize
    if len(data) != expected:
        raise BadRequestError(
            f"{place}: has {len(data)} bytes", expected=f"{expected} for {tensor.datatype}{list(tensor.shape)}"
        )
    return np.frombuffer(data, dtype.newbyteorder("<"))


def _listed(tensor: Tensor, dtype: np.dtype[Any], place: str, *, missing: bool) -> npt.NDArray[Any]:
    flat = _flat(tensor, place)
    kind: Dtype = "int64" if dtype.kind in "iu" else "float64"
    decode = column_decoder(Field(name=tensor.name, dtype=kind, missing=missing))
    try:
        values = np.asarray(decode(flat))
    except CellError as problem:
        raise BadRequestError(f"{place}.data[{problem.row}]: {problem.what}", expected=problem.expected) from None
    with np.errstate(over="ignore"):
        cast = values.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(cast, values):
        at = int(np.argmax(cast != values))
        raise BadRequestError(f"{place}.data[{at}]: is {values[at]}", expected=f"a number that fits {tensor.datatype}")
    return cast


def _flat(tensor: Tensor, place: str) -> list[Any]:
    values: list[Any] = list(tensor.values)
    while values and type(values[0]) is list:
        if set(map(type, values)) != {list}:
            raise BadRequestError(f"{place}.data: lists and values side by side", expected="a flat or a nested list")
        values = list(chain.from_iterable(values))
    if len(values) != prod(tensor.shape):
        raise BadRequestError(f"{place}.data: has {len(values)} values", expected=f"{prod(tensor.shape)}, as its shape")
    return values


def _texts(tensor: Tensor, field: Field, place: str) -> Column:
    if tensor.datatype != BYTES:
        raise BadRequestError(f"{place}.datatype: is {tensor.datatype}", expected=BYTES)
    raw = tensor.values if isinstance(tensor.values, bytes) else None
    texts = _flat(tensor, place) if raw is None else _raw_texts(raw, tensor, place)
    for at, text in enumerate(texts):
        if type(text) is not str:
            raise BadRequestError(f"{place}.data[{at}]: is {shown(text)}", expected="a string")
    values: list[Any] = texts
    if field.dtype == "bag":
        try:
            values = [orjson.loads(text) for text in texts]
        except orjson.JSONDecodeError:
            raise BadRequestError(f"{place}.data: no JSON", expected="a bag of each row as JSON") from None
    rows = tensor.shape[0]
    if field.shape:
        return np.array(values, dtype=object).reshape(rows, *field.shape)
    try:
        return column_decoder(field)(values)
    except CellError as problem:
        raise BadRequestError(
            f"{place}.data[{problem.row}]{problem.place}: {problem.what}", expected=problem.expected
        ) from None


def _raw_texts(raw: bytes, tensor: Tensor, place: str) -> list[str]:
    data, texts, at = memoryview(raw), [], 0
    while at < len(data):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(data[at:start], "little")
        if start > len(data) or at > len(data):
            raise BadRequestError(f"{place}: ends in the middle of a text", expected="each with its length before it")
        try:
            texts.append(str(data[start:at], "utf-8"))
        except UnicodeDecodeError:
            raise BadRequestError(f"{place}.data[{len(texts)}]: is not UTF-8", expected="text in UTF-8") from None
    if len(texts) != prod(tensor.shape):
        raise BadRequestError(f"{place}: has {len(texts)} texts", expected=f"{prod(tensor.shape)}, as its shape")
    return texts


def datatype_of(values: npt.NDArray[np.generic]) -> str:
    """Return the type of an output."""
    return _OF_DTYPE.get(values.dtype.newbyteorder("="), BYTES)


def texts_of(values: npt.NDArray[np.generic]) -> list[str]:
    """Return the texts of an output, bags as JSON."""
    flat = values.ravel().tolist()
    return [orjson.dumps(value).decode() if isinstance(value, Mapping) else str(value) for value in flat]


def raw_bytes(values: npt.NDArray[np.generic]) -> bytes:
    """Return an output as raw bytes."""
    if datatype_of(values) != BYTES:
        return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    texts = [text.encode() for text in texts_of(values)]
    return b"".join(len(text).to_bytes(_LENGTH_BYTES, "little") + text for text in texts)
