"""Boosters that XGBoost and LightGBM really trained, from their own files, against their own answers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import lightgbm
import numpy as np
import pytest
import xgboost

from yarnmill.bundle.example import Example
from yarnmill.bundle.manifest import Field, Signature
from yarnmill.errors import BadDataError, NotFoundError
from yarnmill.flavours.example import check_example
from yarnmill.flavours.open import open_model
from yarnmill.flavours.prepare import prepare
from yarnmill.records import canonical_json

Library = Literal["xgboost", "lightgbm"]

RANDOM = np.random.default_rng(4)
MATRIX = np.where(RANDOM.random((400, 3)) < 0.1, np.nan, RANDOM.normal(size=(400, 3))).astype(np.float32)
FILLED = np.nan_to_num(MATRIX)
RESPONSES = {
    "regression": FILLED[:, 0] * 2 + FILLED[:, 1],
    "binary": (FILLED[:, 0] + FILLED[:, 1] > 0).astype(int),
    "multiclass": np.digitize(FILLED[:, 0] + FILLED[:, 2], [-0.5, 0.5]),
}
OBJECTIVES = {
    "regression": {"xgboost": "reg:squarederror", "lightgbm": "regression"},
    "binary": {"xgboost": "binary:logistic", "lightgbm": "binary"},
    "multiclass": {"xgboost": "multi:softprob", "lightgbm": "multiclass"},
}
VECTOR = (Field(name="features", dtype="float32", shape=(3,)),)
NAMES = ["b", "a", "c"]
NAMED = tuple(Field(name=name, dtype="float32", required=name != "c") for name in sorted(NAMES))
FILES = {"xgboost": "model.ubj", "lightgbm": "model.txt"}


def trained(library: Library, task: str, names: list[str] | None = None) -> Any:
    objective = OBJECTIVES[task][library]
    more = {"num_class": 3} if task == "multiclass" else {}
    if library == "xgboost":
        data = xgboost.DMatrix(MATRIX, RESPONSES[task], feature_names=names)
        return xgboost.train({"objective": objective, "max_depth": 3, "nthread": 2, **more}, data, 10)
    rows = lightgbm.Dataset(MATRIX, RESPONSES[task], feature_name=names or "auto")
    return lightgbm.train({"objective": objective, "verbosity": -1, "num_threads": 2, **more}, rows, 10)


def own_answer(model: Any) -> Any:
    names = model.feature_names if isinstance(model, xgboost.Booster) else None
    asked = xgboost.DMatrix(MATRIX, feature_names=names) if isinstance(model, xgboost.Booster) else MATRIX
    return model.predict(asked)


def output_of(task: str) -> Field:
    return Field(name="answer", dtype="float32", shape=(3,) if task == "multiclass" else ())


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Library, Any], Path]:
    def to_folder(library: Library, model: Any) -> Path:
        folder = tmp_path / library
        folder.mkdir()
        model.save_model(folder / FILES[library])
        return folder

    return to_folder


@pytest.mark.parametrize("task", list(RESPONSES))
@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_it_answers_as_the_library_itself(library: Library, task: str, save: Callable[[Library, Any], Path]) -> None:
    model = trained(library, task)
    signature = Signature(inputs=VECTOR, outputs=(output_of(task),))
    predictor = open_model(library, save(library, model), signature)
    expected = own_answer(model).astype(np.float32)
    found = predictor.predict({"features": MATRIX})["answer"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with ThreadPoolExecutor(8) as pool:
        for each in pool.map(lambda _: predictor.predict({"features": MATRIX}), range(32)):
            np.testing.assert_array_equal(each["answer"], found)


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_features_with_names_are_put_in_the_models_order(
    library: Library, save: Callable[[Library, Any], Path]
) -> None:
    model = trained(library, "binary", NAMES)
    folder = save(library, model)
    predictor = open_model(library, folder, Signature(inputs=NAMED, outputs=(output_of("binary"),)))
    columns = {name: MATRIX[:, at] for at, name in enumerate(NAMES)}
    np.testing.assert_allclose(predictor.predict(columns)["answer"], own_answer(model), rtol=1e-6)
    without = {name: column for name, column in columns.items() if name != "c"}
    as_nan = {**without, "c": np.full(len(MATRIX), np.nan, np.float32)}
    np.testing.assert_array_equal(predictor.predict(without)["answer"], predictor.predict(as_nan)["answer"])
    with pytest.raises(BadDataError, match="the model's features are b, a, c"):
        open_model(library, folder, Signature(inputs=NAMED[:2], outputs=(output_of("binary"),)))


def test_a_booster_that_was_stopped_early_answers_with_its_best_iteration(
    save: Callable[[Library, Any], Path],
) -> None:
    model = xgboost.XGBRegressor(n_estimators=200, early_stopping_rounds=3, learning_rate=0.9, random_state=1)
    noisy = RANDOM.normal(size=400)
    model.fit(MATRIX[:200], noisy[:200], eval_set=[(MATRIX[200:], noisy[200:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    predictor = open_model(
        "xgboost", save("xgboost", model), Signature(inputs=VECTOR, outputs=(output_of("regression"),))
    )
    np.testing.assert_allclose(predictor.predict({"features": MATRIX})["answer"], model.predict(MATRIX), rtol=1e-6)


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_an_output_becomes_a_bundles_folder_that_answers_its_example(
    library: Library, save: Callable[[Library, Any], Path], tmp_path: Path
) -> None:
    model = trained(library, "multiclass")
    output = save(library, model)
    signature = Signature(inputs=VECTOR, outputs=(output_of("multiclass"),))
    native = Example(
        inputs={"features": tuple(MATRIX[:2].astype(object).tolist())},
        outputs={"answer": tuple(own_answer(model)[:2].tolist())},
    )
    (output / "signature.json").write_bytes(canonical_json(signature))
    (output / "example.json").write_bytes(canonical_json(native))
    folder = tmp_path / "bundle"
    folder.mkdir()
    prepared = prepare(library, str(output), folder)
    assert [(each.form, each.reference) for each in prepared.comparisons] == [(library, "native")]
    assert sorted(path.name for path in folder.iterdir()) == ["example.json", FILES[library]]
    difference = check_example(open_model(library, folder, signature), folder)
    assert difference is not None
    assert difference < 1e-6


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_what_is_no_model(library: Library, tmp_path: Path) -> None:
    signature = Signature(inputs=VECTOR, outputs=(output_of("binary"),))
    with pytest.raises(NotFoundError, match=r"no model\."):
        open_model(library, tmp_path, signature)
    (tmp_path / FILES[library]).write_bytes(b"tree")
    with pytest.raises(BadDataError, match="cannot read it"):
        open_model(library, tmp_path, signature)


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_a_signature_that_the_booster_does_not_have(library: Library, save: Callable[[Library, Any], Path]) -> None:
    folder = save(library, trained(library, "multiclass"))
    wrong = (Field(name="features", dtype="float32", shape=(4,)),)
    with pytest.raises(BadDataError, match="4 numbers a row"):
        open_model(library, folder, Signature(inputs=wrong, outputs=(output_of("multiclass"),)))
    two = Signature(inputs=VECTOR, outputs=(output_of("multiclass"), Field(name="other", dtype="float32")))
    with pytest.raises(BadDataError, match="2 outputs"):
        open_model(library, folder, two)
    with pytest.raises(BadDataError, match=r"gives \[3\] a row"):
        open_model(library, folder, Signature(inputs=VECTOR, outputs=(output_of("binary"),))).predict(
            {"features": MATRIX}
        )
