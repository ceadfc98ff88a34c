"""What models over tables share: named columns in, one matrix for the library, its answer in the signature's form."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np
import numpy.typing as npt

from yarnmill.bundle.manifest import Field, Flavour, Signature
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError
from yarnmill.flavours.predictor import Column

MODEL_FILES: Final[Mapping[Flavour, tuple[str, ...]]] = {
    "sklearn": ("model.skops",),
    "xgboost": ("model.ubj", "model.json"),
    "lightgbm": ("model.txt",),
}
"""By flavour, the file that holds the model: the first that is there."""

Array = npt.NDArray[np.generic]


def load_library(name: str, extra: str) -> ModuleType:
    """Return a library that need not be installed; ConfigurationError, with what installs it, if it is not."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigurationError(
            f"{name.partition('.')[0]} is needed for this and is not installed here",
            mend=f"pip install 'yarnmill[{extra}]'",
        ) from None


def model_file(folder: Path, flavour: Flavour) -> Path:
    """Return the file of a folder that holds a model; NotFoundError if there is none."""
    names = MODEL_FILES[flavour]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise NotFoundError(f"{folder}: no {' or '.join(names)}", expected=f"a model of flavour {flavour}")


class TabularPredictor:
    """What every opened model over tables has: its signature, and the library's own model."""

    def __init__(self, signature: Signature, model: object) -> None:
        self._signature = signature
        self._library_model = model

    @property
    def signature(self) -> Signature:
        """Inputs and outputs, in order."""
        return self._signature

    @property
    def model(self) -> object:
        """The estimator or booster itself."""
        return self._library_model


class MatrixInputs:
    """Puts the inputs of a signature side by side, in the order in which a model has its features.

    Parameters
    ----------
    signature
        Numbers and vectors; an optional input that is absent takes its default, or NaN.
    features
        Names of the model's features, empty where it knows none; then the signature's order is the model's.
    count
        How many features the model has.
    source
        The model's file, named in errors.

    Raises
    ------
    BadDataError
        If the inputs are not the model's features.
    """

    def __init__(self, signature: Signature, features: Sequence[str], count: int, source: Path) -> None:
        for field in signature.inputs:
            if field.dtype in ("string", "bag") or len(field.shape) > 1:
                raise BadDataError(
                    f"{source}: input {field.name!r} is {field.dtype}{list(field.shape)}",
                    expected="numbers and vectors of numbers for a model over a matrix",
                )
        self._fields = ordered(signature.inputs, features, source)
        width = sum(int(np.prod(field.shape)) for field in self._fields)
        if width != count:
            raise BadDataError(
                f"{source}: the signature's inputs are {width} numbers a row", expected=f"{count}, as the model has"
            )

    def matrix(self, columns: Mapping[str, Column], dtype: type[np.float32 | np.float64]) -> npt.NDArray[np.float64]:
        """Return the inputs of a batch, shape ``(rows, features)``."""
        if len(self._fields) == 1 and self._fields[0].name in columns:
            only: npt.NDArray[np.float64] = np.asarray(columns[self._fields[0].name], dtype)
            return only.reshape(len(only), -1)
        rows = len(next(iter(columns.values())))
        parts = [np.asarray(filled(field, columns, rows)).reshape(rows, -1) for field in self._fields]
        return np.concatenate(parts, axis=1, dtype=dtype, casting="unsafe")


def ordered(fields: Sequence[Field], features: Sequence[str], source: Path) -> tuple[Field, ...]:
    """Return the inputs in the model's order; BadDataError if it names its features and they are others."""
    if not features:
        return tuple(fields)
    named = {field.name: field for field in fields}
    if named.keys() != set(features) or any(field.shape for field in fields):
        raise BadDataError(
            f"{source}: the model's features are {', '.join(features)}",
            expected=f"{', '.join(named)}, one number or text each, as the signature says",
        )
    return tuple(named[name] for name in features)


def filled(field: Field, columns: Mapping[str, Column], rows: int) -> Column:
    """Return the column of an input, made of its default where the request has none."""
    if field.name in columns:
        return columns[field.name]
    return np.full((rows, *field.shape), np.nan if field.default is None else field.default)


def shaped(values: Array, field: Field, source: Path) -> Array:
    """Return a model's answer as an output; BadDataError if it has another shape."""
    rows = len(values)
    shape = (rows, *field.shape)
    if values.shape not in (shape, (*shape, 1)):
        raise BadDataError(
            f"{source}: the model gives {list(values.shape[1:])} a row",
            expected=f"{list(field.shape)} for output {field.name!r}, as the signature says",
        )
    if values.dtype.kind == "U" and field.dtype != "string":
        raise BadDataError(
            f"{source}: the model gives texts",
            expected=f"{field.dtype} for output {field.name!r}, as the signature says",
        )
    found = values.reshape(shape)
    return found.astype(np.str_) if field.dtype == "string" else found.astype(field.dtype, copy=False)


def only_output(signature: Signature, source: Path) -> Field:
    """Return the one output of a signature; BadDataError if it has more."""
    if len(signature.outputs) != 1:
        raise BadDataError(f"{source}: {len(signature.outputs)} outputs", expected="one: a booster gives no more")
    return signature.outputs[0]
