"""What graphs of any library share: the tensors that one takes and gives, checked against a signature."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from yarnmill.bundle.manifest import Field
from yarnmill.errors import BadDataError


class Tensor(NamedTuple):
    """An input or output of a graph.

    ``dtype`` is what a field would call it, and ``kind`` what the library does; ``shape`` has an integer where a
    dimension is fixed. Empty and None where the graph does not say.
    """

    name: str
    dtype: str
    kind: str
    shape: Sequence[object] | None


def check_tensor(path: Path, place: str, field: Field, tensor: Tensor) -> None:
    """Raise BadDataError if a tensor is not what a field says, row by row.

    Parameters
    ----------
    path
        The graph's file, named in errors.
    place
        ``input`` or ``output``, named in errors.
    field
        What the signature says.
    tensor
        What the graph has; its first dimension is the batch and must be free.
    """
    if tensor.kind and tensor.dtype != field.dtype:
        raise BadDataError(
            f"{path}: {place} {field.name!r} is a {tensor.kind} in the graph",
            expected=f"{field.dtype}, as the signature says",
        )
    if tensor.shape is None:
        return
    batch, *row = tensor.shape or [1]
    if isinstance(batch, int):
        raise BadDataError(
            f"{path}: {place} {field.name!r} has the fixed shape {list(tensor.shape)} in the graph",
            expected="a first dimension that is free, for any number of rows",
            mend="export the model with a dynamic batch dimension",
        )
    if len(row) != len(field.shape) or any(
        isinstance(size, int) and size != wanted for size, wanted in zip(row, field.shape, strict=True)
    ):
        raise BadDataError(
            f"{path}: a row of {place} {field.name!r} has the shape {tuple(row)} in the graph",
            expected=f"{field.shape}, as the signature says",
        )
