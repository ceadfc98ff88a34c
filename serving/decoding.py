"""From the rows or columns of a request to the columns that a predictor takes, by a signature compiled once."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from serving.columns import CellError, ColumnDecoder, column_decoder
from serving.refusals import BadRequestError, shown
from serving.typedrows import typed_rows
from yarnmill.bundle.manifest import Field, Signature
from yarnmill.flavours.predictor import Column

if TYPE_CHECKING:
    from serving.transformer.transformer import Transformer

_ABSENT: Final = object()


class _Input:
    """One compiled input. An optional one has what fills it; without that it may only be absent altogether."""

    __slots__ = ("decode", "default", "field", "name", "required")

    def __init__(self, field: Field) -> None:
        self.field = field
        self.name = field.name
        self.decode: ColumnDecoder = column_decoder(field)
        self.required = field.required
        self.default: Any = _default(field)


def _default(field: Field) -> Any:  # noqa: ANN401  # a JSON value of the field's own kind
    if field.dtype == "bag":
        return {}  # what a bag is of which nothing is known
    if field.default is None:
        return _ABSENT
    return np.full(field.shape, field.default).tolist() if field.shape else field.default


class SignatureDecoder:
    """Decodes the bodies of one model.

    Parameters
    ----------
    signature
        What the model takes.
    transformer
        What stands before the model for bodies of free JSON; None: nothing does.
    """

    def __init__(self, signature: Signature, transformer: "Transformer | None" = None) -> None:
        self.transformer = transformer
        self.typed = typed_rows(signature) if transformer is None else None
        """Reads the most usual bodies at one go; None if they have no one form."""
        self._inputs = [_Input(field) for field in signature.inputs]
        self._names = frozenset(field.name for field in signature.inputs)
        self._only = self._inputs[0] if len(self._inputs) == 1 else None
        self.fields = signature.inputs
        """The inputs."""

    def decode_rows(self, instances: Sequence[Any], root: str = "instances") -> dict[str, Column]:
        """Return the columns of rows: an object each, or a bare value each if there is one input.

        Parameters
        ----------
        instances
            One or more.
        root
            What errors call them.

        Raises
        ------
        BadRequestError
            Naming the field as ``instances[3].film_id``.
        """
        if self._only is not None and not _holds_objects_of(self._only, instances):
            return {self._only.name: _decoded(self._only, instances, root, by_row=True, bare=True)}
        for row, instance in enumerate(instances):
            if type(instance) is not dict:
                raise BadRequestError(
                    f"{root}[{row}]: is {shown(instance)}", expected=f"an object with {self._wanted()}"
                )
            if not instance.keys() <= self._names:
                unknown = min(instance.keys() - self._names)
                raise BadRequestError(f"{root}[{row}].{unknown}: unknown input", expected=f"only {self._wanted()}")
        columns: dict[str, Column] = {}
        for one in self._inputs:
            values = _gathered(one, instances, root)
            if values is not None:
                columns[one.name] = _decoded(one, values, root, by_row=True)
        return columns

    def decode_columns(self, inputs: object) -> tuple[dict[str, Column], int]:
        """Return the columns of ``inputs``, an object of lists (or the bare list of an only input), and their rows.

        Raises
        ------
        BadRequestError
            Naming the field as ``inputs.film_id[3]``.
        """
        if self._only is not None and not isinstance(inputs, dict):
            inputs = {self._only.name: inputs}
        if not isinstance(inputs, dict):
            raise BadRequestError(
                f"inputs: is {shown(inputs)}", expected=f"an object with a list for each of {self._wanted()}"
            )
        unknown = sorted(inputs.keys() - self._names)
        if unknown:
            raise BadRequestError(f"inputs.{unknown[0]}: unknown input", expected=f"only {self._wanted()}")
        rows = _row_count(inputs)
        columns: dict[str, Column] = {}
        for one in self._inputs:
            values = inputs.get(one.name)
            if values is None and one.required:
                raise BadRequestError(f"inputs.{one.name}: missing", expected=_kind(one.field))
            if values is None and one.default is _ABSENT:
                continue
            filled = [one.default] * rows if values is None else _filled(one, values)
            columns[one.name] = _decoded(one, filled, "inputs", by_row=False)
        return columns, rows

    def filled(self, columns: dict[str, Column], rows: int) -> dict[str, Column]:
        """Return columns with the defaults of those optional inputs that are not among them.

        Raises
        ------
        BadRequestError
            If a required one is not, or one of them is no input.
        """
        unknown = sorted(columns.keys() - self._names)
        if unknown:
            raise BadRequestError(f"inputs.{unknown[0]}: unknown input", expected=f"only {self._wanted()}")
        found = dict(columns)
        for one in self._inputs:
            if one.name in columns:
                continue
            if one.required:
                raise BadRequestError(f"inputs.{one.name}: missing", expected=_kind(one.field))
            if one.default is not _ABSENT:
                found[one.name] = one.decode([one.default] * rows)
        return found

    def _wanted(self) -> str:
        return ", ".join(one.name for one in self._inputs)


def _holds_objects_of(one: _Input, instances: Sequence[Any]) -> bool:
    """Return whether the rows of a model with one input name it: ``{"x": 1}`` does, ``1`` does not."""
    first = instances[0]
    return isinstance(first, dict) and (one.field.dtype != "bag" or first.keys() == {one.name})


def _gathered(one: _Input, instances: Sequence[dict[str, Any]], root: str) -> list[Any] | None:
    """Return one input's value a row, or None if it may be absent and no row has it."""
    name = one.name
    if one.required:
        try:
            return [instance[name] for instance in instances]
        except KeyError:
            row = next(i for i, instance in enumerate(instances) if name not in instance)
            raise BadRequestError(f"{root}[{row}].{name}: missing", expected=_kind(one.field)) from None
    values = [instance.get(name) for instance in instances]
    if one.default is not _ABSENT:
        return [one.default if value is None else value for value in values]
    if all(value is None for value in values):
        return None
    if None in values:
        raise BadRequestError(
            f"{root}[{values.index(None)}].{name}: missing",
            expected="a value in every row, since some rows have one",
        )
    return values


def _filled(one: _Input, values: list[Any]) -> list[Any]:
    if one.required or one.default is _ABSENT:
        return values
    return [one.default if value is None else value for value in values]


def _row_count(inputs: dict[str, Any]) -> int:
    counts: dict[str, int] = {}
    for name, values in inputs.items():
        if not isinstance(values, list):
            raise BadRequestError(f"inputs.{name}: is {shown(values)}", expected="a list with one value a row")
        counts[name] = len(values)
    if not counts:
        raise BadRequestError("inputs: is empty", expected="a list for every input")
    (first, rows), *others = counts.items()
    if rows == 0:
        raise BadRequestError(f"inputs.{first}: is empty", expected="one row or more")
    for name, count in others:
        if count != rows:
            raise BadRequestError(f"inputs.{name}: has {count} rows", expected=f"{rows}, as inputs.{first} has")
    return rows


def _decoded(one: _Input, values: Sequence[Any], root: str, *, by_row: bool, bare: bool = False) -> Column:
    try:
        return one.decode(values)
    except CellError as problem:
        where = f"{root}[{problem.row}]" if by_row else f"{root}.{one.name}[{problem.row}]"
        if by_row and not bare:
            where = f"{where}.{one.name}"
        raise BadRequestError(f"{where}{problem.place}: {problem.what}", expected=problem.expected) from None


def _kind(field: Field) -> str:
    return f"{field.dtype}{list(field.shape)}" if field.shape else field.dtype
