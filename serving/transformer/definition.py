"""What a transformer is declared as: inputs, lookups, transformations, outputs.

The words are those of Merlin's standard transformer where they fit. One step after the other makes columns, one value
a row each; the names of those that stand already are what the next step may use.
"""

import re
from typing import Annotated, Final, Literal

import msgspec

from serving.transformer.jsonpath import parse_json_path
from yarnmill.errors import ConfigurationError
from yarnmill.records import Record, parse_yaml
from yarnmill.units import Seconds

InputDtype = Literal["int64", "float64", "string", "bag"]
Period = Literal["hour", "day", "week", "month", "quarter", "half", "year"]

_COLUMN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Cell = int | float | str
_TYPES: Final[dict[InputDtype, tuple[type, ...]]] = {
    "int64": (int,),
    "float64": (int, float),
    "string": (str,),
    "bag": (),
}


class Input(Record, frozen=True, kw_only=True):
    """A column from the request.

    Parameters
    ----------
    name
        Of the column.
    json_path
        Where its values stand in the body: one for all rows, or with ``[*]`` one a row.
    dtype
        What they are.
    default
        Stands in for what is null or not there.
    required
        Whether what is null or not there, and has no default, is an error; if not, it is missing. A bag of which there
        is nothing is empty in any case.
    """

    name: str
    json_path: str
    dtype: InputDtype
    default: Cell | None = None
    required: bool = True

    def __post_init__(self) -> None:
        """Refuse a path that is none, and a default of another type."""
        try:
            parse_json_path(self.json_path)
        except ConfigurationError as problem:  # as msgspec takes it, which adds the key path
            raise ValueError(f"{problem.what}, expected {problem.expected}") from None
        if self.default is not None and not isinstance(self.default, _TYPES[self.dtype]):
            raise ValueError(f"default {self.default!r} is no {self.dtype}")
        if not self.required and self.default is None and self.dtype == "int64":
            raise ValueError("int64 has no value for what is missing: give it a default, or make it float64")


class LookedUp(Record, frozen=True, kw_only=True):
    """A feature of a snapshot, and the column that it becomes: by its own name, unless ``column`` says another.

    ``default`` stands in where nothing is known; unset: the default of the feature table.
    """

    name: str
    dtype: Literal["float64", "bag"] = "float64"
    default: float | None = None
    column: str | None = None

    def __post_init__(self) -> None:
        """Refuse a default where there can be none."""
        if self.dtype == "bag" and self.default is not None:
            raise ValueError(f"{self.name}: a bag has no default: one of which nothing is known is empty")

    @property
    def target(self) -> str:
        """Name of the column."""
        return self.column or self.name


class Lookup(Record, frozen=True, kw_only=True):
    """Features of entities, out of the snapshot of a feature table that is deployed at the moment.

    Parameters
    ----------
    table
        The feature table, ``namespace.table``.
    features
        Which of its features: names, or more of each.
    entities
        The column that has each of the table's entity keys.
    max_age
        Largest age that the snapshot may have, counted from the end of its day; unset: any.
    when_stale
        What happens if it is older: ``refuse`` the request, or take every feature's ``default``.
    """

    table: str
    features: tuple[str | LookedUp, ...]
    entities: dict[str, str]
    max_age: Seconds | None = None
    when_stale: Literal["refuse", "default"] = "refuse"

    def __post_init__(self) -> None:
        """Refuse a lookup of nothing."""
        if not self.features:
            raise ValueError("features: none, expected some of the table's")
        if not self.entities:
            raise ValueError("entities: none, expected such as {user_id: user_id}, key of the table to column")

    @property
    def wanted(self) -> tuple[LookedUp, ...]:
        """The features in full."""
        return tuple(LookedUp(name=one) if isinstance(one, str) else one for one in self.features)


class OrdinalEncoder(Record, frozen=True, kw_only=True):
    """Numbers for texts or integers; ``default`` for others, unset: they are missing."""

    mapping: dict[str | int, int | float]
    default: int | float | None = None


class OneHotEncoder(Record, frozen=True, kw_only=True):
    """A vector with 1 at the place of the value, 0 elsewhere; all 0 for another value."""

    values: tuple[str | int, ...]

    def __post_init__(self) -> None:
        """Refuse values that cannot be told apart."""
        if not self.values or len(set(self.values)) < len(self.values):
            raise ValueError("values: expected one or more, each once")


class CyclicalEncoder(Record, frozen=True, kw_only=True):
    """The point on a circle, as columns ``<column>_x`` (cosine) and ``<column>_y`` (sine).

    Either a ``period`` of the calendar (UTC), over seconds since 1970, a week from its Monday; or a range from ``min``
    to ``max``, which are the same point.
    """

    period: Period | None = None
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no cycle."""
        if (self.period is None) == (self.min is None or self.max is None):
            raise ValueError("expected either period, or min and max")
        if self.min is not None and self.max is not None and not self.min < self.max:
            raise ValueError(f"min {self.min:g} is not below max {self.max:g}")


class StandardScaler(Record, frozen=True, kw_only=True):
    """``(x - mean) / std``."""

    mean: float
    std: Annotated[float, msgspec.Meta(gt=0)]


class MinMaxScaler(Record, frozen=True, kw_only=True):
    """``(x - min) / (max - min)``."""

    min: float
    max: float

    def __post_init__(self) -> None:
        """Refuse what would divide by nothing."""
        if not self.min < self.max:
            raise ValueError(f"min {self.min:g} is not below max {self.max:g}")


OPERATIONS: Final = (
    *("expression", "ordinal_encoder", "one_hot_encoder", "cyclical_encoder"),
    *("standard_scaler", "min_max_scaler"),
)


class Transformation(Record, frozen=True, kw_only=True):
    """One step: ``column`` is what it makes, or makes anew, by one of the operations below.

    All but an expression work on the column that ``from`` names; unset: the same one.
    """

    column: str
    source: str | None = msgspec.field(name="from", default=None)
    expression: str | None = None
    ordinal_encoder: OrdinalEncoder | None = None
    one_hot_encoder: OneHotEncoder | None = None
    cyclical_encoder: CyclicalEncoder | None = None
    standard_scaler: StandardScaler | None = None
    min_max_scaler: MinMaxScaler | None = None

    def __post_init__(self) -> None:
        """Refuse no operation, and more than one."""
        found = [name for name in OPERATIONS if getattr(self, name) is not None]
        if len(found) != 1:
            raise ValueError(f"{' and '.join(found) or 'no operation'}, expected one of {', '.join(OPERATIONS)}")
        if self.expression is not None and self.source is not None:
            raise ValueError("from: an expression names its columns itself")


class TransformerDefinition(Record, frozen=True, kw_only=True):
    """The content of ``transformer.yaml``.

    ``outputs`` says for each input of the model which column it is, or of which columns a vector is put together;
    unset: the columns of the inputs' own names.
    """

    inputs: tuple[Input, ...]
    lookups: tuple[Lookup, ...] = ()
    transformations: tuple[Transformation, ...] = ()
    outputs: dict[str, str | tuple[str, ...]] | None = None
    schema_version: Literal[1] = 1

    def __post_init__(self) -> None:
        """Refuse a request without inputs, and names that no expression could say."""
        if not self.inputs:
            raise ValueError("inputs: none, expected such as {name: user_id, json_path: $.user_id, dtype: int64}")
        named = [one.name for one in self.inputs]
        if len(set(named)) < len(named):
            raise ValueError(f"inputs: a name stands twice in {', '.join(named)}")
        targets = (one.target for lookup in self.lookups for one in lookup.wanted)
        for name in (*named, *targets, *(one.column for one in self.transformations)):
            if not _COLUMN.fullmatch(name):
                raise ValueError(f"{name!r} cannot name a column: letters, digits and _, no digit first")


def parse_transformer(text: str, *, source: str) -> TransformerDefinition:
    """Return the definition in a YAML document; ConfigurationError names the key path."""
    return parse_yaml(text, TransformerDefinition, source=source)
