"""From the columns of a transformer to those that a model takes: put together, of its types, and nothing missing."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from serving.refusals import BadRequestError
from serving.transformer.kinds import Kind, Kinds, Values, numbers
from yarnmill.bundle.manifest import Field, Signature
from yarnmill.errors import ConfigurationError
from yarnmill.flavours.predictor import Column


class Output:
    """One input of the model, compiled.

    Parameters
    ----------
    field
        The input.
    sources
        The column that it is, or those that its vector is put together of.
    kinds
        The columns that there are.
    is_shown
        Whether it is shown to people and not a model's: texts may be missing.

    Raises
    ------
    ConfigurationError
        If a column is not there, or they are not what the input takes.
    """

    def __init__(self, field: Field, sources: Sequence[str], kinds: Kinds, *, is_shown: bool = False) -> None:
        unknown = [name for name in sources if name not in kinds]
        if unknown:
            raise ConfigurationError(
                f"column {unknown[0]!r} is not there", expected=f"one of {', '.join(sorted(kinds))}"
            )
        self.field = field
        self.sources = tuple(sources)
        self._is_shown = is_shown
        self._dtype = np.dtype(object if field.dtype in {"bag", "string"} else field.dtype)
        self._places = _places(sources, kinds)
        _check(field, sources, [kinds[name] for name in sources])

    def column(self, columns: Mapping[str, Values], rows: int) -> Column:
        """Return the model's column; whoever calls has NumPy keep quiet about numbers that are not finite.

        Raises
        ------
        BadRequestError
            If a value is missing and must not be, or is none of the input's type.
        """
        field = self.field
        if field.dtype == "bag":
            bags: list[dict[str, float]] = _for_all(columns[self.sources[0]], rows).tolist()
            return bags
        if field.dtype == "string":
            return self._texts(_for_all(columns[self.sources[0]], rows))
        if not field.shape:
            return self._typed(_for_all(columns[self.sources[0]], rows))
        vectors = np.empty((rows, *field.shape))
        for place, name in self._places:
            vectors[:, place] = columns[name]  # one value stands for all rows
        return self._typed(vectors)

    def _typed(self, values: Values) -> npt.NDArray[np.generic]:
        typed: npt.NDArray[np.generic] = np.ascontiguousarray(values, self._dtype)
        if self._dtype.kind == "f":
            return typed if np.isfinite(typed).all() else self._looked_at(values)
        if values.dtype.kind == "f":
            self._check_present(values)
        exact = typed == values
        if not exact.all():
            raise self._unfit(values, int(np.argwhere(~exact)[0][0]))
        return typed

    def _looked_at(self, values: Values) -> npt.NDArray[np.generic]:
        """Return floats some of which are missing or too large, if that may be."""
        field, values = self.field, numbers(values)
        if field.default is not None:
            values = np.where(np.isnan(values), field.default, values)
        self._check_present(values)
        typed: npt.NDArray[np.generic] = np.ascontiguousarray(values, self._dtype)
        too_large = np.isinf(typed)
        if too_large.any():
            raise self._unfit(values, int(np.argwhere(too_large)[0][0]))
        return typed

    def _check_present(self, values: Values) -> None:
        finite = ~np.isinf(values) if self.field.missing else np.isfinite(values)
        if finite.all():
            return
        row, *rest = (int(place) for place in np.argwhere(~finite)[0])
        at = float(values[row, *rest])
        name = next((name for place, name in self._places if [place] == rest), " + ".join(self.sources))
        raise BadRequestError(
            f"outputs.{self.field.name}[{row}]: column {name} is {'missing' if np.isnan(at) else at}",
            expected="a finite number",
            mend="a default in the transformer, for what is not known of an entity",
        )

    def _unfit(self, values: Values, row: int) -> BadRequestError:
        return BadRequestError(
            f"outputs.{self.field.name}[{row}]: is {values[row]}", expected=f"a number that {self._dtype} can hold"
        )

    def _texts(self, texts: Values) -> npt.NDArray[np.object_]:
        values = texts.tolist()
        if None in values and not self._is_shown:
            raise BadRequestError(
                f"outputs.{self.field.name}[{values.index(None)}]: column {self.sources[0]} is missing",
                expected="a text",
                mend="a default in the transformer",
            )
        return np.array(values, dtype=object)


def _places(sources: Sequence[str], kinds: Kinds) -> list[tuple[int | slice, str]]:
    """Return where in a vector each column goes."""
    places: list[tuple[int | slice, str]] = []
    at = 0
    for name in sources:
        width = kinds[name].width
        places.append((at if kinds[name].name != "vector" else slice(at, at + width), name))
        at += width
    return places


def _for_all(values: Values, rows: int) -> Values:
    return values if len(values) == rows else np.repeat(values, rows, axis=0)


def _check(field: Field, sources: Sequence[str], kinds: Sequence[Kind]) -> None:
    what = f"{', '.join(sources)} is {', '.join(map(str, kinds))}" if sources else "no column"
    if field.dtype in {"bag", "string"}:
        wanted = "bag" if field.dtype == "bag" else "text"
        fits = len(kinds) == 1 and kinds[0].name == wanted and not field.shape
        expected = f"one column that is a {wanted}"
    elif not field.shape:
        fits, expected = len(kinds) == 1 and kinds[0].is_numeric, "one column of numbers"
    else:
        width = sum(kind.width for kind in kinds)
        is_numeric = all(kind.is_numeric or kind.name == "vector" for kind in kinds)
        fits = is_numeric and field.shape == (width,)
        expected = f"numbers, {list(field.shape)} a row; these are {width}" if is_numeric else "columns of numbers"
    if not fits:
        raise ConfigurationError(what, expected=expected)


def signature_of(kinds: Kinds) -> Signature:
    """Return the signature of a model that takes some columns as they are: what a simulation without a model is for."""
    return Signature(inputs=tuple(_field(name, kind) for name, kind in kinds.items()), outputs=())


def _field(name: str, kind: Kind) -> Field:
    match kind.name:
        case "bag":
            return Field(name=name, dtype="bag")
        case "text":
            return Field(name=name, dtype="string")
        case "integer" | "boolean":
            return Field(name=name, dtype="int64")
        case "number":
            return Field(name=name, dtype="float64", missing=True)
        case "vector":
            return Field(name=name, dtype="float64", shape=(kind.width,), missing=True)
