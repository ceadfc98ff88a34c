"""The scoring job on a small training set, with two small models in a blob store."""

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx.parser
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from examples import add_example
from jobs.entry import main
from jobs.failures import own_cause
from jobs.output import attempt_url
from jobs.score import Config, ScoredModel, inputs, run
from yarnmill import fs
from yarnmill.blobs import open_store
from yarnmill.bundle.manifest import Field, Lineage, Signature
from yarnmill.bundle.pack import pack
from yarnmill.bundle.store import fetch_bundle, put_bundle
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError
from yarnmill.flavours.open import open_predictor
from yarnmill.records import canonical_json
from yarnmill.report import read_report
from yarnmill.trainingset import RECORD_NAME, FeatureColumn, Shard, TrainingSet, split_url

ROWS = 50
# From a raw feature and a shard in its dense form; from an entity id alone.
BY_FEATURES = """<ir_version: 9, opset_import: ["" : 19]>
rater (float[N] year, float[N, 3] all) => (float[N] probability)
<int64[1] axes = {1}>
{
    sum = ReduceSum <keepdims = 0> (all, axes)
    both = Add (sum, year)
    probability = Sigmoid (both)
}"""
BY_USER = """<ir_version: 9, opset_import: ["" : 19]>
rater (int64[N] user) => (float[N] probability) <float[1] half = {0.5}>
{
    number = Cast <to = 1> (user)
    less = Sub (number, half)
    probability = Sigmoid (less)
}"""
OUTPUTS = (Field(name="probability", dtype="float32"),)


class Rows(msgspec.Struct, frozen=True):
    """What stands in the training set's test split."""

    users: np.ndarray
    years: np.ndarray
    dense: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


@pytest.fixture(scope="module")
def rows() -> Rows:
    random = np.random.default_rng(5)
    return Rows(
        users=random.integers(0, 3, ROWS),
        years=random.normal(size=ROWS),
        dense=np.where(random.random((ROWS, 3)) < 0.5, random.normal(size=(ROWS, 3)), 0.0),
        labels=random.integers(0, 2, ROWS).astype(np.float64),
        weights=random.uniform(0.5, 2.0, ROWS),
    )


@pytest.fixture(scope="module")
def training_set(rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> str:
    url = str(tmp_path_factory.mktemp("score") / "training_set")
    vectors = [{"indices": np.flatnonzero(row).tolist(), "values": row[row != 0].tolist()} for row in rows.dense]
    vector = pa.struct({"indices": pa.list_(pa.int32()), "values": pa.list_(pa.float64())})
    table = pa.table(
        {
            "uid": pa.array(range(ROWS), pa.int64()),
            "event_time": pa.array([dt.datetime(2026, 1, 1, tzinfo=dt.UTC)] * ROWS, pa.timestamp("us", "UTC")),
            "response": rows.labels,
            "weight": rows.weights,
            "ids": pa.StructArray.from_arrays([pa.array(rows.users)], ["user"]),
            "features": pa.StructArray.from_arrays([pa.array(rows.years)], ["year"]),
            "shards": pa.StructArray.from_arrays([pa.array(vectors, vector)], ["all"]),
        }
    )
    for split in ("validation", "test"):
        with fs.open_write(fs.join(split_url(url, split), "part-0.parquet")) as stream:
            pq.write_table(table, stream)
    record = TrainingSet(
        response="response",
        keys={"user": "int64"},
        features=(FeatureColumn(name="year", dtype="float64", table="t.t", default=0.0),),
        shards=(Shard(name="all", features=("year",), dimension=3, index_sha256="0"),),
        rows={"train": 0, "validation": ROWS, "test": ROWS},
        inputs=(),
    )
    fs.write_bytes(fs.join(url, RECORD_NAME), canonical_json(record))
    return url


@pytest.fixture
def blobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return (tmp_path / "blobs").as_uri()


def put(blobs: str, folder: Path, graph: str, *fields: Field) -> str:
    folder.mkdir()
    onnx.save(onnx.parser.parse_model(graph), folder / "model.onnx")
    signature = Signature(inputs=fields, outputs=OUTPUTS)
    add_example("onnx", folder, signature, {each.name: np.ones((1, *each.shape), each.dtype) for each in fields})
    manifest = pack(
        folder,
        flavour="onnx",
        signature=signature,
        lineage=Lineage(inputs=(), code_version="0", run_id="r", application_id="", configuration={}),
        metrics={},
        environment={},
        created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )
    return put_bundle(open_store(blobs), folder, manifest)


@pytest.fixture
def by_features(blobs: str, tmp_path: Path) -> str:
    fields = (Field(name="year", dtype="float32"), Field(name="all", dtype="float32", shape=(3,)))
    return put(blobs, tmp_path / "by_features", BY_FEATURES, *fields)


@pytest.fixture
def by_user(blobs: str, tmp_path: Path) -> str:
    return put(blobs, tmp_path / "by_user", BY_USER, Field(name="user", dtype="int64"))


@pytest.fixture
def config(training_set: str, blobs: str, by_features: str, by_user: str, tmp_path: Path) -> Config:
    models = (ScoredModel(name="features", bundle_id=by_features), ScoredModel(name="user", bundle_id=by_user))
    return Config(
        output=str(tmp_path / "scores"),
        training_set=training_set,
        blobs=blobs,
        models=models,
        evaluate_per=("user",),
    )


def replaced(config: Config, **changes: object) -> Config:
    return msgspec.structs.replace(config, **changes)


def test_scores_are_what_the_predictors_say_and_measured_as_written(
    spark: Any, config: Config, rows: Rows, tmp_path: Path
) -> None:
    outcome = run(spark, config)
    written = ds.dataset(config.output, partitioning="hive").to_table().to_pylist()
    asked = {
        "features": {"year": rows.years.astype(np.float32), "all": rows.dense.astype(np.float32)},
        "user": {"user": rows.users},
    }
    for model in config.models:
        folder = fetch_bundle(open_store(config.blobs), model.bundle_id, tmp_path / "mine")
        expected = open_predictor(folder).predict(asked[model.name])["probability"]
        found = {row["uid"]: row for row in written if row["model"] == model.name}
        assert sorted(found) == list(range(ROWS))
        np.testing.assert_array_equal([found[uid]["score"] for uid in range(ROWS)], expected.astype(np.float64))
        assert {row["bundle_id"] for row in found.values()} == {model.bundle_id}
        assert [found[uid]["response"] for uid in range(ROWS)] == rows.labels.tolist()

        losses = -np.log(np.where(rows.labels > 0.5, expected, 1 - expected.astype(np.float64)))
        assert outcome.metrics[f"{model.name}.log_loss"] == pytest.approx(
            np.average(losses, weights=rows.weights), rel=1e-6
        )
        auc = roc_auc_score(rows.labels, expected, sample_weight=rows.weights)
        assert outcome.metrics[f"{model.name}.auc"] == pytest.approx(auc)
        of_users = [
            np.average(losses[rows.users == user], weights=rows.weights[rows.users == user])
            for user in np.unique(rows.users)
        ]
        assert outcome.metrics[f"{model.name}.log_loss_per_user"] == pytest.approx(np.mean(of_users), rel=1e-6)
        assert outcome.counts[f"rows_{model.name}"] == ROWS


def test_an_entity_key_that_the_rows_lack_is_refused_before_sending(config: Config) -> None:
    with pytest.raises(ConfigurationError, match="film") as caught:
        inputs(replaced(config, evaluate_per=("film",)))
    assert "user" in caught.value.expected


def test_a_damaged_blob_fails_the_run_as_bad_data_and_is_named(
    spark: Any, config: Config, by_user: str, tmp_path: Path
) -> None:
    graph = (tmp_path / "by_user" / "model.onnx").read_bytes()
    files = (path for path in (tmp_path / "blobs").rglob("*") if path.is_file())
    blob = next(path for path in files if path.read_bytes().startswith(graph))
    blob.write_bytes(blob.read_bytes().replace(graph, graph[:-1] + b"\0"))
    only = replaced(config, models=(ScoredModel(name="user", bundle_id=by_user),))
    with pytest.raises(Exception, match="BadDataError") as caught:
        run(spark, replaced(only, output=str(tmp_path / "aside")))
    cause = own_cause(caught.value)
    assert isinstance(cause, BadDataError)
    assert blob.name in cause.what

    job_file = tmp_path / "job.json"
    job_file.write_bytes(canonical_json(only))
    assert main(["score", "--config", str(job_file), "--run-id", "r"]) == BadDataError.exit_code
    report = read_report(attempt_url(only.output, "r"))
    assert blob.name in report.exit_reason
    assert not fs.exists(only.output)


@pytest.mark.usefixtures("spark")
def test_a_run_under_its_hidden_name_measures_what_it_wrote(config: Config, tmp_path: Path) -> None:
    """Spark passes over hidden files; a hidden folder that is asked for by its name, it reads."""
    job_file = tmp_path / "job.json"
    job_file.write_bytes(canonical_json(replaced(config, splits=("validation", "test"))))
    assert main(["score", "--config", str(job_file), "--run-id", "r"]) == 0
    report = read_report(config.output)
    assert report.counts == {"rows_features": 2 * ROWS, "rows_user": 2 * ROWS}
    assert report.outputs == (f"{config.output}/model=features", f"{config.output}/model=user")
    assert all(fs.exists(url) for url in report.outputs)
    assert not fs.exists(fs.join(config.output, "_running.json"))


def test_a_damaged_manifest_is_refused_before_anything_starts(config: Config, by_user: str, tmp_path: Path) -> None:
    blob = next(path for path in (tmp_path / "blobs").rglob(by_user) if path.is_file())
    blob.write_bytes(blob.read_bytes()[:-1])
    with pytest.raises(BadDataError, match=by_user):
        inputs(config)


def test_the_training_set_is_what_a_run_reads(config: Config, training_set: str) -> None:
    assert inputs(config) == (f"file://{training_set}",)


def test_what_cannot_be_meant_is_refused_before_anything_starts(config: Config, blobs: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"splits: \['tests'\]"):
        inputs(replaced(config, splits=("tests",)))
    with pytest.raises(ConfigurationError, match="splits"):
        inputs(replaced(config, splits=()))
    with pytest.raises(ConfigurationError, match="none to score with"):
        inputs(replaced(config, models=()))
    with pytest.raises(ConfigurationError, match="a name stands twice"):
        inputs(replaced(config, models=(config.models[0], config.models[0])))
    with pytest.raises(NotFoundError, match=r"training_set\.json"):
        inputs(replaced(config, training_set=str(tmp_path / "nowhere")))
    with pytest.raises(NotFoundError, match="no blob"):
        inputs(replaced(config, models=(ScoredModel(name="m", bundle_id="0" * 64),)))

    strange = put(blobs, tmp_path / "strange", BY_USER.replace("user", "age"), Field(name="age", dtype="int64"))
    with pytest.raises(ConfigurationError, match="strange: its input 'age' is in no column of the rows"):
        inputs(replaced(config, models=(ScoredModel(name="strange", bundle_id=strange),)))
    wide = BY_FEATURES.replace("float[N, 3]", "float[N, 4]")
    fields = (Field(name="year", dtype="float32"), Field(name="all", dtype="float32", shape=(4,)))
    bundle_id = put(blobs, tmp_path / "wide", wide, *fields)
    with pytest.raises(ConfigurationError, match="the shard has 3 columns"):
        inputs(replaced(config, models=(ScoredModel(name="wide", bundle_id=bundle_id),)))
