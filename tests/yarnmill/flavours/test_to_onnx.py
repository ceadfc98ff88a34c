"""Table models as ONNX: the converted graph has the signature's names and shapes, and gives the model's own answers."""

import sys
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import skops.io
import xgboost
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from yarnmill.bundle.example import Example
from yarnmill.bundle.manifest import Field, Flavour, Signature
from yarnmill.errors import BadDataError, ConfigurationError
from yarnmill.flavours.example import check_example
from yarnmill.flavours.onnx import OnnxPredictor
from yarnmill.flavours.open import open_model
from yarnmill.flavours.predictor import Column
from yarnmill.flavours.prepare import Prepared, prepare
from yarnmill.flavours.to_onnx import write_onnx
from yarnmill.records import canonical_json

RANDOM = np.random.default_rng(6)
MATRIX = RANDOM.normal(size=(300, 3)).astype(np.float32)
CLASSES = np.array(["low", "middle", "high"])[np.digitize(MATRIX[:, 0] + MATRIX[:, 1], [-0.5, 0.5])]
IS_POSITIVE = (MATRIX[:, 0] > 0).astype(int)
CITIES = np.array(["Rome", "Oslo", "Lima"])[RANDOM.integers(0, 3, 300)]
AGES = RANDOM.integers(18, 80, 300)
VECTOR = (Field(name="features", dtype="float32", shape=(3,)),)
PROBABILITY = Field(name="probability", dtype="float64")


class Case:
    """A trained model, how it is saved, its signature and rows."""

    def __init__(self, flavour: Flavour, model: Any, signature: Signature, columns: dict[str, Column]) -> None:
        self.flavour = flavour
        self.model = model
        self.signature = signature
        self.columns = columns

    def output(self, folder: Path) -> Path:
        folder.mkdir()
        if self.flavour == "sklearn":
            skops.io.dump(self.model, folder / "model.skops")
        else:
            self.model.save_model(folder / ("model.ubj" if self.flavour == "xgboost" else "model.txt"))
        (folder / "signature.json").write_bytes(canonical_json(self.signature))
        inputs = {name: tuple(np.asarray(column)[:8].tolist()) for name, column in self.columns.items()}
        (folder / "example.json").write_bytes(canonical_json(Example(inputs=inputs)))
        return folder


def over_matrix(flavour: Flavour, model: Any, *outputs: Field) -> Case:
    return Case(flavour, model, Signature(inputs=VECTOR, outputs=outputs), {"features": MATRIX})


def pipeline() -> Case:
    prepared = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
    )
    table = pd.DataFrame({"age": AGES, "city": CITIES})
    model = make_pipeline(prepared, LogisticRegression()).fit(table, (AGES > 50).astype(int))
    inputs = (Field(name="city", dtype="string"), Field(name="age", dtype="int64"))
    outputs = (PROBABILITY, Field(name="label", dtype="int64"))
    return Case("sklearn", model, Signature(inputs=inputs, outputs=outputs), {"city": CITIES, "age": AGES})


def boosted(objective: str, response: Any, **more: Any) -> Case:
    data = xgboost.DMatrix(MATRIX, response, feature_names=["a", "b", "c"])
    model = xgboost.train({"objective": objective, **more}, data, 10)
    inputs = tuple(Field(name=name, dtype="float32") for name in "cab")
    shape = (more["num_class"],) if more else ()
    outputs = (Field(name="answer", dtype="float32", shape=shape),)
    return Case(
        "xgboost",
        model,
        Signature(inputs=inputs, outputs=outputs),
        {name: MATRIX[:, at] for at, name in enumerate("abc")},
    )


def light(objective: str, response: Any, **more: Any) -> Case:
    model = lightgbm.train({"objective": objective, "verbosity": -1, **more}, lightgbm.Dataset(MATRIX, response), 10)
    shape = (more["num_class"],) if more else ()
    return over_matrix("lightgbm", model, Field(name="answer", dtype="float64", shape=shape))


CODES = np.unique(CLASSES, return_inverse=True)[1]
CASES = {
    "sklearn classes": lambda: over_matrix(
        "sklearn",
        RandomForestClassifier(10, random_state=1).fit(MATRIX, CLASSES),
        Field(name="label", dtype="string"),
        Field(name="probabilities", dtype="float32", shape=(3,)),
    ),
    "sklearn numbers": lambda: over_matrix(
        "sklearn",
        GradientBoostingRegressor(random_state=1).fit(MATRIX, MATRIX[:, 0] * 2),
        Field(name="prediction", dtype="float64"),
    ),
    "sklearn table": pipeline,
    "xgboost numbers": lambda: boosted("reg:squarederror", MATRIX[:, 0] * 2),
    "xgboost two classes": lambda: boosted("binary:logistic", IS_POSITIVE),
    "xgboost classes": lambda: boosted("multi:softprob", CODES, num_class=3),
    "lightgbm numbers": lambda: light("regression", MATRIX[:, 0] * 2),
    "lightgbm two classes": lambda: light("binary", IS_POSITIVE),
    "lightgbm classes": lambda: light("multiclass", CODES, num_class=3),
}


def prepared(case: Case, tmp_path: Path, *, as_onnx: bool) -> tuple[Path, Prepared]:
    folder = tmp_path / f"bundle-{as_onnx}"
    folder.mkdir()
    output = tmp_path / "output"
    return folder, prepare(
        case.flavour, str(output if output.exists() else case.output(output)), folder, as_onnx=as_onnx
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES))
def test_the_onnx_form_answers_as_the_model(name: str, tmp_path: Path) -> None:
    case = CASES[name]()
    native, _ = prepared(case, tmp_path, as_onnx=False)
    converted, result = prepared(case, tmp_path, as_onnx=True)
    (comparison,) = result.comparisons
    assert (comparison.form, comparison.reference, comparison.rows) == ("onnx", "native", 8)
    assert comparison.largest_difference < 1e-5
    predictor = open_model(case.flavour, converted, case.signature)
    assert isinstance(predictor, OnnxPredictor)
    expected = open_model(case.flavour, native, case.signature).predict(case.columns)
    for output, values in predictor.predict(case.columns).items():
        assert (values.shape, values.dtype.kind) == (expected[output].shape, expected[output].dtype.kind) or (
            values.dtype.kind == "O"
        )
        if values.dtype.kind == "f":
            np.testing.assert_allclose(values, expected[output], atol=2e-5)
        else:
            assert values.tolist() == expected[output].tolist()
    assert check_example(predictor, converted) == 0.0
    (kept,) = (converted / "native").iterdir()
    assert (native / kept.name).read_bytes() == kept.read_bytes()
    assert not (converted / kept.name).exists()


def test_converting_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    case = CASES["xgboost two classes"]()
    one, _ = prepared(case, tmp_path, as_onnx=True)
    graph = (one / "model.onnx").read_bytes()
    again = tmp_path / "again"
    again.mkdir()
    prepare("xgboost", str(tmp_path / "output"), again, as_onnx=True)
    assert (again / "model.onnx").read_bytes() == graph


def test_a_conversion_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    """In single precision these two rows are one."""
    rows = np.array([[16777216.0], [16777217.0]])
    model = RandomForestClassifier(1, bootstrap=False).fit(rows / 1e7, [0, 1])
    scaled = make_pipeline(StandardScaler(), model).fit(rows, [0, 1])
    inputs = (Field(name="x", dtype="float64"),)
    case = Case("sklearn", scaled, Signature(inputs=inputs, outputs=(PROBABILITY,)), {"x": rows[:, 0]})
    with pytest.raises(BadDataError, match="its ONNX form does not answer as the model itself"):
        prepared(case, tmp_path, as_onnx=True)


def test_what_cannot_be_converted_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = make_pipeline(FunctionTransformer(np.sinh), LogisticRegression()).fit(MATRIX, IS_POSITIVE)
    with pytest.raises(BadDataError, match="cannot be converted to ONNX"):
        prepared(over_matrix("sklearn", odd, PROBABILITY), tmp_path, as_onnx=True)
    opened = open_model("sklearn", tmp_path / "output", over_matrix("sklearn", odd, PROBABILITY).signature)
    with pytest.raises(ConfigurationError, match="of flavour onnx cannot be converted"):
        write_onnx("onnx", opened, tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnxmltools", None)
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigurationError, match="onnxmltools is needed") as refused:
        prepared(CASES["lightgbm numbers"](), tmp_path / "other", as_onnx=True)
    assert "onnx-export" in refused.value.mend
