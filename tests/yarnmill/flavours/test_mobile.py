"""Mobile forms of trained networks: they are bundles of their own that say what they lost."""

import datetime as dt
import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx.parser
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier

from yarnmill.bundle.example import Example
from yarnmill.bundle.manifest import Field, Flavour, Lineage, Manifest, Signature, bundle_id, manifest_bytes
from yarnmill.bundle.pack import pack, verify_bundle
from yarnmill.cli.main import run, yarnmill
from yarnmill.errors import BadDataError, ConfigurationError
from yarnmill.flavours.example import check_example
from yarnmill.flavours.mobile import make_mobile
from yarnmill.flavours.open import open_predictor
from yarnmill.flavours.prepare import prepare
from yarnmill.records import canonical_json

RANDOM = np.random.default_rng(8)
MATRIX = RANDOM.normal(size=(1000, 20)).astype(np.float32)
LABELS = (MATRIX[:, :5].sum(axis=1) + np.abs(MATRIX[:, 5]) > 0.5).astype(int)
SIGNATURE = Signature(
    inputs=(Field(name="features", dtype="float32", shape=(20,)),),
    outputs=(Field(name="probability", dtype="float32"), Field(name="label", dtype="int64")),
)
NO_PYTHON = "/nowhere/python"


def packed(flavour: Flavour, signature: Signature, output: Path, folder: Path, *, as_onnx: bool) -> Manifest:
    folder.mkdir()
    prepared = prepare(flavour, str(output), folder, as_onnx=as_onnx)
    return pack(
        folder,
        flavour=flavour,
        signature=signature,
        lineage=Lineage(inputs=(), code_version="0", run_id="r", application_id="", configuration={}),
        metrics={"test_auc": 0.9},
        environment={},
        created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        comparisons=prepared.comparisons,
    )


def bundle_of(model: Any, tmp_path: Path, *, as_onnx: bool = True) -> Path:
    output = tmp_path / "output"
    output.mkdir()
    skops.io.dump(model.fit(MATRIX[:700], LABELS[:700]), output / "model.skops")
    (output / "signature.json").write_bytes(canonical_json(SIGNATURE))
    inputs = {"features": tuple(MATRIX[:8].tolist())}
    (output / "example.json").write_bytes(canonical_json(Example(inputs=inputs)))
    packed("sklearn", SIGNATURE, output, tmp_path / "bundle", as_onnx=as_onnx)
    return tmp_path / "bundle"


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return bundle_of(MLPClassifier((64, 32), max_iter=60, random_state=1, early_stopping=True), tmp_path)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "rows.json"
    outputs = {"probability": tuple(LABELS[700:].astype(float).tolist()), "label": tuple(LABELS[700:].tolist())}
    path.write_bytes(canonical_json(Example(inputs={"features": tuple(MATRIX[700:].tolist())}, outputs=outputs)))
    return path


def fresh(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.slow
def test_a_quantised_network_is_a_smaller_bundle_that_says_what_it_lost(
    network: Path, labelled: Path, tmp_path: Path
) -> None:
    parent = verify_bundle(network)
    target = fresh(tmp_path / "mobile")
    made = make_mobile("quantised-onnx", network, target, labelled, NO_PYTHON)
    assert verify_bundle(target) == made
    assert made.lineage == msgspec.structs.replace(parent.lineage, parent=bundle_id(manifest_bytes(parent)))
    assert made.metrics == {}
    sizes = [{file.path: file.size_bytes for file in each.files}["model.onnx"] for each in (parent, made)]
    assert sizes[1] < 0.6 * sizes[0]
    assert sorted(file.path for file in made.files) == ["example.json", "model.onnx"]

    conversion, loss = made.comparisons
    assert (conversion.form, loss.form, loss.reference, loss.rows) == ("onnx", "quantised-onnx", "onnx", 300)
    columns = {"features": MATRIX[700:]}
    small, plain = (open_predictor(each).predict(columns) for each in (target, network))
    difference = np.abs(small["probability"] - plain["probability"]).max()
    assert 0 < loss.largest_difference == pytest.approx(max(difference, np.abs(small["label"] - plain["label"]).max()))
    for answers, prefix in ((small, ""), (plain, "reference_")):
        assert loss.metrics[f"{prefix}label_accuracy"] == pytest.approx(np.mean(answers["label"] == LABELS[700:]))
        clear = np.where(LABELS[700:] == 1, answers["probability"], 1 - answers["probability"]).astype(float)
        assert loss.metrics[f"{prefix}probability_log_loss"] == pytest.approx(-np.mean(np.log(clear)), rel=1e-4)
        assert loss.metrics[f"{prefix}probability_auc"] > 0.9
    predictor = open_predictor(target)
    assert check_example(predictor, target) == 0.0


def test_it_is_the_same_bundle_every_time_and_from_the_command(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = make_mobile("quantised-onnx", network, fresh(tmp_path / "one"), None, NO_PYTHON)
    assert one.comparisons[-1].metrics == {}
    arguments = ["bundle", "mobile", str(network), str(tmp_path / "two"), "--form", "quantised-onnx"]
    assert run(yarnmill, arguments) == 0
    assert capsys.readouterr().out.strip() == bundle_id(manifest_bytes(one))
    arguments[3] = str(tmp_path / "three")
    assert run(yarnmill, [*arguments, "--output", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bundle_id"] == bundle_id(manifest_bytes(one))
    assert told["comparison"]["largest_difference"] == one.comparisons[-1].largest_difference


def test_weights_beside_the_graph_are_quantised_too(tmp_path: Path) -> None:
    output = fresh(tmp_path / "output")
    text = """<ir_version: 9, opset_import: ["" : 19]>
        net (float[N, 64] x) => (float[N, 64] y) { y = MatMul (x, w) }"""
    model = onnx.parser.parse_model(text)
    weights = RANDOM.normal(size=(64, 64)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    onnx.save(model, output / "model.onnx", save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    fields = [Field(name=name, dtype="float32", shape=(64,)) for name in "xy"]
    signature = Signature(inputs=(fields[0],), outputs=(fields[1],))
    (output / "signature.json").write_bytes(canonical_json(signature))
    asked = RANDOM.normal(size=(4, 64)).astype(np.float32)
    (output / "example.json").write_bytes(canonical_json(Example(inputs={"x": tuple(asked.tolist())})))
    packed("onnx", signature, output, tmp_path / "bundle", as_onnx=False)
    target = fresh(tmp_path / "mobile")
    made = make_mobile("quantised-onnx", tmp_path / "bundle", target, None, NO_PYTHON)
    assert sorted(file.path for file in made.files) == ["example.json", "model.onnx", "model.onnx.data"]
    assert sum(file.size_bytes for file in made.files if "onnx" in file.path) < weights.nbytes / 2
    found = open_predictor(target).predict({"x": asked})["y"]
    np.testing.assert_allclose(found, asked @ weights, atol=0.5)


def test_what_no_mobile_form_is_made_of(tmp_path: Path) -> None:
    forest = bundle_of(RandomForestClassifier(3), fresh(tmp_path / "forest"))
    with pytest.raises(BadDataError, match="nothing in the graph can be quantised"):
        make_mobile("quantised-onnx", forest, fresh(tmp_path / "one"), None, NO_PYTHON)
    with pytest.raises(ConfigurationError, match="no SavedModel in this bundle of flavour sklearn"):
        make_mobile("litert", forest, fresh(tmp_path / "two"), None, NO_PYTHON)
    plain = bundle_of(RandomForestClassifier(3), fresh(tmp_path / "plain"), as_onnx=False)
    with pytest.raises(ConfigurationError, match=r"no model\.onnx") as refused:
        make_mobile("quantised-onnx", plain, fresh(tmp_path / "three"), None, NO_PYTHON)
    assert "--onnx" in refused.value.mend


def test_rows_without_labels_are_refused(network: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    rows.write_bytes(canonical_json(Example(inputs={"features": tuple(MATRIX[:2].tolist())})))
    with pytest.raises(BadDataError, match="no outputs"):
        make_mobile("quantised-onnx", network, fresh(tmp_path / "one"), rows, NO_PYTHON)


EXPORT = """
import json, os, pathlib, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np, tensorflow as tf, tf2onnx
folder = pathlib.Path(sys.argv[1])

class Scorer(tf.Module):
    def __init__(self):
        super().__init__()
        keras.utils.set_random_seed(1)
        self.net = keras.Sequential([keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1)])
        self.user = keras.layers.Embedding(5, 4)

    def __call__(self, user_id, features):
        return {"probability": tf.sigmoid(self.net(features + self.user(user_id)))[:, 0]}

scorer = Scorer()
users, features = np.arange(5), np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)
answers = scorer(users, features)["probability"].numpy()

def asked(name):
    return [tf.TensorSpec([None], tf.int64, "user_id"), tf.TensorSpec([None, 4], tf.float32, name)]

as_onnx = tf.function(scorer.__call__, input_signature=asked("global"))
tf2onnx.convert.from_function(as_onnx, asked("global"), opset=18, output_path=str(folder / "model.onnx"))
archive = keras.export.ExportArchive()
archive.track(scorer.net)
archive.track(scorer.user)
archive.add_endpoint("serve", scorer.__call__, input_signature=asked("features"))
archive.write_out(str(folder / "native"), verbose=False)
example = {
    "inputs": {"user_id": users.tolist(), "global": features.tolist()},
    "outputs": {"probability": answers.tolist()},
}
(folder / "example.json").write_text(json.dumps(example))
"""


@pytest.mark.timeout(900)
def test_litert_is_made_and_asked_where_tensorflow_is(training_python: Path, tmp_path: Path) -> None:
    output = fresh(tmp_path / "output")
    subprocess.run([training_python, "-c", EXPORT, str(output)], check=True)
    signature = Signature(
        inputs=(Field(name="user_id", dtype="int64"), Field(name="global", dtype="float32", shape=(4,))),
        outputs=(Field(name="probability", dtype="float32"),),
    )
    (output / "signature.json").write_bytes(canonical_json(signature))
    parent = packed("tensorflow", signature, output, tmp_path / "bundle", as_onnx=False)
    assert parent.comparisons[0].largest_difference < 1e-6

    with pytest.raises(ConfigurationError, match="no such Python"):
        make_mobile("litert", tmp_path / "bundle", fresh(tmp_path / "nothing"), None, NO_PYTHON)
    target = fresh(tmp_path / "mobile")
    made = make_mobile("litert", tmp_path / "bundle", target, None, str(training_python))
    assert verify_bundle(target) == made
    assert sorted(file.path for file in made.files) == ["example.json", "model.onnx", "model.tflite"]
    assert (target / "model.tflite").read_bytes()[4:8] == b"TFL3"
    loss = made.comparisons[-1]
    assert (loss.form, loss.reference, loss.rows, made.metrics) == ("litert", "onnx", 5, parent.metrics)
    assert loss.largest_difference < 1e-5
    assert check_example(open_predictor(target), target) is not None
