"""The output of a training run, small and real: a graph, its native form, signature, example and report."""

import datetime as dt
from collections.abc import Callable

import onnx
import onnx.parser

from yarnmill import fs
from yarnmill.bundle.manifest import Field, Signature
from yarnmill.records import canonical_json
from yarnmill.report import RunReport, write_report

GRAPH = """<ir_version: 9, opset_import: ["" : 19]>
rater (int64[N] user_id) => (float[N] probability) { probability = Cast <to = 1> (user_id) }"""
SIGNATURE = Signature(
    inputs=(Field(name="user_id", dtype="int64"),), outputs=(Field(name="probability", dtype="float32"),)
)
REPORT = RunReport(
    job="train_rater",
    run_id="run-1",
    fingerprint="f" * 64,
    state="succeeded",
    started_at=dt.datetime(2026, 1, 1, 12, 0, tzinfo=dt.UTC),
    finished_at=dt.datetime(2026, 1, 1, 12, 5, tzinfo=dt.UTC),
    exit_reason="finished",
    application_id="application_1_0001",
    inputs=("hdfs:///sets/movielens",),
    parameters={"epochs": "3", "notes": "x" * 10_000},
    metrics={"test_auc": 0.7512, "test_log_loss": 0.61},
)

Train = Callable[[str, RunReport], str]


def write_output(output: str, name: str, report: RunReport) -> None:
    """Leave what a training run leaves; the native form holds the name, so each name is another bundle."""
    fs.write_bytes(fs.join(output, "model.onnx"), onnx.parser.parse_model(GRAPH).SerializeToString())
    fs.write_bytes(fs.join(output, "native", "weights.pt"), name.encode())
    fs.write_bytes(fs.join(output, "signature.json"), canonical_json(SIGNATURE))
    fs.write_bytes(
        fs.join(output, "example.json"), b'{"inputs": {"user_id": [1, 2]}, "outputs": {"probability": [1.0, 2.0]}}'
    )
    write_report(output, report)
