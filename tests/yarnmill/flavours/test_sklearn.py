"""Models that scikit-learn really trained, through skops files, against scikit-learn's own answers."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from yarnmill import fs
from yarnmill.bundle.example import Example
from yarnmill.bundle.manifest import Field, Signature
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError
from yarnmill.flavours.example import check_example
from yarnmill.flavours.open import open_model
from yarnmill.flavours.prepare import prepare
from yarnmill.flavours.sklearn import SklearnPredictor
from yarnmill.records import canonical_json

RANDOM = np.random.default_rng(3)
MATRIX = RANDOM.normal(size=(300, 4))
CITIES = np.array(["Rome", "Oslo", "Lima"])[RANDOM.integers(0, 3, 300)]
AGES = np.where(RANDOM.random(300) < 0.1, np.nan, RANDOM.uniform(18, 80, 300))
CLASSES = np.array(["low", "middle", "high"])[np.digitize(MATRIX[:, 0] + MATRIX[:, 1] ** 2, [0.2, 1.2])]
VECTOR = (Field(name="features", dtype="float64", shape=(4,)),)
TABLE = pd.DataFrame({"age": AGES, "city": CITIES})
COLUMNS = {"city": CITIES, "age": AGES}
TABLE_FIELDS = (Field(name="city", dtype="string"), Field(name="age", dtype="float64", required=False))


def saved(model: object, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    skops.io.dump(model, folder / "model.skops")
    return folder


@pytest.fixture(scope="module")
def forest() -> RandomForestClassifier:
    return RandomForestClassifier(20, n_jobs=2, random_state=1).fit(MATRIX, CLASSES)


@pytest.fixture(scope="module")
def pipeline() -> Any:
    prepared = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
    )
    response = (np.nan_to_num(AGES, nan=40) + 30 * (CITIES == "Oslo") > 60).astype(int)
    return make_pipeline(prepared, LogisticRegression()).fit(TABLE, response)


def test_a_regressor_over_one_vector(tmp_path: Path) -> None:
    model = RandomForestRegressor(10, n_jobs=-1, random_state=1).fit(MATRIX, MATRIX[:, 0] * 3)
    signature = Signature(inputs=VECTOR, outputs=(Field(name="prediction", dtype="float64"),))
    found = open_model("sklearn", saved(model, tmp_path), signature).predict({"features": MATRIX})
    # Threads that train and predict add up in another order.
    np.testing.assert_allclose(found["prediction"], model.predict(MATRIX), rtol=1e-12)


def test_classes_and_their_probabilities(forest: RandomForestClassifier, tmp_path: Path) -> None:
    signature = Signature(
        inputs=VECTOR,
        outputs=(Field(name="probabilities", dtype="float32", shape=(3,)), Field(name="label", dtype="string")),
    )
    predictor = SklearnPredictor(saved(forest, tmp_path), signature)
    found = predictor.predict({"features": MATRIX})
    assert list(found) == ["probabilities", "label"]
    assert found["probabilities"].dtype == np.float32
    np.testing.assert_allclose(found["probabilities"], forest.predict_proba(MATRIX), atol=1e-7)
    assert found["label"].tolist() == forest.predict(MATRIX).tolist()


def test_a_pipeline_gets_named_columns_of_text_and_numbers(pipeline: Any, tmp_path: Path) -> None:
    outputs = (Field(name="probability", dtype="float64"), Field(name="score", dtype="float64"))
    predictor = SklearnPredictor(saved(pipeline, tmp_path), Signature(inputs=TABLE_FIELDS, outputs=outputs))
    found = predictor.predict(COLUMNS)
    np.testing.assert_array_equal(found["probability"], pipeline.predict_proba(TABLE)[:, 1])
    np.testing.assert_array_equal(found["score"], pipeline.decision_function(TABLE))
    absent, unknown = (
        predictor.predict(one)["probability"]
        for one in ({"city": np.array(["Rome"])}, {"city": np.array(["Atlantis of old"]), "age": np.array([np.nan])})
    )
    asked = pd.DataFrame({"age": [np.nan, np.nan], "city": ["Rome", "Atlantis"]})
    assert [absent[0], unknown[0]] == pipeline.predict_proba(asked)[:, 1].tolist()


def test_many_threads_get_one_answer(tmp_path: Path) -> None:
    model = HistGradientBoostingClassifier(max_iter=20, random_state=1).fit(MATRIX, MATRIX[:, 0] > 0)
    signature = Signature(inputs=VECTOR, outputs=(Field(name="probability", dtype="float64"),))
    predictor = SklearnPredictor(saved(model, tmp_path), signature)
    expected = model.predict_proba(MATRIX)[:, 1]
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: predictor.predict({"features": MATRIX}), range(64)):
            np.testing.assert_array_equal(found["probability"], expected)


def test_an_output_becomes_a_bundles_folder_that_answers_its_example(pipeline: Any, root: str, tmp_path: Path) -> None:
    saved(pipeline, tmp_path / "local")
    signature = Signature(inputs=TABLE_FIELDS, outputs=(Field(name="probability", dtype="float64"),))
    example = Example(inputs={"city": ("Rome", "Oslo"), "age": (None, 40.5)})
    fs.write_bytes(f"{root}/output/model.skops", (tmp_path / "local" / "model.skops").read_bytes())
    fs.write_bytes(f"{root}/output/signature.json", canonical_json(signature))
    fs.write_bytes(f"{root}/output/example.json", canonical_json(example))
    folder = tmp_path / "bundle"
    folder.mkdir()
    assert prepare("sklearn", f"{root}/output", folder).signature == signature
    assert sorted(path.name for path in folder.iterdir()) == ["example.json", "model.skops"]
    assert check_example(open_model("sklearn", folder, signature), folder) == 0.0


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (VECTOR, (Field(name="rating", dtype="float64"),), "output 'rating'"),
        (VECTOR, (Field(name="score", dtype="float64"),), "RandomForestClassifier has no decision_function"),
        ((Field(name="features", dtype="float64", shape=(5,)),), (Field(name="label", dtype="string"),), "5 numbers"),
        ((Field(name="features", dtype="string"),), (Field(name="label", dtype="string"),), "is string"),
    ],
)
def test_a_signature_that_the_model_does_not_have_is_refused(
    forest: RandomForestClassifier, tmp_path: Path, inputs: tuple[Field, ...], outputs: tuple[Field, ...], message: str
) -> None:
    with pytest.raises(BadDataError, match=message):
        SklearnPredictor(saved(forest, tmp_path), Signature(inputs=inputs, outputs=outputs))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (Field(name="probability", dtype="float64"), "of 3 classes|a model of 3"),
        (Field(name="probabilities", dtype="float64", shape=(2,)), r"gives \[3\] a row"),
    ],
)
def test_an_answer_of_another_shape_is_refused(
    forest: RandomForestClassifier, tmp_path: Path, output: Field, message: str
) -> None:
    predictor = SklearnPredictor(saved(forest, tmp_path), Signature(inputs=VECTOR, outputs=(output,)))
    with pytest.raises(BadDataError, match=message):
        predictor.predict({"features": MATRIX})


def test_columns_of_other_names_are_refused(pipeline: Any, tmp_path: Path) -> None:
    signature = Signature(inputs=(TABLE_FIELDS[0],), outputs=(Field(name="label", dtype="int64"),))
    with pytest.raises(BadDataError, match="features are age, city"):
        SklearnPredictor(saved(pipeline, tmp_path), signature)


@pytest.mark.parametrize("function", [subprocess.check_output, np.load, skops.io.load])
def test_a_function_or_a_foreign_type_in_a_file_is_refused_by_name(tmp_path: Path, function: Any) -> None:
    """A transformer of any function would be a way to run it."""
    model = make_pipeline(FunctionTransformer(function), LogisticRegression())
    signature = Signature(inputs=VECTOR, outputs=(Field(name="label", dtype="int64"),))
    with pytest.raises(BadDataError, match=function.__name__) as refused:
        SklearnPredictor(saved(model, tmp_path), signature)
    assert "flavour python" in refused.value.mend


def test_what_is_no_model(tmp_path: Path) -> None:
    signature = Signature(inputs=VECTOR, outputs=(Field(name="label", dtype="int64"),))
    with pytest.raises(NotFoundError, match=r"model\.skops"):
        SklearnPredictor(tmp_path, signature)
    (tmp_path / "model.skops").write_bytes(b"no archive")
    with pytest.raises(BadDataError, match="skops cannot read it"):
        SklearnPredictor(tmp_path, signature)


@pytest.mark.parametrize(
    ("flavour", "library"), [("sklearn", "skops.io"), ("xgboost", "xgboost"), ("lightgbm", "lightgbm")]
)
def test_a_library_that_is_not_installed(
    flavour: Any, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # Python's own way to say that there is none
    for name in ("model.skops", "model.ubj", "model.txt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ConfigurationError, match="not installed") as refused:
        open_model(flavour, tmp_path, Signature(inputs=VECTOR, outputs=(Field(name="label", dtype="int64"),)))
    assert f"yarnmill[{flavour}]" in refused.value.mend
