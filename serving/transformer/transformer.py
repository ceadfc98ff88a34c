"""A transformer at work: from a request's document to the columns of a model, all rows at once."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import numpy as np

from serving.columns import CellError, column_decoder
from serving.decoding import SignatureDecoder
from serving.dialect import FeatureUse
from serving.refusals import BadRequestError
from serving.transformer.definition import Input, Transformation, TransformerDefinition
from serving.transformer.encoders import encoded
from serving.transformer.expressions import compile_expression
from serving.transformer.jsonpath import parse_json_path
from serving.transformer.kinds import BAG, INTEGER, NUMBER, TEXT, Columns, Computed, Kind, Values
from serving.transformer.lookups import Snapshot, Snapshots, TableLookup
from serving.transformer.outputs import Output, signature_of
from yarnmill.bundle.manifest import TRANSFORMER_NAME, Field, Signature
from yarnmill.errors import ConfigurationError
from yarnmill.flavours.features import as_objects
from yarnmill.flavours.predictor import Column

_KINDS: Final = {"int64": INTEGER, "float64": NUMBER, "string": TEXT, "bag": BAG}

Watch = Callable[[str, str, Columns], None]
"""Told of each step: of which part of the definition it is, its name, and the columns that it made."""


class Transformed(NamedTuple):
    """What a model is to be asked, how many rows that is, and the lookups of features."""

    columns: dict[str, Column]
    rows: int
    uses: tuple[FeatureUse, ...]


class Transformer:
    """A compiled transformer. Thread-safe: what it makes belongs to the call.

    Parameters
    ----------
    definition
        What it does.
    signature
        What the model takes; None: no model, its columns are shown as they are.
    snapshots
        Gives the snapshot of a table.
    clock
        Gives seconds since 1970.
    source
        The file that the definition stands in: named in errors.

    Raises
    ------
    ConfigurationError
        If a step names a column that is not there, or cannot work on what it is: the key path is named.
    """

    def __init__(
        self,
        definition: TransformerDefinition,
        signature: Signature | None,
        snapshots: Snapshots,
        clock: Callable[[], float] = time.time,
        *,
        source: str = TRANSFORMER_NAME,
    ) -> None:
        self._snapshots = snapshots
        self._clock = clock
        self._inputs = [_CompiledInput(one) for one in definition.inputs]
        kinds: dict[str, Kind] = {one.name: one.kind for one in self._inputs}
        self._lookups: list[TableLookup] = []
        for place, lookup in enumerate(definition.lookups):
            with _at(f"{source}: lookups[{place}]"):
                self._lookups.append(TableLookup(lookup, kinds))
            kinds.update(self._lookups[-1].kinds)
        self._steps: list[tuple[str, tuple[tuple[str, Computed], ...]]] = []
        for place, step in enumerate(definition.transformations):
            with _at(f"{source}: transformations[{place}]"):
                made = list(_compiled(step, kinds))
            kinds.update({name: kind for name, kind, _ in made})
            self._steps.append((step.column, tuple((name, compute) for name, _, compute in made)))
        self._outputs, self._rest = _compiled_outputs(definition, signature, kinds, source)

    @property
    def tables(self) -> tuple[str, ...]:
        """The feature tables that it looks into."""
        return tuple(dict.fromkeys(one.table for one in self._lookups))

    def __call__(self, document: dict[str, Any], watch: Watch | None = None) -> Transformed:
        """Return what the model is to be asked for a request.

        Parameters
        ----------
        document
            The request's body.
        watch
            Is told of each step.

        Raises
        ------
        BadRequestError
            Naming the place in the body.
        ModelUnavailableError
            If a snapshot is not there, or too old.
        """
        with np.errstate(all="ignore"):  # what is not finite in the end is refused, by its name
            return self._transformed(document, watch)

    def _transformed(self, document: dict[str, Any], watch: Watch | None) -> Transformed:
        columns, rows = self._read(document)
        if watch is not None:
            watch("inputs", "", dict(columns))
        used: dict[str, Snapshot] = {}
        uses: list[FeatureUse] = []
        now_s = self._clock()
        for lookup in self._lookups:
            # One snapshot for the whole request, whatever is deployed meanwhile.
            snapshot = used.get(lookup.table) or used.setdefault(lookup.table, self._snapshots(lookup.table))
            uses.append(lookup.look_up(columns, snapshot, now_s))
            if watch is not None:
                watch("lookups", snapshot.source, {name: columns[name] for name, _ in lookup.kinds})
        for column, made in self._steps:
            columns.update([(name, compute(columns)) for name, compute in made])
            if watch is not None:
                watch("transformations", column, {name: columns[name] for name, _ in made})
        asked = {one.field.name: one.column(columns, rows) for one in self._outputs}
        if self._rest is not None:
            asked = self._rest.filled(asked, rows)
        return Transformed(asked, rows, tuple(uses))

    def _read(self, document: dict[str, Any]) -> tuple[Columns, int]:
        columns: Columns = {}
        first: _CompiledInput | None = None
        rows = 1
        for one in self._inputs:
            values = one.read(document)
            if one.is_by_row:
                if first is None:
                    first, rows = one, len(values)
                elif len(values) != rows:
                    raise BadRequestError(
                        f"{one.path.text}: has {len(values)} values", expected=f"{rows}, as {first.path.text} has"
                    )
            columns[one.name] = values
        return columns, rows


def _compiled_outputs(
    definition: TransformerDefinition, signature: Signature | None, kinds: dict[str, Kind], source: str
) -> tuple[list[Output], SignatureDecoder | None]:
    """Return the model's inputs that are made, and what fills the optional others, if there are any."""
    wanted = signature_of(kinds) if signature is None else signature
    fields = {field.name: field for field in wanted.inputs}
    declared = definition.outputs
    if declared is None:
        declared = {field.name: field.name for field in wanted.inputs if field.required or field.name in kinds}
    elif signature is None:
        fields = {name: _field_of(name, sources, kinds) for name, sources in declared.items()}
    outputs = []
    for name, sources in declared.items():
        with _at(f"{source}: outputs.{name}"):
            if name not in fields:
                raise ConfigurationError("is no input of the model", expected=f"one of {', '.join(fields)}")
            outputs.append(Output(fields[name], _listed(sources), kinds, is_shown=signature is None))
    lacking = [field.name for field in fields.values() if field.required and field.name not in declared]
    if lacking:
        raise ConfigurationError(
            f"{source}: outputs.{lacking[0]}: missing", expected="a column for each input of the model"
        )
    optional = any(name not in declared for name in fields)
    return outputs, SignatureDecoder(wanted) if optional else None


class _CompiledInput:
    """One input: where it stands, and what its values become."""

    def __init__(self, declared: Input) -> None:
        self.name = declared.name
        self.path = parse_json_path(declared.json_path)
        self.is_by_row = self.path.is_by_row
        self.kind = _KINDS[declared.dtype]
        self._dtype = declared.dtype
        self._default: Any = {} if declared.dtype == "bag" else declared.default
        self._may_be_missing = not declared.required and self._default is None
        self._getter = self.path.getter()
        may_be_nan = self._may_be_missing and declared.dtype == "float64"
        self._decode = column_decoder(Field(name=declared.name, dtype=declared.dtype, missing=may_be_nan))

    def read(self, document: dict[str, Any]) -> Values:
        """Return the values in a document."""
        values = self._getter(document)
        missing: list[int] = []
        if None in values:
            missing = [row for row, value in enumerate(values) if value is None]
            if self._default is None and not self._may_be_missing:
                raise BadRequestError(f"{self.path.place(missing[0])}: missing", expected=self._dtype)
            stand_in = "" if self._may_be_missing and self._dtype == "string" else self._default
            values = [stand_in if value is None else value for value in values]
        try:
            decoded = self._decode(values)
        except CellError as problem:
            place = f"{self.path.place(problem.row)}{problem.place}"
            raise BadRequestError(f"{place}: {problem.what}", expected=problem.expected) from None
        if not isinstance(decoded, np.ndarray):
            return as_objects(decoded)
        if missing and self._may_be_missing and self._dtype == "string":
            decoded[missing] = np.array(None, dtype=object)
        return decoded


def _compiled(step: Transformation, kinds: dict[str, Kind]) -> Iterator[tuple[str, Kind, Computed]]:
    """Yield the columns that a step makes."""
    if step.expression is not None:
        found = compile_expression(step.expression, kinds)
        yield step.column, found.kind, found.compute
        return
    source = step.source or step.column
    if source not in kinds:
        raise ConfigurationError(
            f"column {source!r} is not there at this step", expected=f"one of {', '.join(sorted(kinds))}"
        )
    for one in encoded(step, kinds[source]):
        yield step.column + one.suffix, one.kind, _applied(one.compute, source)


def _applied(act: Callable[[Values], Values], source: str) -> Computed:
    return lambda columns: act(columns[source])


def _listed(sources: str | tuple[str, ...]) -> tuple[str, ...]:
    return (sources,) if isinstance(sources, str) else sources


def _field_of(name: str, sources: str | tuple[str, ...], kinds: dict[str, Kind]) -> Field:
    """Return what an output would be as a model's input, for a simulation without a model."""
    found = [kinds.get(one, NUMBER) for one in _listed(sources)]
    if isinstance(sources, str):
        (field,) = signature_of({name: found[0]}).inputs
        return field
    return Field(name=name, dtype="float64", shape=(sum(kind.width for kind in found),), missing=True)


@contextmanager
def _at(path: str) -> Iterator[None]:
    """Put the key path before an error."""
    try:
        yield
    except ConfigurationError as problem:
        raise ConfigurationError(f"{path}: {problem.what}", expected=problem.expected, mend=problem.mend) from None
