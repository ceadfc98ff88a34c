"""Models of scikit-learn, kept as skops files: no pickle, and no type in them that is not allowed here.

What an output is follows from its name: ``label`` or ``prediction`` is what ``predict`` gives, ``probability`` the
probability of the second of two classes, ``probabilities`` that of every class, ``score`` the decision function.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from yarnmill.bundle.manifest import Field, Signature
from yarnmill.errors import BadDataError
from yarnmill.flavours.predictor import Column
from yarnmill.flavours.tabular import (
    Array,
    MatrixInputs,
    TabularPredictor,
    filled,
    load_library,
    model_file,
    ordered,
    shaped,
)

_METHODS: Final[Mapping[str, str]] = {
    "label": "predict",
    "prediction": "predict",
    "probability": "predict_proba",
    "probabilities": "predict_proba",
    "score": "decision_function",
}
_ALLOWED: Final = ("numpy", "scipy", "sklearn")
"""Packages whose types may be in a file, beside those that skops trusts; only types: a function could be any act."""


class SklearnPredictor(TabularPredictor):
    """An estimator or a pipeline that agrees with its signature.

    A model that was fitted with named columns gets them by name, as a table; any other gets one matrix.

    Parameters
    ----------
    folder
        Holds ``model.skops``.
    signature
        What the model takes and gives.

    Raises
    ------
    NotFoundError
        If there is no such file.
    BadDataError
        If it holds a type that is not allowed, cannot be read, or takes or gives something else.
    ConfigurationError
        If scikit-learn or skops is not installed.
    """

    def __init__(self, folder: Path, signature: Signature) -> None:
        self._path = model_file(folder, "sklearn")
        self._model = _load(self._path)
        super().__init__(signature, self._model)
        self._threads: Any = load_library("threadpoolctl", "sklearn").ThreadpoolController()
        _run_alone(self._model)
        self._table = self._inputs(signature)
        self._methods = {name: self._method(name) for name in dict.fromkeys(map(_method_of, signature.outputs))}

    def predict(self, columns: Mapping[str, Column]) -> dict[str, Array]:
        """Return every output for a batch; see :class:`yarnmill.flavours.predictor.Predictor`."""
        table = self._table(columns)
        # OpenMP's limit is the calling thread's own: the tier's parallelism is its requests.
        with self._threads.limit(limits=1, user_api="openmp"):
            answers = {name: np.asarray(method(table)) for name, method in self._methods.items()}
        return {field.name: self._output(field, answers[_method_of(field)]) for field in self._signature.outputs}

    def _inputs(self, signature: Signature) -> Callable[[Mapping[str, Column]], object]:
        features = [str(name) for name in getattr(self._model, "feature_names_in_", ())]
        if not features:
            inputs = MatrixInputs(signature, (), int(self._model.n_features_in_), self._path)
            return lambda columns: inputs.matrix(columns, np.float64)
        fields = ordered(signature.inputs, features, self._path)

        def table(columns: Mapping[str, Column]) -> pd.DataFrame:
            rows = len(next(iter(columns.values())))
            return pd.DataFrame({field.name: _cells(field, columns, rows) for field in fields})

        return table

    def _method(self, name: str) -> Callable[[object], object]:
        method: Callable[[object], object] | None = getattr(self._model, name, None)
        if method is None:
            raise BadDataError(
                f"{self._path}: a {type(self._model).__name__} has no {name}",
                expected="the outputs that it can give: label or prediction for every model",
            )
        return method

    def _output(self, field: Field, answer: Array) -> Array:
        if field.name != "probability":
            return shaped(answer, field, self._path)
        if answer.shape[1:] != (2,):
            raise BadDataError(
                f"{self._path}: output 'probability' of a model of {answer.shape[-1]} classes",
                expected="probabilities, one for each class",
            )
        return shaped(answer[:, 1], field, self._path)


def _load(path: Path) -> Any:  # noqa: ANN401  # any estimator
    skops = load_library("skops.io", "sklearn")
    with _said_as_bad_data(path):
        unknown = skops.get_untrusted_types(file=path)
    refused = [name for name in unknown if not _is_allowed(name)]
    if refused:
        raise BadDataError(
            f"{path}: holds {', '.join(refused)}",
            expected=f"types of {', '.join(_ALLOWED)} alone",
            mend="train with their estimators; a model with code of its own is of flavour python",
        )
    with _said_as_bad_data(path):
        return skops.load(path, trusted=unknown)


@contextmanager
def _said_as_bad_data(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as problem:  # noqa: BLE001  # whatever a damaged file makes of it
        raise BadDataError(f"{path}: skops cannot read it: {type(problem).__name__}: {problem}") from None


def _is_allowed(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    if module.partition(".")[0] not in _ALLOWED:
        return False
    try:
        return isinstance(getattr(importlib.import_module(module), attribute, None), type)
    except ImportError:
        return False


def _run_alone(model: Any) -> None:  # noqa: ANN401  # likewise
    """Keep a model from starting workers of its own."""
    if hasattr(model, "get_params"):
        own = [name for name in model.get_params(deep=True) if name.rpartition("__")[2] == "n_jobs"]
        model.set_params(**dict.fromkeys(own, 1))


def _method_of(field: Field) -> str:
    method = _METHODS.get(field.name)
    if method is None:
        raise BadDataError(
            f"output {field.name!r}: nothing that a model of scikit-learn gives",
            expected=f"one of {', '.join(_METHODS)}",
        )
    return method


def _cells(field: Field, columns: Mapping[str, Column], rows: int) -> object:
    column = filled(field, columns, rows)
    # Categories are compared as Python's text, whatever width NumPy gave it.
    return np.asarray(column).astype(object) if field.dtype == "string" else column
