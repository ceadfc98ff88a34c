"""The example programs as users run them: two workers on YARN, reading a training set from HDFS."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tony_py import client
from tony_py.loading import load_application
from yarnmill import fs
from yarnmill.bundle.example import parse_example
from yarnmill.bundle.manifest import Signature
from yarnmill.config import Config
from yarnmill.flavours.example import example_columns
from yarnmill.records import canonical_json, parse_json
from yarnmill.report import read_report
from yarnmill.trainingset import RECORD_NAME, Shard, TrainingSet, split_url

DIMENSION = 6
ROWS = {"train": 4000, "validation": 800, "test": 1200}
UNKNOWN = 10**15


def rows(split: str, seed: int) -> pa.Table:
    """Return rows whose response follows from their features, users and films."""
    generator = np.random.default_rng(seed)
    count = ROWS[split]
    user, film = generator.integers(1, 40, count), generator.integers(1, 300, count) * 7
    dense = np.concatenate([np.ones((count, 1)), generator.normal(size=(count, DIMENSION - 1))], axis=1)
    logit = 1.5 * dense[:, 1] - dense[:, 2] + np.sin(user) + np.cos(film)
    response = (generator.random(count) < 1 / (1 + np.exp(-logit))).astype(float)
    vectors = [{"indices": list(range(DIMENSION)), "values": row.tolist()} for row in dense]
    return pa.table(
        {
            "uid": np.arange(count),
            "response": response,
            "weight": np.ones(count),
            "offset": np.zeros(count),
            "ids": [{"user_id": int(u), "film_id": int(f)} for u, f in zip(user, film, strict=True)],
            "shards": pa.array(
                [{"global": vector} for vector in vectors],
                pa.struct({"global": pa.struct({"indices": pa.list_(pa.int32()), "values": pa.list_(pa.float64())})}),
            ),
        }
    )


def write_training_set(url: str) -> None:
    for seed, split in enumerate(ROWS):
        table = rows(split, seed)
        half = table.num_rows // 2
        for part in range(2):
            with fs.open_write(f"{split_url(url, split)}/part-{part}.parquet") as stream:
                pq.write_table(table.slice(part * half, half), stream)
    record = TrainingSet(
        response="response",
        keys={"user_id": "int64", "film_id": "int64"},
        features=(),
        shards=(Shard(name="global", features=(), dimension=DIMENSION, index_sha256="0" * 64),),
        rows=ROWS,
        inputs=(),
    )
    fs.write_bytes(fs.join(url, RECORD_NAME), canonical_json(record))


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_two_workers_train_and_export_a_graph_that_answers(
    framework: str, hdfs: str, training_python: Path, repository: Path, config: Config, tmp_path: Path
) -> None:
    write_training_set(f"{hdfs}/set")
    application = load_application(
        repository / "examples" / "movielens" / f"{framework}.yaml",
        [
            f"environment.python={training_python}",
            f"parameters.training_set={hdfs}/set",
            "parameters.epochs=4",
            "parameters.batch_size=64",
            f"output={hdfs}/output",
        ],
    )
    report, ran = client.run_application(application, config, print)
    assert ran
    assert [task.exit_code for task in report.tasks] == [0, 0]
    assert report.metrics["test_auc"] > 0.75
    assert read_report(f"{hdfs}/output") == report
    assert list(fs.walk_files(f"{hdfs}/output/native"))

    signature = parse_json(fs.read_bytes(f"{hdfs}/output/signature.json"), Signature, source="signature.json")
    model = tmp_path / "model.onnx"
    model.write_bytes(fs.read_bytes(f"{hdfs}/output/model.onnx"))
    session = onnxruntime.InferenceSession(model)
    assert [each.name for each in session.get_inputs()] == [field.name for field in signature.inputs]
    assert [each.name for each in session.get_outputs()] == ["probability"]

    source = f"{hdfs}/output/example.json"
    example = parse_example(fs.read_bytes(source), signature, source=source)
    assert example.rows == 8
    (answered,) = session.run(None, example_columns(example, signature, source=source))
    np.testing.assert_allclose(answered, example.outputs["probability"], atol=1e-5)

    test = rows("test", 2)
    ids = test["ids"].to_pylist()
    feed = {name: np.array([row[name] for row in ids]) for name in ("user_id", "film_id")}
    feed["global"] = np.array([row["global"]["values"] for row in test["shards"].to_pylist()], dtype=np.float32)
    (probability,) = session.run(None, feed)
    response = test["response"].to_numpy()
    log_loss = -np.mean(np.where(response > 0, np.log(probability), np.log1p(-probability)))
    # What the graph says is what the program measured in its own framework.
    assert log_loss == pytest.approx(report.metrics["test_log_loss"], abs=1e-5)

    known, unknown, other = (
        session.run(None, {**{k: v[:1] for k, v in feed.items()}, "user_id": np.array([user])})[0].item()
        for user in (feed["user_id"][0], UNKNOWN, -UNKNOWN)
    )
    assert unknown == other != known


def test_the_files_of_an_application_are_there(repository: Path) -> None:
    for framework in ("torch", "tensorflow"):
        application = load_application(repository / "examples" / "movielens" / f"{framework}.yaml")
        assert all(Path(name).is_file() for name in application.source)
        assert json.dumps(application.parameters)
