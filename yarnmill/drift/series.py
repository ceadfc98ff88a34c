"""From the columns of a batch to series: what has one value a row, and so a distribution.

A number, a text or a bag is a series of its own name. Each element of a vector or tensor is one, ``features[3]``, up to
:data:`MOST_ELEMENTS`. A longer one, an image or an embedding, whose elements mean little each by itself, is two: its
rows' means and their Euclidean norms, ``mean(image)`` and ``norm(image)``. A longer one of text is a bag of texts.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from yarnmill.bundle.manifest import Field, Signature
from yarnmill.drift.scale import Bags, Kind, Values

Column = npt.NDArray[np.generic] | Sequence[Mapping[str, float]]
Side = Literal["input", "output"]

MOST_ELEMENTS: Final = 64


class SeriesName(NamedTuple):
    """What names a series of a signature."""

    side: Side
    name: str
    kind: Kind


def series_names(signature: Signature) -> tuple[SeriesName, ...]:
    """Return the series of a signature, in its order."""
    sides: tuple[tuple[Side, tuple[Field, ...]], ...] = (("input", signature.inputs), ("output", signature.outputs))
    return tuple(SeriesName(side, *named) for side, fields in sides for field in fields for named in _named(field))


def series_values(fields: Sequence[Field], columns: Mapping[str, Column], rows: int) -> Iterator[Values]:
    """Yield the values of every series of some fields, in their order.

    Parameters
    ----------
    fields
        Inputs or outputs of a signature.
    columns
        By name, ``(rows, *shape)``. An input that is not among them is missing in every row.
    rows
        How many.
    """
    for field in fields:
        column = columns.get(field.name)
        if column is None:
            yield from (_absent(kind, rows) for _, kind in _named(field))
        elif field.dtype == "bag":
            yield column  # type: ignore[misc]  # a sequence of mappings
        elif field.dtype == "string":
            yield from _texts(np.asarray(column, object), field)
        else:
            yield from _numbers(np.asarray(column), field)


def _named(field: Field) -> list[tuple[str, Kind]]:
    kind: Kind = {"bag": "bag", "string": "text"}.get(field.dtype, "number")  # type: ignore[assignment]  # one of them
    if not field.shape:
        return [(field.name, kind)]
    if _elements(field) > MOST_ELEMENTS:
        if kind == "text":
            return [(field.name, "bag")]
        return [(f"mean({field.name})", kind), (f"norm({field.name})", kind)]
    return [(field.name + "".join(f"[{place}]" for place in at), kind) for at in np.ndindex(*field.shape)]


def _absent(kind: Kind, rows: int) -> Values:
    if kind == "number":
        return np.full(rows, np.nan)
    empty: Bags = [{}] * rows
    return empty if kind == "bag" else [None] * rows


def _elements(field: Field) -> int:
    return int(np.prod(field.shape, dtype=np.int64))


def _texts(column: npt.NDArray[np.object_], field: Field) -> Iterator[Values]:
    if _elements(field) > MOST_ELEMENTS:
        yield [dict.fromkeys(row, 1.0) for row in column.reshape(len(column), -1).tolist()]
    else:
        yield from column.reshape(len(column), -1).T.tolist()


def _numbers(column: npt.NDArray[np.generic], field: Field) -> Iterator[Values]:
    flat = column.reshape(len(column), -1)
    if _elements(field) <= MOST_ELEMENTS:
        yield from flat.T.astype(np.float64)
        return
    wide = flat.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # a row with a NaN is missing, one too large is infinite
        yield wide.mean(axis=1)
        yield np.sqrt((wide * wide).sum(axis=1))
