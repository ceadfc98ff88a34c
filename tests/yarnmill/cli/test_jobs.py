"""``yarnmill jobs`` as a user calls it, on a table small enough to see through, through a real YARN."""

import datetime as dt
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.job import JOBS
from jobs.output import attempt_url
from yarnmill import fs, yarn
from yarnmill.partitions import arrow_schema, write_partition
from yarnmill.records import render_yaml
from yarnmill.report import read_report
from yarnmill.tables import parse_feature_table, parse_observation_table, write_definition
from yarnmill.trainingset import read_training_set

pytestmark = pytest.mark.programs

DAY = dt.date(2026, 1, 31)
MOMENT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SALES = parse_observation_table(
    """
namespace: shop
name: sales
meaning: Sales.
uid: uid
event_time: at
response: bought
keys: [{name: client, dtype: int64, meaning: Who.}]
""",
    source="sales.yaml",
)
CLIENTS = parse_feature_table(
    """
namespace: shop
name: clients
meaning: Clients.
event_time: since
keys: [{name: client, dtype: int64, meaning: Who.}]
features: [{name: spent, dtype: float64, owner: me, meaning: Money., default: 0.0}]
""",
    source="clients.yaml",
)
SMALL = ["--set", "spark.executors=1", "--set", "spark.executor_cores=1", "--set", "spark.executor_memory=512 MiB"]
SMALL += ["--set", "spark.executor_memory_overhead=512 MiB", "--set", "spark.shuffle_partitions=1"]


def yarnmill(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "yarnmill.cli.main", "jobs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Job(msgspec.Struct, frozen=True):
    """A training set to make, of tables of its own."""

    root: str
    output: str
    file: Path
    home: Path

    def run(self, *more: str) -> subprocess.CompletedProcess[str]:
        return yarnmill("run", "build_training_set", "-f", str(self.file), "--home", str(self.home), *SMALL, *more)

    def write_sales(self, uids: Sequence[int]) -> None:
        """Write one sale a minute of two clients in turn; a file of another content has another name."""
        count = len(uids)
        times = [MOMENT + dt.timedelta(minutes=minute) for minute in range(count)]
        rows = {
            "uid": list(uids),
            "client": [uid % 2 for uid in uids],
            "at": times,
            "bought": [1.0, 0.0] * (count // 2),
        }
        table = pa.table(rows, schema=arrow_schema(SALES))
        write_partition(self.root, SALES, DAY, table, f"{sum(uids):064x}"[::-1])

    def partition(self, table: str) -> str:
        return fs.join(self.root, "shop", table, f"ds={DAY}")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return make(str(tmp_path), tmp_path)


@pytest.fixture
def job_on_hdfs(hdfs: str, tmp_path: Path) -> Job:
    return make(hdfs, tmp_path)


def make(root: str, tmp_path: Path) -> Job:
    made = Job(
        root=fs.join(root, "tables"), output=fs.join(root, "sets", "shop"), file=tmp_path / "job.yaml", home=tmp_path
    )
    write_definition(made.root, SALES)
    write_definition(made.root, CLIENTS)
    made.write_sales(range(8))
    spent = {"client": [0, 1], "since": [MOMENT, MOMENT], "spent": [1.5, 2.5]}
    write_partition(made.root, CLIENTS, DAY, pa.table(spent, schema=arrow_schema(CLIENTS)), "0" * 64)
    config: dict[str, Any] = {
        "output": made.output,
        "tables": made.root,
        "observations": "shop.sales",
        "features": ["shop.clients"],
        "split": {"by": "client", "train": 0.5, "validation": 0.25},
        "shards": [{"name": "all", "features": ["spent"]}],
    }
    made.file.write_text(render_yaml(config))
    return made


def write_without(job: Job, column: str) -> None:
    """Write the clients' partition without a column that their definition has."""
    url = next(file.url for file in fs.walk_files(job.partition("clients")) if file.name.endswith(".parquet"))
    with fs.open_read(url) as stream:
        table = pq.read_table(stream)
    with fs.open_write(url, overwrite=True) as stream:
        pq.write_table(table.drop_columns([column]), stream)


def test_what_is_wrong_with_the_tables_is_refused_before_anything_is_sent(hdfs: str, job_on_hdfs: Job) -> None:
    job = job_on_hdfs
    write_without(job, "spent")
    done = job.run()
    assert (done.returncode, done.stdout) == (21, "")
    assert "no column 'spent'" in done.stderr
    assert "shop.clients" in done.stderr
    assert "application_" not in done.stderr

    fs.delete(fs.join(job.partition("clients"), "_SUCCESS"))
    done = job.run()
    assert (done.returncode, done.stdout) == (21, "")
    assert f"{job.partition('clients')}: incomplete, it has no _SUCCESS" in done.stderr
    assert "application_" not in done.stderr

    fs.delete(job.partition("clients"))
    done = job.run()
    assert (done.returncode, done.stdout) == (3, "")
    assert "shop/clients: no partition" in done.stderr
    assert "application_" not in done.stderr
    assert not fs.exists(fs.join(hdfs, "sets"))


def test_a_plan_is_shell_or_a_record_and_sends_nothing(job: Job) -> None:
    shell = job.run("--plan").stdout
    assert "--deploy-mode cluster" in shell
    assert "spark.executor.memory=512m" in shell
    plan = json.loads(job.run("--plan", "--output", "json").stdout)
    assert (plan["job"], plan["output"]) == ("build_training_set", fs.as_url(job.output))
    assert not fs.exists(job.output)


def test_a_folder_of_somebody_else_is_refused_before_anything_is_sent(job: Job) -> None:
    fs.write_bytes(fs.join(job.output, "precious"), b"x")
    done = job.run()
    assert done.returncode == 4
    assert "files of somebody else" in done.stderr


def test_the_job_file_is_told_by_name_and_key(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    assert yarnmill("run", "score", "-f", str(file)).returncode == 3
    file.write_text("outptu: x\n")
    done = yarnmill("run", "score", "-f", str(file))
    assert done.returncode == 2
    assert f"{file}: outptu: unknown key" in done.stderr
    assert yarnmill("run", "scores", "-f", str(file)).returncode == 3


def test_the_list_names_every_job() -> None:
    listed = json.loads(yarnmill("list", "--output", "json").stdout)
    assert listed == JOBS
    assert {"build_training_set", "score", "train_glmix", "game_training", "game_scoring"} <= set(listed)
    assert "train_glmix" in yarnmill("list").stdout


def test_shipped_code_is_what_a_workflow_runs(tmp_path: Path) -> None:
    for _ in range(2):
        assert yarnmill("ship", str(tmp_path / "code")).returncode == 0
    assert [child.name for child in fs.children(str(tmp_path / "code"))] == ["entry.py", "yarnmill.zip"]


def applications_in(*texts: str) -> set[str]:
    return set(re.findall(r"application_\d+_\d+", "".join(texts)))


def test_a_job_on_yarn_succeeds_once_and_its_failure_gives_the_cause(hdfs: str, job_on_hdfs: Job) -> None:
    job = job_on_hdfs
    first = job.run("--output", "json")
    assert first.returncode == 0, first.stderr
    report = read_report(job.output)
    assert json.loads(first.stdout)["run_id"] == report.run_id
    assert report.counts["rows_train"] == 4
    assert applications_in(first.stderr) == {report.application_id}
    status = yarn.application(report.application_id)
    assert (status.final_status, report.run_id in status.tags) == ("SUCCEEDED", True)
    assert read_training_set(job.output).rows == {"train": 4, "validation": 2, "test": 2}
    assert [child.name for child in fs.children(fs.join(hdfs, "sets"))] == ["shop"]

    again = job.run()
    assert again.returncode == 0
    assert "up to date" in again.stderr
    assert applications_in(again.stderr) == set()
    assert read_report(job.output) == report

    job.write_sales([0, 1, 2, 3, 4, 5, 6, 6])
    failed = job.run()
    assert failed.returncode == 21
    assert "1 of 8 observations carry a uid that another carries" in failed.stderr
    assert "a uid that names one observation" in failed.stderr
    assert "Traceback" not in failed.stderr
    (application_id,) = applications_in(failed.stderr)
    status = yarn.application(application_id)
    assert status.final_status == "FAILED"
    run_id = next(tag for tag in status.tags if tag != "yarnmill")
    assert read_report(attempt_url(job.output, run_id)).application_id == application_id
    assert read_report(job.output) == report


def test_features_are_snapshotted_on_yarn_and_answer(job_on_hdfs: Job, hdfs: str) -> None:
    places = [f"storage.{name}={fs.join(hdfs, name)}" for name in ("tables", "runs", "blobs")]
    settings = ["--home", str(job_on_hdfs.home), *SMALL, *(word for place in places for word in ("--set", place))]
    command = [sys.executable, "-m", "yarnmill.cli.main", "features"]
    publish = [*command, "publish", "shop.clients", *settings]
    done = subprocess.run(publish, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "shop.clients: version 1 answers in production" in done.stdout
    again = subprocess.run(publish, capture_output=True, text=True, check=False)
    assert "snapshot_features: up to date" in again.stderr
    listed = subprocess.run(
        [*command, "ls", "--output", "json", *settings], capture_output=True, text=True, check=True
    ).stdout
    (only,) = json.loads(listed)
    assert (only["table"], only["version"], only["ds"], only["entities"]) == ("shop.clients", 1, DAY.isoformat(), 2)
