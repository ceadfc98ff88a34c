"""In which of its forms a trained network answers: as ONNX where that agrees with the native form, else natively."""

import datetime as dt
import shutil
from pathlib import Path

import onnx
import onnx.parser
import pytest

from yarnmill.bundle.example import Example, read_example
from yarnmill.bundle.manifest import Field, Lineage, Manifest, Signature
from yarnmill.bundle.pack import pack
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError
from yarnmill.flavours.example import check_example
from yarnmill.flavours.open import memory_of, open_predictor
from yarnmill.flavours.prepare import Prepared, prepare
from yarnmill.records import canonical_json

AGREES = """<ir_version: 9, opset_import: ["" : 19]>
doubler (float[N, 3] x, int64[N] user_id) => (float[N] sum, float[N, 3] double) <int64[1] axes = {1}>
{
    total = ReduceSum <keepdims = 0> (x, axes)
    user = Cast <to = 1> (user_id)
    sum = Add (total, user)
    double = Add (x, x)
}"""
OFF = AGREES.replace("Add (x, x)", "Mul (x, x)")
UNKNOWN = AGREES.replace("Add (x, x)", "NoSuchOperator (x, x)")
SIGNATURE = Signature(
    inputs=(Field(name="x", dtype="float32", shape=(3,)), Field(name="user_id", dtype="int64")),
    outputs=(Field(name="sum", dtype="float32"), Field(name="double", dtype="float32", shape=(3,))),
)
PLAIN = Example(inputs={"x": ((1.0, 2.0, 3.0), (0.0, 0.0, 0.5)), "user_id": (10, 20)})
TOLD = Example(inputs=PLAIN.inputs, outputs={"sum": (16.0, 20.5), "double": ((2.0, 4.0, 6.0), (0.0, 0.0, 1.0))})


@pytest.fixture
def output(tmp_path: Path, native_models: Path) -> Path:
    """Return what a training run leaves that has its native form alone."""
    folder = tmp_path / "output"
    shutil.copytree(native_models / "exported", folder / "native")
    (folder / "signature.json").write_bytes(canonical_json(SIGNATURE))
    (folder / "example.json").write_bytes(canonical_json(PLAIN))
    return folder


def packed(output: Path, python: Path, *, graph: str = "", example: Example = PLAIN) -> tuple[Manifest, Path]:
    """Pack an output, with a graph if there is one to add; return what became of it and where."""
    if graph:
        onnx.save(onnx.parser.parse_model(graph), output / "model.onnx")
    (output / "example.json").write_bytes(canonical_json(example))
    folder = output.with_name("bundle")
    folder.mkdir()
    prepared = prepare("torch", str(output), folder, allow_code=True, training_python=str(python))
    assert prepared == Prepared(signature=SIGNATURE, comparisons=prepared.comparisons, libraries=prepared.libraries)
    kept = read_example(folder, SIGNATURE)
    assert kept is not None
    assert canonical_json(kept.outputs) == canonical_json(TOLD.outputs)
    assert ("torch" in prepared.libraries) == (not (folder / "model.onnx").exists())
    manifest = pack(
        folder,
        flavour="torch",
        signature=SIGNATURE,
        lineage=Lineage(inputs=(), code_version="0", run_id="r", application_id="", configuration={}),
        metrics={},
        environment=prepared.libraries,
        created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        comparisons=prepared.comparisons,
    )
    return manifest, folder


def said(manifest: Manifest) -> list[tuple[str, str, int, bool]]:
    return [(one.form, one.reference, one.rows, one.largest_difference < 1e-6) for one in manifest.comparisons]


def test_a_graph_that_answers_as_the_native_form_does_is_preferred(output: Path, training_python: Path) -> None:
    manifest, folder = packed(output, training_python, graph=AGREES)
    assert manifest.form == "onnx"
    assert said(manifest) == [("onnx", "native", 2, True)]
    assert memory_of(folder) < 10 << 20
    assert check_example(open_predictor(folder), folder) == 0.0


@pytest.mark.parametrize(
    ("graph", "example", "compared"),
    [
        ("", PLAIN, []),
        (OFF, TOLD, [("onnx", "native", 2, False), ("torch", "native", 2, True)]),
        (UNKNOWN, TOLD, [("torch", "native", 2, True)]),
    ],
    ids=["no graph", "another answer", "an unknown operator"],
)
def test_what_has_no_such_graph_answers_natively(
    output: Path, training_python: Path, graph: str, example: Example, compared: list[tuple[str, str, int, bool]]
) -> None:
    manifest, folder = packed(output, training_python, graph=graph, example=example)
    assert manifest.form == "native"
    assert sorted(file.path for file in manifest.files) == ["example.json", "native/model.pt2"]
    assert said(manifest) == compared
    assert memory_of(folder) > 100 << 20  # a process
    with pytest.raises(ConfigurationError, match="not run here"):
        open_predictor(folder)


def test_no_native_form_is_asked_where_code_is_not_allowed(output: Path, tmp_path: Path) -> None:
    onnx.save(onnx.parser.parse_model(OFF), output / "model.onnx")
    (tmp_path / "bundle").mkdir()
    with pytest.raises(BadDataError, match="native/ is another form") as refused:
        prepare("torch", str(output), tmp_path / "bundle")
    assert "bundles.allow_code" in refused.value.mend
    (output / "example.json").write_bytes(canonical_json(TOLD))
    (tmp_path / "other").mkdir()
    with pytest.raises(BadDataError, match="output 'double' is off by") as refused:
        prepare("torch", str(output), tmp_path / "other")
    assert "bundles.allow_code" in refused.value.mend
    (tmp_path / "more").mkdir()
    with pytest.raises(ConfigurationError, match=r"'double' is off by .* cannot answer instead: .*torch is needed"):
        prepare("torch", str(output), tmp_path / "more", allow_code=True)


def test_an_output_without_any_form(output: Path, tmp_path: Path) -> None:
    shutil.rmtree(output / "native")
    (tmp_path / "bundle").mkdir()
    with pytest.raises(NotFoundError, match=r"no model\.onnx and no native/"):
        prepare("torch", str(output), tmp_path / "bundle")
