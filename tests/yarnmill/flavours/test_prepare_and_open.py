"""From a training output to a bundle's folder and back to a predictor, for the flavours that answer as ONNX."""

import datetime as dt
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from yarnmill import fs
from yarnmill.bundle.example import Example, read_example
from yarnmill.bundle.manifest import Comparison, Field, Flavour, Lineage, Signature
from yarnmill.bundle.pack import pack
from yarnmill.errors import BadDataError, NotFoundError
from yarnmill.flavours.example import check_example
from yarnmill.flavours.open import open_model, open_predictor
from yarnmill.flavours.prepare import Prepared, prepare
from yarnmill.records import canonical_json

DOUBLER = '<ir_version: 9, opset_import: ["" : 19]> doubler (float[N] x) => (float[N] y) { y = Add (x, x) }'
SIGNATURE = Signature(inputs=(Field(name="x", dtype="float32"),), outputs=(Field(name="y", dtype="float32"),))
EXAMPLE = Example(inputs={"x": (1.5, -2.0)}, outputs={"y": (3.0, -4.0)})
LINEAGE = Lineage(inputs=(), code_version="0", run_id="r", application_id="", configuration={})


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Return what a training run leaves behind."""
    folder = tmp_path / "output"
    (folder / "native" / "variables").mkdir(parents=True)
    (folder / "native" / "saved_model.pb").write_bytes(b"graph")
    (folder / "native" / "variables" / "variables.index").write_bytes(b"weights")
    onnx.save(onnx.parser.parse_model(DOUBLER), folder / "model.onnx")
    (folder / "signature.json").write_bytes(canonical_json(SIGNATURE))
    (folder / "example.json").write_bytes(canonical_json(EXAMPLE))
    (folder / "report.json").write_text("{}")
    return folder


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def fresh(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("flavour", ["onnx", "torch", "tensorflow"])
def test_a_prepared_and_packed_model_answers(output: Path, tmp_path: Path, flavour: Flavour) -> None:
    folder = fresh(tmp_path / "bundle")
    prepared = prepare(flavour, f"file://{output}", folder)
    form = "onnx" if flavour != "onnx" else flavour
    assert prepared == Prepared(
        signature=SIGNATURE,
        comparisons=(Comparison(form=form, reference="native", rows=2, largest_difference=0.0),),
    )
    copied = {name: hash_ for name, hash_ in files(output).items() if not name.endswith(".json")}
    assert {name: hash_ for name, hash_ in files(folder).items() if name != "example.json"} == copied
    assert read_example(folder, SIGNATURE) == EXAMPLE
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    pack(folder, flavour=flavour, signature=SIGNATURE, lineage=LINEAGE, metrics={}, environment={}, created_at=now)
    predictor = open_predictor(folder)
    outputs = predictor.predict({"x": np.array([1.0, 2.0], np.float32)})
    assert outputs["y"].tolist() == [2.0, 4.0]
    assert check_example(predictor, folder) == 0.0


def test_preparing_twice_gives_the_same_bytes(output: Path, tmp_path: Path) -> None:
    one, two = fresh(tmp_path / "one"), fresh(tmp_path / "two")
    prepare("torch", str(output), one)
    prepare("torch", str(output), two)
    assert files(one) == files(two)


def test_an_output_on_hdfs_is_prepared_like_a_local_one(output: Path, tmp_path: Path, hdfs: str) -> None:
    fs.copy_tree(str(output), f"{hdfs}/output")
    one, two = fresh(tmp_path / "one"), fresh(tmp_path / "two")
    assert prepare("onnx", f"{hdfs}/output", one) == prepare("onnx", str(output), two)
    assert files(one) == files(two)


@pytest.mark.parametrize("name", ["model.onnx", "signature.json", "example.json"])
def test_an_unfinished_output_is_refused(output: Path, tmp_path: Path, name: str) -> None:
    (output / name).unlink()
    with pytest.raises(NotFoundError, match=name):
        prepare("onnx", str(output), fresh(tmp_path / "bundle"))


def test_a_model_that_disagrees_with_its_signature_never_becomes_a_bundle(output: Path, tmp_path: Path) -> None:
    wrong = Signature(inputs=(Field(name="z", dtype="float32"),), outputs=SIGNATURE.outputs)
    (output / "signature.json").write_bytes(canonical_json(wrong))
    with pytest.raises(BadDataError, match="no input 'z'"):
        prepare("onnx", str(output), fresh(tmp_path / "bundle"))


def test_the_native_forms_own_answers_are_what_the_bundle_has_to_give(output: Path, tmp_path: Path) -> None:
    native = Example(inputs={"x": (1.5, -2.0)}, outputs={"y": (3.00001, -4.0)})
    (output / "example.json").write_bytes(canonical_json(native))
    prepared = prepare("torch", str(output), fresh(tmp_path / "bundle"))
    kept = read_example(tmp_path / "bundle", SIGNATURE)
    assert kept is not None
    assert kept.outputs["y"] == (np.float32(3.00001), -4.0)
    (comparison,) = prepared.comparisons
    assert (comparison.form, comparison.reference, comparison.rows) == ("onnx", "native", 2)
    assert comparison.largest_difference == pytest.approx(1e-5 / 3, rel=0.05)
    (output / "example.json").write_bytes(canonical_json(Example(inputs=native.inputs, outputs={"y": (3.1, -4.0)})))
    with pytest.raises(BadDataError, match=r"output 'y' is off by 0\.03"):
        prepare("torch", str(output), fresh(tmp_path / "other"))
    (output / "example.json").write_bytes(canonical_json(Example(inputs=native.inputs)))
    with pytest.raises(BadDataError, match="native/ is another form"):
        prepare("torch", str(output), fresh(tmp_path / "more"))


def test_without_answers_the_model_gives_its_own(output: Path, tmp_path: Path) -> None:
    (output / "example.json").write_bytes(canonical_json(Example(inputs=EXAMPLE.inputs)))
    assert prepare("onnx", str(output), fresh(tmp_path / "bundle")).comparisons == ()
    assert read_example(tmp_path / "bundle", SIGNATURE) == EXAMPLE


def test_a_model_that_answers_otherwise_than_when_it_was_packed_is_found(output: Path, tmp_path: Path) -> None:
    folder = fresh(tmp_path / "bundle")
    prepare("onnx", str(output), folder)
    onnx.save(onnx.parser.parse_model(DOUBLER.replace("Add (x, x)", "Mul (x, x)")), folder / "model.onnx")
    with pytest.raises(BadDataError, match="answers its example otherwise"):
        check_example(open_model("onnx", folder, SIGNATURE), folder)
    (folder / "example.json").unlink()
    assert check_example(open_model("onnx", folder, SIGNATURE), folder) is None


@pytest.mark.parametrize("cells", [("a", "b"), ((1.0,), (2.0,)), (None, {}), (1e400, 2)])
def test_an_example_of_other_types_is_refused(output: Path, tmp_path: Path, cells: tuple[object, ...]) -> None:
    text = json.dumps({"inputs": {"x": cells}}).replace("Infinity", "1e999")
    (output / "example.json").write_text(text)
    with pytest.raises(BadDataError, match=r"example\.json"):
        prepare("onnx", str(output), fresh(tmp_path / "bundle"))


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"bundle\.json"):
        open_predictor(tmp_path)
