"""From a training output to a bundle's folder and back to a predictor, for the flavours that answer as ONNX."""

import datetime as dt
import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from yarnmill import fs
from yarnmill.bundle.manifest import Field, Flavour, Lineage, Signature
from yarnmill.bundle.pack import pack
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError
from yarnmill.flavours.open import open_predictor
from yarnmill.flavours.prepare import prepare
from yarnmill.records import canonical_json

DOUBLER = '<ir_version: 9, opset_import: ["" : 19]> doubler (float[N] x) => (float[N] y) { y = Add (x, x) }'
SIGNATURE = Signature(inputs=(Field(name="x", dtype="float32"),), outputs=(Field(name="y", dtype="float32"),))
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
    signature = prepare(flavour, f"file://{output}", folder)
    assert signature == SIGNATURE
    assert files(folder) == {name: hash_ for name, hash_ in files(output).items() if not name.endswith(".json")}
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    pack(folder, flavour=flavour, signature=signature, lineage=LINEAGE, metrics={}, environment={}, created_at=now)
    outputs = open_predictor(folder).predict({"x": np.array([1.0, 2.0], np.float32)})
    assert outputs["y"].tolist() == [2.0, 4.0]


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


@pytest.mark.parametrize("name", ["model.onnx", "signature.json"])
def test_an_unfinished_output_is_refused(output: Path, tmp_path: Path, name: str) -> None:
    (output / name).unlink()
    with pytest.raises(NotFoundError, match=name):
        prepare("onnx", str(output), fresh(tmp_path / "bundle"))


def test_a_model_that_disagrees_with_its_signature_never_becomes_a_bundle(output: Path, tmp_path: Path) -> None:
    wrong = Signature(inputs=(Field(name="z", dtype="float32"),), outputs=SIGNATURE.outputs)
    (output / "signature.json").write_bytes(canonical_json(wrong))
    with pytest.raises(BadDataError, match="no input 'z'"):
        prepare("onnx", str(output), fresh(tmp_path / "bundle"))


@pytest.mark.parametrize("flavour", ["sklearn", "python"])
def test_a_flavour_without_an_opener_is_refused_by_name(tmp_path: Path, flavour: Flavour) -> None:
    with pytest.raises(ConfigurationError, match=flavour):
        prepare(flavour, str(tmp_path), tmp_path)


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"bundle\.json"):
        open_predictor(tmp_path)
