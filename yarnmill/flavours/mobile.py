"""Forms of a model for phones, each a new bundle whose parent is the model's: with what accuracy it lost on the way."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import msgspec
import numpy as np

from photon.evaluation import Question, Scored, evaluate, parse_evaluators
from yarnmill.building import run_tool
from yarnmill.bundle.example import EXAMPLE_NAME, Example, parse_example, require_example, write_example
from yarnmill.bundle.manifest import (
    MANIFEST_NAME,
    ONNX_NAME,
    Comparison,
    Manifest,
    Signature,
    bundle_id,
    manifest_bytes,
)
from yarnmill.bundle.pack import pack, read_manifest
from yarnmill.errors import BadDataError, ConfigurationError
from yarnmill.flavours import litert
from yarnmill.flavours.example import Outputs, example_columns, example_outputs, largest_difference, made_example
from yarnmill.flavours.native import NATIVE_NAME
from yarnmill.flavours.onnx import OnnxPredictor
from yarnmill.flavours.predictor import Column
from yarnmill.flavours.tabular import load_library

Form = Literal["quantised-onnx", "litert"]
LITERT_NAME: Final = "model.tflite"
_QUANTISED: Final = ("DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QuantizeLinear")


def make_mobile(form: Form, source: Path, folder: Path, rows: Path | None, training_python: str) -> Manifest:
    """Fill a fresh local folder with another form of a bundle's model, pack it and return its manifest.

    A ``quantised-onnx`` bundle answers with 8-bit weights. A ``litert`` bundle brings ``model.tflite`` beside the ONNX
    form, which answers as before. Either records how far it is from the ONNX form, and what both reached on ``rows``.

    Parameters
    ----------
    form
        What to make.
    source
        The folder of a bundle that answers as ONNX.
    folder
        An empty local folder.
    rows
        A file in the form of ``example.json`` with any number of rows, its outputs being what is true; None: how far
        the answers are apart is measured on the bundle's example, and no accuracy.
    training_python
        Python of an environment with TensorFlow, for ``litert``.

    Raises
    ------
    ConfigurationError
        If the bundle has no form that this one is made of, or a library is missing.
    BadDataError
        If the rows do not fit the signature, or nothing in the graph can be quantised.
    JobFailedError
        If TensorFlow's converter fails: with its last words.
    """
    manifest = read_manifest(source)
    _refuse_others(form, source, manifest)
    example = require_example(source, manifest.signature)
    asked = example if rows is None else _labelled(rows, manifest.signature)
    columns = example_columns(asked, manifest.signature, source=str(rows or source / EXAMPLE_NAME))
    reference = OnnxPredictor(source / ONNX_NAME, manifest.signature).predict(columns)
    for file in manifest.files:
        if not file.path.startswith(f"{NATIVE_NAME}/"):
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file.path, folder / file.path)
    if form == "quantised-onnx":
        predictor = _quantise(folder, manifest.signature)
        answers: Outputs = predictor.predict(columns)
        own = example_columns(example, manifest.signature, source=EXAMPLE_NAME)
        write_example(folder, made_example(own, predictor.predict(own)))
    else:
        answers = _convert(source, folder, manifest.signature, columns, training_python)
    return _packed(folder, manifest, _compare(form, answers, reference, asked if rows else None, manifest.signature))


def _refuse_others(form: Form, source: Path, manifest: Manifest) -> None:
    names = {file.path.partition("/")[0] for file in manifest.files}
    if ONNX_NAME not in names:
        raise ConfigurationError(
            f"{source}: no {ONNX_NAME} in this bundle of flavour {manifest.flavour}",
            expected="a model that answers as ONNX",
            mend="yarnmill bundle pack --onnx, for a model of scikit-learn, XGBoost or LightGBM",
        )
    if form == "litert" and (manifest.flavour != "tensorflow" or NATIVE_NAME not in names):
        raise ConfigurationError(
            f"{source}: no SavedModel in this bundle of flavour {manifest.flavour}",
            expected=f"a model of TensorFlow with its {NATIVE_NAME}/: LiteRT is made of nothing else here",
        )


def _labelled(rows: Path, signature: Signature) -> Example:
    labelled = parse_example(rows.read_bytes(), signature, source=str(rows), most_rows=None)
    if not labelled.outputs:
        raise BadDataError(f"{rows}: no outputs", expected="what is true for each row, by output")
    return labelled


def _quantise(folder: Path, signature: Signature) -> OnnxPredictor:
    onnx = load_library("onnx", "onnx-export")
    quantization = load_library("onnxruntime.quantization", "onnx-export")
    path, parts = folder / ONNX_NAME, list(folder.glob(f"{ONNX_NAME}*"))
    with TemporaryDirectory(dir=folder.parent) as plain:
        for part in parts:
            part.rename(Path(plain, part.name))
        # 7 bits of 8: sums of products stay within 16, so that every processor gives the same answer.
        quantization.quantize_dynamic(
            Path(plain, ONNX_NAME), path, reduce_range=True, use_external_data_format=len(parts) > 1
        )
    kinds = {node.op_type for node in onnx.load(path, load_external_data=False).graph.node}
    if not kinds.intersection(_QUANTISED):
        raise BadDataError(
            f"{folder}: nothing in the graph can be quantised: {', '.join(sorted(kinds))}",
            expected="products of matrices or embeddings, as neural networks have them",
        )
    return OnnxPredictor(path, signature)


def _convert(
    source: Path, folder: Path, signature: Signature, columns: Mapping[str, Column], python: str
) -> dict[str, Any]:
    """Convert the SavedModel under the training environment, ask the result there, and return its answers."""
    if not Path(python).is_file():
        raise ConfigurationError(
            f"{python}: no such Python, and LiteRT's converter is in TensorFlow's environment alone",
            mend="yarnmill env build training",
        )
    if any(field.dtype in ("bag", "string") for field in signature.inputs):
        raise ConfigurationError(f"{source}: inputs of text or bags", expected="numbers: LiteRT takes no others")
    with TemporaryDirectory() as name:
        asked, answered = Path(name, "asked.npz"), Path(name, "answered.npz")
        arrays: Any = {key: np.asarray(column) for key, column in columns.items()}
        np.savez(asked, allow_pickle=False, **arrays)
        program = [python, "-I", str(Path(litert.__file__))]
        files = [str(source / NATIVE_NAME), str(folder / LITERT_NAME), str(asked), str(answered)]
        run_tool([*program, *files], mend="look whether LiteRT has every operator of the model")
        with np.load(answered, allow_pickle=False) as answers:
            missing = [field.name for field in signature.outputs if field.name not in answers]
            if missing:
                raise BadDataError(f"{source}: the SavedModel has no output {', '.join(missing)}")
            return {
                field.name: answers[field.name].reshape(-1, *field.shape).astype(field.dtype)
                for field in signature.outputs
            }


def _compare(
    form: Form, found: Outputs, reference: Outputs, labelled: Example | None, signature: Signature
) -> Comparison:
    rows = len(next(iter(reference.values())))
    difference = max(largest_difference(found[name], reference[name]) for name in reference)
    metrics: dict[str, float] = {}
    if labelled is not None:
        truth = example_outputs(labelled, signature, source="the labelled rows")
        metrics = _accuracy(found, truth) | {
            f"reference_{name}": value for name, value in _accuracy(reference, truth).items()
        }
    return Comparison(form=form, reference="onnx", rows=rows, largest_difference=difference, metrics=metrics)


def _accuracy(answers: Outputs, truth: Outputs) -> dict[str, float]:
    """Return how good answers are: AUC and log loss of probabilities, error of numbers, share of right labels."""
    metrics: dict[str, float] = {}
    for name, true in truth.items():
        found = answers[name]
        if true.dtype.kind != "f":
            metrics[f"{name}_accuracy"] = float(np.mean(found.astype(np.str_) == true.astype(np.str_)))
            continue
        rows = Scored.unweighted(found.astype(np.float64).ravel(), true.astype(np.float64).ravel())
        is_probability = set(np.unique(rows.labels)) <= {0.0, 1.0} and 0 <= rows.scores.min() <= rows.scores.max() <= 1
        names = ("AUC", "LOGISTIC_LOSS") if is_probability else ("RMSE",)
        task: str = "logistic" if is_probability else "linear"
        question = Question(parse_evaluators(names), task=task, kind="probability" if is_probability else "margin")
        metrics |= {f"{name}_{label}": value for label, value in evaluate(rows, question).metrics.items()}
    return metrics


def _packed(folder: Path, parent: Manifest, comparison: Comparison) -> Manifest:
    (folder / MANIFEST_NAME).unlink(missing_ok=True)
    own = comparison.form == "quantised-onnx"
    return pack(
        folder,
        flavour=parent.flavour,
        signature=parent.signature,
        lineage=msgspec.structs.replace(parent.lineage, parent=bundle_id(manifest_bytes(parent))),
        # What another form reached is not what this one reaches.
        metrics={} if own else parent.metrics,
        environment=parent.environment,
        created_at=parent.created_at,
        comparisons=(*parent.comparisons, comparison),
    )
