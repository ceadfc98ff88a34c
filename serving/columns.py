"""From values of JSON to the column of one input: compiled once a field, strict about what numbers are.

A column decoder takes one JSON value a row and returns an array ``(rows, *shape)``, or one mapping of
terms to values a row for a bag. Python's readiness to see numbers in booleans, and NumPy's to see them
in text, is why types are looked at before NumPy gets to see the values.
"""

from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from math import isfinite
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from serving.refusals import shown
from yarnmill.bundle.manifest import Field
from yarnmill.flavours.predictor import Column

ColumnDecoder = Callable[[Sequence[Any]], Column]

_INTEGER: Final = frozenset({int})
_NUMBER: Final = frozenset({int, float})
_NUMBER_OR_NULL: Final = frozenset({int, float, type(None)})
_TEXT: Final = frozenset({str})
_FEW: Final = 64
_LARGEST_EXACT_FLOAT: Final = 2.0**53
"""A float at least this large may stand for several integers, so it names none."""


class CellError(Exception):
    """One value that does not fit its field: the row, the place within the row's value, what is wrong."""

    def __init__(self, row: int, place: str, what: str, expected: str) -> None:
        super().__init__(what)
        self.row = row
        self.place = place
        self.what = what
        self.expected = expected


def column_decoder(field: Field) -> ColumnDecoder:
    """Return the decoder of one input."""
    if field.dtype == "bag":
        return _decode_bags
    flat = _flat_decoder(field)
    return _tensor_decoder(field, flat) if field.shape else _scalar_decoder(flat)


_FlatDecoder = Callable[[Sequence[Any]], npt.NDArray[np.generic]]
"""One JSON value an element to a vector; raises ``_ElementError`` naming the element."""


class _ElementError(Exception):
    def __init__(self, index: int, what: str, expected: str) -> None:
        super().__init__(what)
        self.index = index
        self.what = what
        self.expected = expected


def _flat_decoder(field: Field) -> _FlatDecoder:
    match dtype := field.dtype:
        case "int64" | "int32":
            return _integers(np.dtype(dtype))
        case "float32" | "float64":
            return _floats(np.dtype(dtype), missing=field.missing)
        case _:
            return _texts


def _integers(dtype: np.dtype[Any]) -> _FlatDecoder:
    lowest, highest = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)

    def decode(values: Sequence[Any]) -> npt.NDArray[np.generic]:
        if (
            set(map(type, values)) <= _INTEGER
            and lowest <= min(values, default=0)
            and max(values, default=0) <= highest
        ):
            return np.array(values, dtype)
        return np.array([_integer(index, value) for index, value in enumerate(values)], dtype)

    def _integer(index: int, value: object) -> int:
        # JSON has one kind of number, and clients that hold floats send 7.0 for 7.
        if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_EXACT_FLOAT:
            value = int(value)
        if type(value) is not int:
            raise _ElementError(index, f"is {shown(value)}", f"an integer ({dtype})")
        if not lowest <= value <= highest:
            raise _ElementError(index, f"is {value}", f"an integer from {lowest} to {highest} ({dtype})")
        return value

    return decode


def _floats(dtype: np.dtype[Any], *, missing: bool) -> _FlatDecoder:
    allowed = _NUMBER_OR_NULL if missing else _NUMBER
    largest = float(np.finfo(dtype).max)

    def decode(values: Sequence[Any]) -> npt.NDArray[np.generic]:
        types = set(map(type, values))
        # A few numbers are looked at sooner than NumPy is asked: a sum is finite only if all of them are.
        if len(values) <= _FEW and types <= _NUMBER and isfinite(sum(values)) and max(map(abs, values)) <= largest:
            return np.array(values, dtype)
        if not types <= allowed:
            index = next(i for i, value in enumerate(values) if type(value) not in allowed)
            raise _ElementError(index, f"is {shown(values[index])}", f"a number ({dtype})")
        with np.errstate(over="ignore"):  # what overflows is refused below, by its place
            column = np.array(values, dtype)  # null becomes NaN
        unfit = first_unfit(column, missing=missing)
        if unfit is not None:
            raise _ElementError(unfit, f"is {shown(values[unfit])}", f"a finite number that fits {dtype}")
        return column

    return decode


def first_unfit(values: npt.NDArray[Any], *, missing: bool) -> int | None:
    """Return the place of the first number that is not finite; with ``missing`` NaN stands for one that is."""
    fit = ~np.isinf(values) if missing else np.isfinite(values)
    return None if fit.all() else int(np.argmin(fit))


def _texts(values: Sequence[Any]) -> npt.NDArray[np.generic]:
    if not set(map(type, values)) <= _TEXT:
        values = [_text(index, value) for index, value in enumerate(values)]
    return np.array(values, dtype=object)


def _text(index: int, value: object) -> str:
    """Return a text; TensorFlow's clients may send its bytes as ``{"b64": …}``."""
    if type(value) is dict and value.keys() == {"b64"} and type(value["b64"]) is str:
        try:
            return b64decode(value["b64"], validate=True).decode()
        except ValueError:
            raise _ElementError(index, f"is {shown(value['b64'])}", "Base64 of a text in UTF-8") from None
    if type(value) is not str:
        raise _ElementError(index, f"is {shown(value)}", "a string")
    return value


def _scalar_decoder(flat: _FlatDecoder) -> ColumnDecoder:
    def decode(values: Sequence[Any]) -> Column:
        try:
            return flat(values)
        except _ElementError as problem:
            raise CellError(problem.index, "", problem.what, problem.expected) from None

    return decode


def _tensor_decoder(field: Field, flat: _FlatDecoder) -> ColumnDecoder:
    shape = field.shape

    def decode(values: Sequence[Any]) -> Column:
        elements = values
        for depth in range(len(shape)):
            elements = _unnested(elements, shape, depth)
        try:
            return flat(elements).reshape(len(values), *shape)
        except _ElementError as problem:
            row, place = _place(problem.index, shape)
            raise CellError(row, place, problem.what, problem.expected) from None

    return decode


def _unnested(elements: Sequence[Any], shape: tuple[int, ...], depth: int) -> list[Any]:
    size = shape[depth]
    if set(map(type, elements)) != {list} or set(map(len, elements)) != {size}:
        index = next(i for i, e in enumerate(elements) if type(e) is not list or len(e) != size)
        row, place = _place(index, shape[:depth])
        raise CellError(
            row, place, f"is {shown(elements[index])}", f"a list of {size} (a row's shape is {list(shape)})"
        )
    return list(chain.from_iterable(elements))


def _place(index: int, shape: tuple[int, ...]) -> tuple[int, str]:
    """Return the row of a flat index, and its place within the row as ``[2][0]``."""
    row, rest = divmod(index, int(np.prod(shape, dtype=np.int64)))
    inner = np.unravel_index(rest, shape) if shape else ()
    return row, "".join(f"[{i}]" for i in inner)


def _decode_bags(values: Sequence[Any]) -> Column:
    return [_bag(row, value) for row, value in enumerate(values)]


def _bag(row: int, value: object) -> Mapping[str, float]:
    if isinstance(value, dict):
        return {term: _bag_value(row, term, amount) for term, amount in value.items()}
    if not isinstance(value, list):
        raise CellError(row, "", f"is {shown(value)}", "a bag: an object of terms to numbers, or a list of terms")
    counts: dict[str, float] = {}
    for place, term in enumerate(value):
        if not isinstance(term, str):
            raise CellError(row, f"[{place}]", f"is {shown(term)}", "a term (a string)")
        counts[term] = counts.get(term, 0.0) + 1.0
    return counts


def _bag_value(row: int, term: str, amount: object) -> float:
    if type(amount) not in _NUMBER:
        raise CellError(row, f".{term}", f"is {shown(amount)}", "a number")
    return float(amount)  # type: ignore[arg-type]  # an int or a float, seen above
