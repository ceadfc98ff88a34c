"""Graphs of the real onnxruntime against signatures: what agrees answers, what does not is refused by name."""

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from yarnmill.bundle.manifest import Field, Signature
from yarnmill.errors import BadDataError, NotFoundError
from yarnmill.flavours.onnx import OnnxPredictor

HEADER = '<ir_version: 9, opset_import: ["" : 19]>'
RATER = (
    HEADER
    + """
    rater (int64[N] user_id, float[N, 2] features) => (float[N] score, string[N] label)
    <int64[1] axes = {1}, string[1] name = {"a"}>
    {
        sum = ReduceSum <keepdims = 0> (features, axes)
        user = Cast <to = 1> (user_id)
        score = Add (sum, user)
        shape = Shape (user_id)
        label = Expand (name, shape)
    }"""
)
USER = Field(name="user_id", dtype="int64")
FEATURES = Field(name="features", dtype="float32", shape=(2,))
SCORE = Field(name="score", dtype="float32")
SIGNATURE = Signature(inputs=(USER, FEATURES), outputs=(SCORE,))


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(RATER), path)
    return path


def test_a_graph_answers_any_number_of_rows(graph: Path) -> None:
    predictor = OnnxPredictor(graph, SIGNATURE)
    assert predictor.signature == SIGNATURE
    for rows in (1, 2, 1000):
        users = np.arange(rows)
        features = np.ones((rows, 2), np.float32)
        (score,) = predictor.predict({"user_id": users, "features": features}).values()
        assert score.dtype == np.float32
        np.testing.assert_array_equal(score, users + 2.0)


def test_outputs_come_in_the_order_of_the_signature(graph: Path) -> None:
    label = Field(name="label", dtype="string")
    predictor = OnnxPredictor(graph, Signature(inputs=(USER, FEATURES), outputs=(label, SCORE)))
    outputs = predictor.predict({"user_id": np.array([7]), "features": np.zeros((1, 2), np.float32)})
    assert list(outputs) == ["label", "score"]
    assert outputs["label"].tolist() == ["a"]


def test_weights_beside_the_graph_are_found(tmp_path: Path) -> None:
    weight = np.linspace(0, 1, 4000, dtype=np.float32)
    text = HEADER + " add (float[N, 4000] x) => (float[N, 4000] y) { y = Add (x, w) }"
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    path = tmp_path / "model.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    x, y = (Field(name=name, dtype="float32", shape=(4000,)) for name in "xy")
    predictor = OnnxPredictor(path, Signature(inputs=(x,), outputs=(y,)))
    (out,) = predictor.predict({"x": np.zeros((1, 4000), np.float32)}).values()
    np.testing.assert_array_equal(out[0], weight)


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ((USER,), (SCORE,), "inputs that the signature lacks: features"),
        ((USER, FEATURES, Field(name="film_id", dtype="int64")), (SCORE,), "no input 'film_id'"),
        ((Field(name="user_id", dtype="int32"), FEATURES), (SCORE,), r"input 'user_id' is a tensor\(int64\)"),
        ((USER, Field(name="features", dtype="bag")), (SCORE,), r"input 'features' is a tensor\(float\)"),
        ((USER, Field(name="features", dtype="float32", shape=(3,))), (SCORE,), r"shape \(2,\)"),
        ((USER, Field(name="features", dtype="float32")), (SCORE,), r"shape \(2,\)"),
        ((USER, FEATURES), (Field(name="probability", dtype="float32"),), "no output 'probability'"),
    ],
)
def test_a_signature_that_the_graph_does_not_have_is_refused(
    graph: Path, inputs: tuple[Field, ...], outputs: tuple[Field, ...], message: str
) -> None:
    with pytest.raises(BadDataError, match=message) as error:
        OnnxPredictor(graph, Signature(inputs=inputs, outputs=outputs))
    assert str(graph) in error.value.what


def test_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(HEADER + " one (float[1, 2] x) => (float[1, 2] y) { y = Identity (x) }"), path)
    x, y = (Field(name=name, dtype="float32", shape=(2,)) for name in "xy")
    with pytest.raises(BadDataError, match="fixed shape") as error:
        OnnxPredictor(path, Signature(inputs=(x,), outputs=(y,)))
    assert "dynamic batch" in error.value.mend


@pytest.mark.parametrize("damage", [b"", b"no graph at all", None])
def test_what_is_no_graph_is_bad_data(graph: Path, damage: bytes | None) -> None:
    graph.write_bytes(graph.read_bytes()[:-20] if damage is None else damage)
    with pytest.raises(BadDataError, match="onnxruntime"):
        OnnxPredictor(graph, SIGNATURE)


def test_a_missing_graph_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"model\.onnx"):
        OnnxPredictor(tmp_path / "model.onnx", SIGNATURE)
