"""How what a program calls its inputs and outputs meets what a signature calls them.

They go by their names. Where one name on either side is left over, both are the same: Python cannot write ``global`` as
an argument. Outputs that have no names are the signature's in order.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from yarnmill.bundle.manifest import Field, Signature
from yarnmill.errors import BadDataError
from yarnmill.flavours.graph import Tensor, check_tensor
from yarnmill.flavours.predictor import Column
from yarnmill.flavours.tabular import Array, filled, shaped
from yarnmill.records import Record

_UNNAMED: Final = "output_"
"""What TensorFlow, and our program for PyTorch, call outputs that have no name: this and their place."""


class Described(Record, frozen=True, kw_only=True):
    """An input or output, as a program says it is; None where it does not say. One not ``required`` may be left out."""

    name: str
    dtype: str | None
    shape: tuple[int | None, ...] | None
    required: bool = True


class Description(Record, frozen=True, kw_only=True):
    """What a program takes and gives, by which version of its library; ``outputs`` None: its answers say."""

    library: str
    inputs: tuple[Described, ...]
    outputs: tuple[Described, ...] | None


class Binding:
    """A signature that fits a program.

    Parameters
    ----------
    path
        The model, named in errors.
    signature
        What it is to take and give.
    description
        What it takes and gives.

    Raises
    ------
    BadDataError
        If that is something else.
    """

    def __init__(self, path: Path, signature: Signature, description: Description) -> None:
        self._path = path
        self._signature = signature
        _refuse_untaken(path, signature)
        self._inputs = _paired(path, "input", signature.inputs, [one.name for one in description.inputs])
        left = _checked(path, "input", signature.inputs, self._inputs, description.inputs)
        needed = [one.name for one in left if one.required]
        if needed:
            raise BadDataError(
                f"{path}: it has inputs that the signature lacks: {', '.join(needed)}",
                expected="every input of the model in the signature",
            )
        self._outputs: Mapping[str, str] | None = None
        if description.outputs is not None:
            self._outputs = _paired(path, "output", signature.outputs, [one.name for one in description.outputs])
            _checked(path, "output", signature.outputs, self._outputs, description.outputs)

    def asked(self, columns: Mapping[str, Column]) -> dict[str, Column]:
        """Return the columns of a batch by the program's names, absent ones filled with their default, or NaN."""
        rows = len(next(iter(columns.values())))
        return {self._inputs[field.name]: _column(field, columns, rows) for field in self._signature.inputs}

    def answered(self, answer: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs by the signature's names; BadDataError if they are not what it says."""
        names = self._outputs or _paired(self._path, "output", self._signature.outputs, list(answer))
        return {
            field.name: shaped(np.asarray(answer[names[field.name]]), field, self._path)
            for field in self._signature.outputs
        }


def _refuse_untaken(path: Path, signature: Signature) -> None:
    for field in (*signature.inputs, *signature.outputs):
        if field.dtype == "bag":
            raise BadDataError(f"{path}: {field.name!r} is a bag", expected="numbers and texts: a graph takes no bags")
        if field.dtype == "string" and not field.required:
            raise BadDataError(f"{path}: {field.name!r} is an optional text", expected="a text in every row, if empty")


def _checked(
    path: Path, place: str, fields: Sequence[Field], names: Mapping[str, str], described: Sequence[Described]
) -> list[Described]:
    """Check types and shapes, and return what no field is for."""
    left = {one.name: one for one in described}
    for field in fields:
        one = left.pop(names[field.name])
        kind = one.dtype or ""
        check_tensor(path, place, field, Tensor(name=one.name, dtype=kind, kind=kind, shape=one.shape))
    return list(left.values())


def _paired(path: Path, place: str, fields: Sequence[Field], names: Sequence[str]) -> dict[str, str]:
    """Return what the program calls each field."""
    unnamed = [f"{_UNNAMED}{number}" for number in range(len(fields))]
    if sorted(names) == sorted(unnamed):
        return dict(zip((field.name for field in fields), unnamed, strict=True))
    pairs = {field.name: field.name for field in fields if field.name in names}
    fields_left = [field.name for field in fields if field.name not in pairs]
    names_left = [name for name in names if name not in pairs]
    if len(fields_left) == 1 and len(names_left) == 1:
        return {**pairs, fields_left[0]: names_left[0]}
    if fields_left:
        raise BadDataError(
            f"{path}: the model has no {place} {', '.join(map(repr, fields_left))}",
            expected=f"one of {', '.join(names)}",
            mend=f"name each {place} in the signature as the model does",
        )
    return pairs


def _column(field: Field, columns: Mapping[str, Column], rows: int) -> Column:
    column = filled(field, columns, rows)
    return (
        column if field.name in columns else np.asarray(column).astype(field.dtype)
    )  # a default has no type of its own
