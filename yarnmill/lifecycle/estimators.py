"""A model that stands in memory, as a notebook has it, written as the output of a training run that can be published.

Models of scikit-learn, XGBoost and LightGBM, in their own formats. Signature and example come from some rows of their
input, and the model's answers to these are part of the example: what is published has to answer the same.
"""

import datetime as dt
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from yarnmill.bundle.example import EXAMPLE_NAME, MOST_ROWS
from yarnmill.bundle.manifest import Dtype, Field, Flavour, Signature
from yarnmill.errors import BadDataError, ConfigurationError
from yarnmill.flavours.reference import SAMPLE_NAME
from yarnmill.flavours.tabular import load_library
from yarnmill.lifecycle.handmade import write_handmade_report
from yarnmill.records import canonical_json, fingerprint

_LONGEST_VALUE: Final = 500
_FEATURES: Final = "features"

Rows = npt.NDArray[np.generic] | pd.DataFrame
Answers = dict[str, npt.NDArray[np.generic]]


def write_estimator(
    folder: Path, estimator: object, example: Rows, metrics: Mapping[str, float], reference: Rows | None = None
) -> Flavour:
    """Write a fitted model into an empty folder as a training run would, and return its flavour.

    Parameters
    ----------
    folder
        Where to.
    estimator
        A fitted estimator or pipeline of scikit-learn, or a fitted model or booster of XGBoost or LightGBM.
    example
        Rows that it can answer, ``(rows, features)``: the first of them, 64 at most, stay with the model. The columns
        of a DataFrame become inputs of their names, a matrix becomes one input ``features``. Where a number is NaN
        it may be missing.
    metrics
        Of the run's report, whose parameters are the model's own.
    reference
        Rows of the training data, as the example has them: what requests are compared with later. Of them and of the
        model's answers stay counts, no rows.

    Raises
    ------
    ConfigurationError
        If this is no such model.
    BadDataError
        If the example is no table of rows, or the reference not one like it.
    """
    _check_table("example", example)
    if reference is not None:
        _check_table("reference", reference)
    started, rows = dt.datetime.now(dt.UTC), example[:MOST_ROWS]
    flavour, name, answers = _written(folder, estimator, rows)
    inputs = _inputs(rows) if reference is None else _inputs_of_both(_inputs(rows), _inputs(reference))
    signature = Signature(inputs=inputs, outputs=tuple(_field(each, values) for each, values in answers.items()))
    (folder / "signature.json").write_bytes(canonical_json(signature))
    cells = {each.name: _cells(rows, each) for each in signature.inputs}
    said = {"inputs": cells, "outputs": {each: values.tolist() for each, values in answers.items()}}
    (folder / EXAMPLE_NAME).write_bytes(canonical_json(said))
    own: dict[str, Any] = getattr(estimator, "get_params", dict)()
    parts: list[object] = [flavour, _digest(estimator, folder / name), said]
    if reference is not None:
        pq.write_table(_table(reference, signature), folder / SAMPLE_NAME)
        parts.append(_digest_of_file(folder / SAMPLE_NAME))
    identity = fingerprint(parts)
    write_handmade_report(
        folder,
        what=f"{type(estimator).__name__} of",
        identity=identity,
        started=started,
        how="fitted",
        parameters={key: str(value)[:_LONGEST_VALUE] for key, value in own.items()},
        metrics=metrics,
    )
    return flavour


def _check_table(name: str, rows: Rows) -> None:
    if getattr(rows, "ndim", 0) != 2 or not len(rows):
        raise BadDataError(f"{name}: no table", expected="a DataFrame or a matrix (rows, features), of one row or more")


def _inputs_of_both(example: tuple[Field, ...], reference: tuple[Field, ...]) -> tuple[Field, ...]:
    """Return the inputs of the example, which may be missing where one of both has gaps."""
    known, others = ([(one.name, one.dtype, list(one.shape)) for one in fields] for fields in (example, reference))
    if known != others:
        raise BadDataError(f"reference: its columns are {others}", expected=f"{known}, as the example has them")
    return tuple(
        msgspec.structs.replace(one, missing=one.missing or other.missing)
        for one, other in zip(example, reference, strict=True)
    )


def _table(rows: Rows, signature: Signature) -> pa.Table:
    """Return rows as a training run would leave them."""
    columns = {}
    for field in signature.inputs:
        values = np.asarray(rows[field.name] if isinstance(rows, pd.DataFrame) else rows)
        if field.dtype == "string":
            columns[field.name] = pa.array(values.tolist(), pa.string())
            continue
        flat = pa.array(values.astype(field.dtype).ravel())
        columns[field.name] = pa.FixedSizeListArray.from_arrays(flat, field.shape[0]) if field.shape else flat
    return pa.table(columns)


def _written(folder: Path, estimator: Any, rows: Rows) -> tuple[Flavour, str, Answers]:  # noqa: ANN401  # any library's
    """Write the model's file; return flavour, name, and what the model answers, by the outputs' names."""
    match type(estimator).__module__.partition(".")[0]:
        case "xgboost":
            booster = estimator.get_booster() if hasattr(estimator, "get_booster") else estimator
            booster.save_model(folder / "model.ubj")
            values = booster.inplace_predict(np.asarray(rows, np.float32), validate_features=False)
            return "xgboost", "model.ubj", {_name_of_scores(estimator): np.asarray(values)}
        case "lightgbm":
            booster = getattr(estimator, "booster_", estimator)
            booster.save_model(str(folder / "model.txt"))
            values = booster.predict(np.asarray(rows, np.float64), num_threads=1)
            return "lightgbm", "model.txt", {_name_of_scores(estimator): np.asarray(values)}
    if not (hasattr(estimator, "predict") and hasattr(estimator, "get_params")):
        raise ConfigurationError(
            f"model: a {type(estimator).__module__}.{type(estimator).__name__}",
            expected="a fitted model of scikit-learn, XGBoost or LightGBM, or the URL of a training run's output",
        )
    load_library("skops.io", "sklearn").dump(estimator, folder / "model.skops")
    return "sklearn", "model.skops", _answers(estimator, rows)


def _digest(estimator: object, file: Path) -> str:
    """Return what tells a fitted model from any other: skops' files hold the time at which they were written."""
    if file.name == "model.skops":
        return str(load_library("joblib", "sklearn").hash(estimator))
    return _digest_of_file(file)


def _digest_of_file(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _answers(estimator: Any, rows: Rows) -> Answers:  # noqa: ANN401  # an estimator
    if not hasattr(estimator, "classes_"):
        return {"prediction": np.asarray(estimator.predict(rows))}
    if not hasattr(estimator, "predict_proba"):
        return {"label": np.asarray(estimator.predict(rows))}
    probabilities = np.asarray(estimator.predict_proba(rows))
    if probabilities.shape[1] == 2:
        return {"probability": probabilities[:, 1]}
    return {"probabilities": probabilities}


def _name_of_scores(estimator: object) -> str:
    """Return what the output of boosted trees is called."""
    classes = getattr(estimator, "n_classes_", None)
    if classes is None:
        return "prediction"
    return "probability" if classes == 2 else "probabilities"


def _inputs(rows: Rows) -> tuple[Field, ...]:
    if isinstance(rows, pd.DataFrame):
        return tuple(_field(str(name), rows[name].to_numpy(), inputs=True) for name in rows.columns)
    return (_field(_FEATURES, np.asarray(rows), inputs=True),)


def _field(name: str, values: npt.NDArray[Any], *, inputs: bool = False) -> Field:
    missing = inputs and values.dtype.kind == "f" and bool(np.isnan(values).any())
    return Field(name=name, dtype=_dtype(name, values), shape=values.shape[1:], missing=missing)


def _dtype(name: str, values: npt.NDArray[Any]) -> Dtype:
    match values.dtype.kind:
        case "i" | "u" | "b":
            return "int32" if values.dtype == np.int32 else "int64"
        case "f":
            return "float32" if values.dtype == np.float32 else "float64"
        case "O" | "U" | "T" if all(isinstance(each, str) for each in values.ravel()):
            return "string"
    raise BadDataError(f"{name}: values of {values.dtype}", expected="numbers or texts")


def _cells(rows: Rows, field: Field) -> list[Any]:
    values = rows[field.name] if isinstance(rows, pd.DataFrame) else rows
    cells: list[Any] = np.asarray(values, dtype=None if field.dtype == "string" else field.dtype).tolist()
    return cells
