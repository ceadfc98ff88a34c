"""Prediction jobs that Merlin's clients begin and stop, through a real tier and a real YARN."""

import datetime as dt
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from waiting import eventually

from yarnmill import fs, yarn
from yarnmill.records import canonical_json
from yarnmill.report import read_report
from yarnmill.trainingset import RECORD_NAME, FeatureColumn, Shard, TrainingSet, split_url

if TYPE_CHECKING:
    from conftest import Platform, Start

# A probability of an entity's id and of two features: what a training set has.
GRAPH = """<ir_version: 9, opset_import: ["" : 19]>
rater (int64[N] user_id, float[N, 2] features) => (float[N] score)
<int64[1] axes = {{1}}, float[1] bias = {{{bias}}}, float[1] divisor = {{{divisor}}}>
{{
    sum = ReduceSum <keepdims = 0> (features, axes)
    user = Cast <to = 1> (user_id)
    plain = Add (sum, user)
    shifted = Add (plain, bias)
    whole = Div (shifted, divisor)
    score = Sigmoid (whole)
}}"""
ROWS = 4
SMALL = ("spark.executors=1", "spark.executor_cores=1", "spark.executor_memory=512 MiB")
SMALL += ("spark.executor_memory_overhead=512 MiB", "spark.shuffle_partitions=1")


def write_rows(url: str) -> None:
    vectors = [{"indices": [0], "values": [float(row)]} for row in range(ROWS)]
    vector = pa.struct({"indices": pa.list_(pa.int32()), "values": pa.list_(pa.float64())})
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    table = pa.table(
        {
            "uid": pa.array(range(ROWS), pa.int64()),
            "event_time": pa.array([moment] * ROWS, pa.timestamp("us", "UTC")),
            "response": [0.0, 1.0] * (ROWS // 2),
            "weight": [1.0] * ROWS,
            "ids": pa.StructArray.from_arrays([pa.array([7] * ROWS, pa.int64())], ["user_id"]),
            "features": pa.StructArray.from_arrays([pa.array([1.5] * ROWS)], ["spent"]),
            "shards": pa.StructArray.from_arrays([pa.array(vectors, vector)], ["features"]),
        }
    )
    with fs.open_write(fs.join(split_url(url, "test"), "part-0.parquet")) as stream:
        pq.write_table(table, stream)
    record = TrainingSet(
        response="response",
        keys={"user_id": "int64"},
        features=(FeatureColumn(name="spent", dtype="float64", table="t.t", default=0.0),),
        shards=(Shard(name="features", features=("spent",), dimension=2, index_sha256="0"),),
        rows={"train": 0, "validation": 0, "test": ROWS},
        inputs=(),
    )
    fs.write_bytes(fs.join(url, RECORD_NAME), canonical_json(record))


@pytest.mark.parametrize("server", ["gunicorn"])
def test_a_job_is_begun_read_and_stopped(platform: "Platform", start_tier: "Start", hdfs: str) -> None:
    platform.publish("rater", -7.0, graph=GRAPH)
    write_rows(fs.join(hdfs, "default", "rows"))
    settings = (word for one in (*SMALL, f"serving.jobs.root={hdfs}") for word in ("--set", one))
    with start_tier("--control", "--workers", "2", *settings) as tier:
        address = f"{tier.url}/merlin/v1/models/1/versions/1/jobs"

        def begin(sink: str) -> str:
            job = {"gcs_source": {"uri": "rows"}, "gcs_sink": {"uri": sink}}
            made = requests.post(address, json={"config": {"job_config": job}}, timeout=60)
            assert made.status_code == 200, made.text
            return f"{address}/{made.json()['id']}"

        def look(job: str) -> dict[str, Any]:
            found: dict[str, Any] = requests.get(job, timeout=60).json()
            return found

        scored = begin("scores")
        assert eventually(lambda: look(scored)["status"] not in {"pending", "running"}, 300)
        ended = look(scored)
        assert (ended["status"], ended["error"]) == ("completed", "")
        report = read_report(fs.join(hdfs, "default", "scores"))
        assert ended["config"]["application_id"] == report.application_id
        assert report.counts["rows_rater"] == ROWS
        asked = {"cluster": "production", "namespace": "default", "component_type": "batch_job_driver"}
        asked |= {"model_id": "1", "version_id": "1", "prediction_job_id": scored.rpartition("/")[2]}
        # A node may still be bringing it, which is 503.
        assert eventually(lambda: requests.get(f"{tier.url}/merlin/v1/logs", asked, timeout=300).status_code == 200)
        assert "container_" in requests.get(f"{tier.url}/merlin/v1/logs", asked, timeout=300).text

        stopped = begin("others")
        assert eventually(lambda: look(stopped)["status"] != "pending")
        assert requests.put(f"{stopped}/stop", timeout=60).status_code == 204
        application_id = look(stopped)["config"]["application_id"]
        assert eventually(lambda: yarn.application(application_id).is_finished)
        assert yarn.application(application_id).state == "KILLED"
        assert look(stopped)["status"] == "terminated"
        assert not fs.exists(fs.join(hdfs, "default", "others", "report.json"))
