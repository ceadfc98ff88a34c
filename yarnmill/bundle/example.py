"""The example of a bundle: some rows, and the outputs that the model gave for them.

It is the file ``example.json`` of the bundle, so the bundle's id covers it: whoever opens the model anywhere can
ask it the same and see whether it still answers the same. A training output brings one with inputs alone, or with
the outputs of the model's native form.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from yarnmill.bundle.manifest import Field, Signature
from yarnmill.errors import BadDataError
from yarnmill.records import Record, canonical_json, parse_json

EXAMPLE_NAME: Final = "example.json"
MOST_ROWS: Final = 64
_SUCH: Final = '{"inputs": {"age": [30, 41]}, "outputs": {"y": [0.1, 0.7]}}'
_FORM: Final = f"{EXAMPLE_NAME} with 1 to {MOST_ROWS} rows, such as {_SUCH}"

Cells = tuple[Any, ...]
"""One value a row: a number, a text, a list (of lists) of numbers, a mapping of terms to numbers; null is NaN."""


class Example(Record, frozen=True, kw_only=True):
    """The content of ``example.json``: one column an input, one an output, all with the same number of rows."""

    inputs: dict[str, Cells]
    outputs: dict[str, Cells] = {}
    schema_version: int = 1

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return max((len(cells) for cells in self.inputs.values()), default=0)


def parse_example(data: bytes, signature: Signature, *, source: str, most_rows: int | None = MOST_ROWS) -> Example:
    """Return an example that fits a signature; it has all outputs or none. ``most_rows`` None: any number of rows.

    Raises
    ------
    BadDataError
        If a required input, an output or a row is missing, or something is there that the signature lacks.
    """
    example = parse_json(data, Example, source=source)
    columns = {**example.inputs, **{f"outputs.{name}": cells for name, cells in example.outputs.items()}}
    for name, cells in columns.items():
        if not 1 <= len(cells) <= (most_rows or len(cells)) or len(cells) != example.rows:
            raise BadDataError(f"{source}: {name} has {len(cells)} rows", expected=_FORM)
    _check_names(example.inputs, signature.inputs, f"{source}: inputs")
    if example.outputs:
        _check_names(example.outputs, signature.outputs, f"{source}: outputs")
    return example


def read_example(folder: Path, signature: Signature) -> Example | None:
    """Return the example of a bundle's folder; None where there is none, as in bundles of schema version 1."""
    path = folder / EXAMPLE_NAME
    return parse_example(path.read_bytes(), signature, source=str(path)) if path.is_file() else None


def require_example(folder: Path, signature: Signature) -> Example:
    """Return the example of a folder that is to become a bundle; BadDataError if it has none with outputs."""
    example = read_example(folder, signature)
    if example is None or not example.outputs:
        raise BadDataError(
            f"{folder}: no example: {'no outputs in its' if example else 'no'} {EXAMPLE_NAME}",
            expected=f"{_FORM}; inputs alone do in the output of a training run",
            mend=f"write {EXAMPLE_NAME} beside the model, with some rows of its data",
        )
    return example


def write_example(folder: Path, example: Example) -> None:
    """Write the example of a folder that is to become a bundle."""
    (folder / EXAMPLE_NAME).write_bytes(canonical_json(example))


def _check_names(given: Mapping[str, Cells], fields: tuple[Field, ...], where: str) -> None:
    required = {field.name for field in fields if field.required}
    known = ", ".join(field.name for field in fields)
    if missing := sorted(required - given.keys()):
        raise BadDataError(f"{where}: no {', '.join(missing)}", expected=f"{known}, as the signature says")
    if unknown := sorted(given.keys() - {field.name for field in fields}):
        raise BadDataError(f"{where}: unknown {', '.join(unknown)}", expected=f"{known}, as the signature says")
