"""Ask a model the rows of its example, and measure how far apart two answers are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from yarnmill.bundle.example import EXAMPLE_NAME, Cells, Example, read_example
from yarnmill.bundle.manifest import Field, Signature
from yarnmill.errors import BadDataError
from yarnmill.flavours.predictor import Column, Predictor

TOLERANCE: Final = {"float32": 1e-4, "float64": 1e-7}
"""Largest difference that is still the same answer, by an output's type; text and integers must be equal."""

FORMS_TOLERANCE: Final = 1e-4
"""Likewise between a model and its conversion, which is of single precision."""

Outputs = Mapping[str, npt.NDArray[np.generic]]


def example_columns(example: Example, signature: Signature, *, source: str) -> dict[str, Column]:
    """Return the inputs of an example as a predictor takes them.

    Raises
    ------
    BadDataError
        If a value is none of the type and shape that the signature says.
    """
    fields = {field.name: field for field in signature.inputs}
    return {name: _column(fields[name], cells, f"{source}: inputs.{name}") for name, cells in example.inputs.items()}


def example_outputs(example: Example, signature: Signature, *, source: str) -> dict[str, npt.NDArray[np.generic]]:
    """Return the outputs of an example as arrays; errors as :func:`example_columns`."""
    fields = {field.name: field for field in signature.outputs}
    return {name: _array(fields[name], cells, f"{source}: outputs.{name}") for name, cells in example.outputs.items()}


def made_example(columns: Mapping[str, Column], outputs: Outputs) -> Example:
    """Return some rows and the answers to them as an example; BadDataError if an answer is infinite."""
    for name, values in outputs.items():
        if values.dtype.kind == "f" and np.isinf(values.astype(np.float64)).any():
            raise BadDataError(f"the model answers {name!r} of the example with an infinite number")
    return Example(
        inputs={name: _cells(column) for name, column in columns.items()},
        outputs={name: _cells(values) for name, values in outputs.items()},
    )


def check_example(predictor: Predictor, folder: Path) -> float | None:
    """Ask an opened model the example of its bundle's folder, and return the largest difference to what it once said.

    Returns
    -------
    float or None
        As :func:`largest_difference` has it; None if the bundle is of a time when bundles had no example.

    Raises
    ------
    BadDataError
        If an answer is another one.
    """
    signature = predictor.signature
    example = read_example(folder, signature)
    if example is None:
        return None
    source = str(folder / EXAMPLE_NAME)
    answered = predictor.predict(example_columns(example, signature, source=source))
    expected = example_outputs(example, signature, source=source)
    return compared(answered, expected, signature, what=f"{folder}: the model answers its example otherwise")


def compared(
    found: Outputs, expected: Outputs, signature: Signature, *, what: str, tolerance: float | None = None
) -> float:
    """Return the largest difference of all outputs; BadDataError, beginning with ``what``, if one is not tolerable."""
    worst = 0.0
    for field in signature.outputs:
        difference = largest_difference(found[field.name], expected[field.name])
        limit = TOLERANCE.get(field.dtype, 0.0)
        if limit and tolerance is not None:
            limit = tolerance
        if not difference <= limit:
            raise BadDataError(
                f"{what}: output {field.name!r} is off by {difference:.3g}",
                expected=f"{limit:g} at most for {field.dtype}, in the same shape {list(expected[field.name].shape)}",
            )
        worst = max(worst, difference)
    return worst


def largest_difference(found: npt.NDArray[np.generic], expected: npt.NDArray[np.generic]) -> float:
    """Return max |found - expected| / max(1, |expected|); 1 for another text, infinity for another shape or NaN."""
    if found.shape != expected.shape:
        return float("inf")
    if expected.dtype.kind == "O":  # bags, whose terms have no order
        return float((found != expected).any())
    if expected.dtype.kind not in "fiub":
        return float((found.astype(np.str_) != expected.astype(np.str_)).any())
    one, other = found.astype(np.float64), expected.astype(np.float64)
    if (np.isnan(one) != np.isnan(other)).any():
        return float("inf")
    scaled = np.abs(one - other) / np.maximum(1.0, np.abs(other))
    return float(np.nanmax(scaled, initial=0.0))


def _column(field: Field, cells: Cells, where: str) -> Column:
    if field.dtype != "bag":
        return _array(field, cells, where)
    if not all(isinstance(cell, dict) for cell in cells):
        raise BadDataError(f"{where}: not a mapping in every row", expected="such as {'Drama': 1.0}")
    return list(cells)


def _array(field: Field, cells: Cells, where: str) -> npt.NDArray[np.generic]:
    if field.dtype == "bag":  # as an output; the bags of an input are mappings in a list
        return np.array(cells, dtype=object)
    dtype: Any = np.str_ if field.dtype == "string" else field.dtype
    try:
        array = np.array(cells, dtype=None if field.dtype == "string" else dtype)
    except (TypeError, ValueError, OverflowError):
        array = np.zeros(0)
    is_text = array.dtype.kind == "U"
    if array.shape != (len(cells), *field.shape) or is_text != (field.dtype == "string"):
        raise BadDataError(f"{where}: not {field.dtype} of shape {list(field.shape)} in every row")
    return array


def _cells(column: Column) -> Cells:
    return tuple(column.tolist() if isinstance(column, np.ndarray) else map(dict, column))
