"""From the columns of requests to ``yarnmill.predictions.VALUES``: three maps a row, of numbers, integers and texts."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from yarnmill.flavours.predictor import Column
from yarnmill.predictions import VALUES

_KINDS: Final = ("numbers", "integers", "texts")


class _Block(NamedTuple):
    """Values that every row has: their names, and an array ``(rows, names)``."""

    names: list[str]
    values: npt.NDArray[Any]


class _Bag(NamedTuple):
    name: str
    terms: list[Mapping[str, float]]


def values_of(requests: Sequence[Mapping[str, Column]], rows: int) -> pa.StructArray:
    """Return the values of requests with the same columns, of the same dtypes and shapes.

    Parameters
    ----------
    requests
        Their columns by name.
    rows
        How many they have together.
    """
    blocks: dict[str, list[_Block]] = {kind: [] for kind in _KINDS}
    bags: list[_Bag] = []
    for name, first in requests[0].items():
        columns: list[Any] = [request[name] for request in requests]
        if isinstance(first, np.ndarray):
            values: npt.NDArray[Any] = np.concatenate(columns).reshape(rows, -1)
            blocks[_kind(first.dtype)].append(_Block(_names(name, first.shape[1:]), values))
        else:
            bags.append(_Bag(name, list(chain.from_iterable(columns))))
    maps = [
        _number_map(blocks["numbers"], bags, rows),
        _map(*_joined(blocks["integers"], rows), pa.int64()),
        _text_map(*_joined(blocks["texts"], rows)),
    ]
    return pa.StructArray.from_arrays(maps, fields=list(VALUES))


def _kind(dtype: np.dtype[Any]) -> str:
    if dtype.kind not in "fiub":
        return "texts"
    return "integers" if np.can_cast(dtype, np.int64) else "numbers"


def _names(name: str, shape: tuple[int, ...]) -> list[str]:
    """Return the names of a tensor's elements: ``x[0][1]``."""
    return [name + "".join(f"[{place}]" for place in index) for index in np.ndindex(shape)]


def _joined(blocks: Sequence[_Block], rows: int) -> _Block:
    if not blocks:
        return _Block([], np.empty((rows, 0)))
    return _Block([name for block in blocks for name in block.names], np.hstack([block.values for block in blocks]))


def _number_map(blocks: Sequence[_Block], bags: Sequence[_Bag], rows: int) -> pa.MapArray:
    fixed = _joined(blocks, rows)
    numbers = fixed.values.astype(np.float64)
    if not bags:
        return _map(fixed.names, numbers, pa.float64())
    names: list[str] = []
    values: list[float] = []
    ends = [0]
    for row, numbers_of_row in enumerate(numbers.tolist()):
        names += fixed.names
        values += numbers_of_row
        for bag in bags:
            terms = bag.terms[row]
            names += [f"{bag.name}:{term}" for term in terms]
            values += terms.values()
        ends.append(len(names))
    items = pa.array(np.array(values, np.float64), from_pandas=True)
    return pa.MapArray.from_arrays(pa.array(ends, pa.int32()), _texts(names), items)


def _text_map(names: list[str], values: npt.NDArray[Any]) -> pa.MapArray:
    return _with_names(names, _texts(values.ravel().tolist()), len(values))


def _map(names: list[str], values: npt.NDArray[Any], dtype: pa.DataType) -> pa.MapArray:
    return _with_names(names, pa.array(values.ravel(), dtype, from_pandas=True), len(values))  # NaN is null


def _with_names(names: list[str], items: pa.Array, rows: int) -> pa.MapArray:
    places = np.tile(np.arange(len(names), dtype=np.int32), rows)
    ends = np.arange(rows + 1, dtype=np.int32) * len(names)
    return pa.MapArray.from_arrays(pa.array(ends), _texts(names).take(pa.array(places)), items)


def _texts(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except (TypeError, ValueError):  # half of a pair of surrogates, which JSON can name, or what a model calls a text
        return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value).encode(errors="replace").decode()
