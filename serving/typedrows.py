"""Bodies that are just what a signature says: read, checked and typed by one decoder compiled from it.

Most are. Whatever is not (another form, an optional input, a wrong value) is None here, and left to those who take it
apart step by step: they allow more, and say what is wrong and where.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from yarnmill.bundle.manifest import Field, Signature
from yarnmill.flavours.predictor import Column

_Gather = Callable[[Sequence[Any]], npt.NDArray[np.generic]]


class TypedRows:
    """Reads ``{"instances": […]}`` with one row or more, each with every input.

    Parameters
    ----------
    signature
        What the model takes; see :func:`typed_rows`.
    """

    def __init__(self, signature: Signature) -> None:
        self._gathers = [(field.name, _gather(field)) for field in signature.inputs]
        self._is_bare = len(self._gathers) == 1
        if self._is_bare:
            row: Any = _type(signature.inputs[0])
        else:
            names = {f"input_{number}": field.name for number, field in enumerate(signature.inputs)}
            types = [(name, _type(field)) for name, field in zip(names, signature.inputs, strict=True)]
            row = msgspec.defstruct("Row", types, rename=names, forbid_unknown_fields=True, gc=False)
            self._attributes = tuple(names)
        rows = Annotated[list[row], Meta(min_length=1)]
        body = msgspec.defstruct("Body", [("instances", rows)], forbid_unknown_fields=True, gc=False)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(body)

    def decode(self, body: bytes) -> tuple[dict[str, Column], int] | None:
        """Return the columns and the number of rows; None if the body is anything else."""
        try:
            rows = self._decoder.decode(body).instances
        except (msgspec.DecodeError, RecursionError):
            return None
        if self._is_bare:
            name, gather = self._gathers[0]
            return {name: gather(rows)}, len(rows)
        columns: dict[str, Column] = {}
        for (name, gather), attribute in zip(self._gathers, self._attributes, strict=True):
            columns[name] = gather([getattr(row, attribute) for row in rows])
        return columns, len(rows)


def typed_rows(signature: Signature) -> TypedRows | None:
    """Return the decoder of a signature; None if it has inputs that a row may lack, or that have no one form."""
    if all(field.required and not field.missing and field.dtype != "bag" for field in signature.inputs):
        return TypedRows(signature)
    return None


def _type(field: Field) -> Any:  # noqa: ANN401  # a type, made at run time
    element: Any
    match field.dtype:
        case "string":
            element = str
        case "int32" | "int64":
            bounds = np.iinfo(field.dtype)
            element = Annotated[int, Meta(ge=int(bounds.min), le=int(bounds.max))]
        case _:
            largest = float(np.finfo(field.dtype).max)
            element = Annotated[float, Meta(ge=-largest, le=largest)]
    for size in reversed(field.shape):
        element = Annotated[list[element], Meta(min_length=size, max_length=size)]
    return element


def _gather(field: Field) -> _Gather:
    shape, dtype = field.shape, np.dtype(object if field.dtype == "string" else field.dtype)
    size = int(np.prod(shape, dtype=np.int64))

    def gather(values: Sequence[Any]) -> npt.NDArray[np.generic]:
        rows = len(values)
        if not shape or rows == 1:
            return np.array(values, dtype)
        flat: Any = values
        for _ in shape:
            flat = chain.from_iterable(flat)
        return np.fromiter(flat, dtype, rows * size).reshape(rows, *shape)

    return gather
