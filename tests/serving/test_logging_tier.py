"""The prediction log of a running tier: stops, kills, a store that is not there, HDFS, and Spark as its reader."""

import datetime as dt
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from waiting import eventually

from yarnmill import fs
from yarnmill.predictions import SCHEMAS, Span, read_labelled, read_predictions

if TYPE_CHECKING:
    from conftest import Platform, Start
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.programs

ROW = {"user_id": 7, "features": [1.0, 2.0]}
LONG_AGO = Span(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))


def predict(url: str, session: str, rows: int = 1) -> requests.Response:
    body = {"instances": [ROW] * rows}
    return requests.post(f"{url}/v1/models/rater:predict", json=body, headers={"X-Session-Id": session}, timeout=10)


def label(url: str, session: str, value: float) -> int:
    labels = {"labels": [{"session_id": session, "row_id": 0, "label": value}]}
    return requests.post(f"{url}/v1/models/rater/feedback", json=labels, timeout=10).status_code


def logged(url: str) -> pa.Table:
    return pa.Table.from_batches(read_predictions(url, "rater", LONG_AGO), SCHEMAS["predictions"])


def counted(url: str, series: str) -> float:
    lines = requests.get(f"{url}/metrics", timeout=10).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))


def test_the_end_of_a_tier_writes_what_its_workers_have(
    platform: "Platform", start_tier: "Start", tmp_path: Path
) -> None:
    platform.deploy("rater", 0.5)
    sessions = {f"{number}" for number in range(60)}
    with start_tier("--workers", "2", "--set", f"serving.log.url={tmp_path}/log") as tier:
        for session in sessions:
            answer = predict(tier.url, session, rows=2)
            assert (answer.status_code, answer.headers["X-Session-Id"]) == (200, session)
        assert {label(tier.url, session, 1.0) for session in sessions} == {202}
        workers = tier.workers()
        assert not (tmp_path / "log").exists()  # it has time: five minutes
        before = time.monotonic()
    assert time.monotonic() - before < 10
    assert tier.process.returncode == 0
    assert "Traceback" not in tier.log.read_text()
    rows = logged(f"{tmp_path}/log")
    assert sorted(zip(rows["session_id"].to_pylist(), rows["row_id"].to_pylist(), strict=True)) == sorted(
        (session, row) for session in sessions for row in (0, 1)
    )
    labelled = read_labelled(f"{tmp_path}/log", "rater", LONG_AGO)
    assert labelled["label"].null_count == len(sessions)
    files = [path for path in (tmp_path / "log").rglob("*") if path.is_file()]
    assert all(file.suffix == ".parquet" and not file.name.startswith(".") for file in files)
    assert {int(file.name.split("-")[-3]) for file in files} <= set(workers)


@pytest.mark.parametrize("server", ["gunicorn"], indirect=True)
def test_a_killed_worker_leaves_no_part_of_a_file_to_be_seen(
    platform: "Platform", start_tier: "Start", tmp_path: Path
) -> None:
    platform.deploy("rater", 0.5)
    settings = (f"serving.log.url={tmp_path}/log", "serving.log.flush=0.1")
    with start_tier("--workers", "1", *(part for one in settings for part in ("--set", one))) as tier:
        answered = 0
        for _ in range(4):
            (worker,) = tier.workers()
            for _ in range(100):
                answered += predict(tier.url, "some").status_code == 200
            os.kill(worker, signal.SIGKILL)
            assert eventually(lambda worker=worker: tier.workers() not in ([worker], []))  # type: ignore[misc]
        assert predict(tier.url, "last").status_code == 200
    files = list((tmp_path / "log").rglob("*.parquet"))
    visible = [file for file in files if not file.name.startswith(".")]
    assert sum(pq.read_metadata(file).num_rows for file in visible) == logged(f"{tmp_path}/log").num_rows
    assert 1 < logged(f"{tmp_path}/log").num_rows <= answered + 1
    assert "last" in logged(f"{tmp_path}/log")["session_id"].to_pylist()


@pytest.mark.parametrize("server", ["gunicorn"], indirect=True)
def test_a_store_that_nobody_answers_for_holds_up_nothing(platform: "Platform", start_tier: "Start") -> None:
    platform.deploy("rater", 0.5)
    settings = ("serving.log.url=hdfs://127.0.0.1:1/log", "serving.log.flush=0.1", "serving.log.memory=1")
    with start_tier("--workers", "1", *(part for one in settings for part in ("--set", one))) as tier:
        assert predict(tier.url, "a").status_code == 200
        assert eventually(lambda: counted(tier.url, "yarnmill_log_failed_writes_total") > 1)
        slowest = 0.0
        with requests.Session() as session:
            for _ in range(1200):
                before = time.monotonic()
                assert session.post(f"{tier.url}/v1/models/rater:predict", json={"instances": [ROW]}).status_code == 200
                slowest = max(slowest, time.monotonic() - before)
        assert slowest < 1
        assert counted(tier.url, 'yarnmill_log_rows_total{outcome="dropped",table="predictions"}') > 100
        before = time.monotonic()
    assert time.monotonic() - before < 10
    assert tier.log.read_text().count("cannot be written") == 1
    assert "rows of predictions are lost: hdfs://127.0.0.1:1: no NameNode answers there" in tier.log.read_text()


@pytest.mark.parametrize("server", ["gunicorn"], indirect=True)
def test_the_log_on_hdfs_has_its_labels(platform: "Platform", start_tier: "Start", hdfs: str) -> None:
    platform.deploy("rater", 0.5)
    settings = (f"serving.log.url={hdfs}/log", "serving.log.flush=0.5")
    with start_tier("--workers", "2", *(part for one in settings for part in ("--set", one))) as tier:
        for number in range(20):
            assert predict(tier.url, f"{number}").status_code == 200
        assert label(tier.url, "3", 1.0) == 202
        assert eventually(lambda: counted(tier.url, 'yarnmill_log_rows_total{outcome="written"') == 21)
        during = read_labelled(f"{hdfs}/log", "rater", LONG_AGO)
        assert during.num_rows == 20
        predict(tier.url, "last")
        label(tier.url, "last", 0.0)
    rows = read_labelled(f"{hdfs}/log", "rater", LONG_AGO, columns=["session_id"]).to_pylist()
    labels = {row["session_id"]: row["label"] for row in rows}
    assert (len(rows), labels["3"], labels["last"], labels["4"]) == (21, 1.0, 0.0, None)
    assert all(file.name.endswith(".parquet") for file in fs.walk_files(f"{hdfs}/log"))


@pytest.mark.parametrize("server", ["gunicorn"], indirect=True)
def test_spark_reads_the_log(platform: "Platform", start_tier: "Start", tmp_path: Path, spark: "SparkSession") -> None:
    platform.deploy("rater", 0.5)
    with start_tier("--workers", "1", "--set", f"serving.log.url={tmp_path}/log") as tier:
        predict(tier.url, "a", rows=3)
        label(tier.url, "a", 1.0)
    answers = spark.read.parquet(f"file://{tmp_path}/log/predictions")
    types = dict(answers.dtypes)
    assert (types["time"], types["ds"], types["row_id"]) == ("timestamp", "date", "bigint")
    assert types["features"].startswith("struct<numbers:map<string,double>,integers:map<string,bigint>,texts:map<")
    labels = spark.read.parquet(f"file://{tmp_path}/log/labels").select("model", "session_id", "row_id", "label")
    joined = answers.join(labels, ["model", "session_id", "row_id"], "left").orderBy("row_id")
    wanted = joined.selectExpr(
        "label", "features.numbers['features[1]']", "features.integers['user_id']", "outputs.numbers['score']"
    )
    assert [tuple(row) for row in wanted.collect()] == [(1.0, 2.0, 7, 10.5), (None, 2.0, 7, 10.5), (None, 2.0, 7, 10.5)]
