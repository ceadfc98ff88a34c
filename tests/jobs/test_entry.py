"""The program that spark-submit runs, called as it calls it, with a real job on a real session."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.build_training_set import Config
from jobs.entry import main
from jobs.failures import own_cause
from jobs.output import attempt_url
from yarnmill import fs
from yarnmill.errors import BadDataError
from yarnmill.records import canonical_json
from yarnmill.report import read_report
from yarnmill.trainingset import read_training_set

JOB = "build_training_set"


@pytest.fixture
def job_file(config: Config, tmp_path: Path) -> str:
    path = tmp_path / "job.json"
    path.write_bytes(canonical_json(config))
    return str(path)


@pytest.fixture
def sets(config: Config, tmp_path: Path) -> Path:
    """Return the folder that outputs stand in, alone."""
    assert config.output.startswith(f"file://{tmp_path}")
    return tmp_path / "sets"


@pytest.fixture
def cluster_by_default(spark: SparkSession) -> Iterator[None]:
    """Have Hadoop take a path without a scheme for one on a cluster, which here nobody answers for."""
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()  # noqa: SLF001  # PySpark has no other door to it
    before = hadoop.get("fs.defaultFS")
    hadoop.set("fs.defaultFS", "hdfs://localhost:1")
    yield
    hadoop.set("fs.defaultFS", before)


def entry(job_file: str, sets: Path, run_id: str, *more: str) -> int:
    return main([JOB, "--config", job_file, "--set", f"output={sets}/shop", "--run-id", run_id, *more])


def texts_below(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.rglob("*.json"))


@pytest.mark.usefixtures("spark")
def test_success_failure_and_success_again(
    shop: Any, job_file: str, sets: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = f"file://{sets}/shop"

    # A success shows the whole output at once, and no file of it knows the hidden name it was written under.
    assert entry(job_file, sets, "first") == 0
    report = read_report(output)
    assert (report.state, report.run_id, report.job) == ("succeeded", "first", JOB)
    assert report.counts["rows_train"] == 3
    assert report.outputs == (f"{output}/data", f"{output}/index")
    assert all(fs.exists(url) for url in report.outputs)
    assert report.parameters["output"] == output
    assert report.application_id
    assert ".shop." not in texts_below(sets)
    assert [path.name for path in sets.iterdir()] == ["shop"]

    # The same again does nothing and says so.
    capfd.readouterr()
    assert entry(job_file, sets, "again") == 0
    assert "up to date" in capfd.readouterr().out
    assert read_report(output) == report

    # Bad data fails with its own status; the report says why, and the earlier output is as it was.
    shop.write_visits([*shop.visits, shop.visits[0]])
    assert entry(job_file, sets, "bad", "--fingerprint", "of bad data") == BadDataError.exit_code
    assert "1 of 7 observations carry a uid that another carries" in capfd.readouterr().err
    failed = read_report(attempt_url(output, "bad"))
    assert (failed.state, failed.tasks[0].exit_code) == ("failed", BadDataError.exit_code)
    assert failed.exit_reason.startswith("1 of 7 observations")
    assert [path.name for path in (sets / ".shop.bad").iterdir()] == ["report.json"]
    assert read_report(output) == report
    assert sum(read_training_set(output).rows.values()) == 6

    # Mended data replaces it, and what the failure left is cleared away.
    shop.write_visits(shop.visits[:5])
    assert entry(job_file, sets, "mended", "--fingerprint", "of mended data") == 0
    assert sum(read_training_set(output).rows.values()) == 5
    assert [path.name for path in sets.iterdir()] == ["shop"]


@pytest.mark.usefixtures("shop", "cluster_by_default")
def test_a_plain_path_is_a_local_one_to_all_who_read_and_write(job_file: str, sets: Path) -> None:
    plain = Path(job_file).read_text().replace("file://", "")
    Path(job_file).write_text(plain)
    assert entry(job_file, sets, "run") == 0
    assert sum(read_training_set(str(sets / "shop")).rows.values()) == 6
    assert sorted(path.name for path in (sets / "shop" / "data").glob("split=*")) == [
        f"split={name}" for name in ("test", "train", "validation")
    ]


@pytest.mark.usefixtures("spark")
def test_an_error_that_nobody_foresaw_is_told_with_its_trace(
    shop: Any, job_file: str, sets: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # Named as Parquet, sound in its footer, cut in the middle: the first to notice is a task of Spark.
    part = next(Path(shop.root).glob("shop/visits/ds=*/*.parquet"))
    whole = part.read_bytes()
    part.write_bytes(whole[:4] + b"\xff" * 200 + whole[204:])
    assert entry(job_file, sets, "cut") == 1
    report = read_report(attempt_url(str(sets / "shop"), "cut"))
    assert (report.state, report.tasks[0].exit_code) == ("failed", 1)
    assert report.exit_reason
    assert "Traceback" in capfd.readouterr().err
    assert not (sets / "shop").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--set", "observations=shop.visit"], 3, "shop.visit: no such table"),
        (["--set", "outptu=x"], 2, "outptu"),
        (["--set", "output"], 2, "no key=value"),
        (["--set", "split={by: goods, train: 2}"], 2, "leave nothing to test"),
    ],
)
def test_what_is_wrong_before_the_start_ends_with_the_errors_own_status(
    job_file: str, sets: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, said: str
) -> None:
    assert entry(job_file, sets, "r", *arguments) == status
    assert said in capsys.readouterr().err
    assert not sets.exists()


def test_a_folder_of_somebody_else_is_refused(job_file: str, sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sets / "shop").mkdir(parents=True)
    (sets / "shop" / "precious").write_text("x")
    assert entry(job_file, sets, "r") == 4
    assert "files of somebody else" in capsys.readouterr().err
    assert [path.name for path in sets.rglob("*")] == ["shop", "precious"]


def test_an_output_left_aside_by_a_stopped_run_is_found_up_to_date(
    job_file: str, sets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped between the two renames: nothing is computed again."""
    aside = sets / ".shop.previous"
    aside.mkdir(parents=True)
    report = {
        "job": JOB,
        "run_id": "r",
        "fingerprint": "the same",
        "state": "succeeded",
        "started_at": "2026-01-01T00:00:00Z",
        "finished_at": "2026-01-01T00:00:01Z",
        "exit_reason": "",
    }
    (aside / "report.json").write_text(json.dumps(report))
    assert entry(job_file, sets, "next", "--fingerprint", "the same") == 0
    assert "up to date" in capsys.readouterr().out
    assert [path.name for path in sets.iterdir()] == ["shop"]


def test_an_error_of_the_platform_is_found_in_the_text_of_javas() -> None:
    text = (
        "Job aborted due to stage failure: Task 0 failed: org.apache.spark.api.python.PythonException: Traceback\n"
        '  File "x.py", line 1, in y\n'
        "yarnmill.errors.BadDataError: blob 12: damaged\n"
        "expected: a sound one\n"
        "to mend it: yarnmill blobs verify\n"
        "\tat org.apache.spark.api.python.BasePythonRunner.handlePythonException(PythonRunner.scala:1)"
    )
    cause = own_cause(RuntimeError(text))
    assert isinstance(cause, BadDataError)
    assert (cause.what, cause.expected, cause.mend) == ("blob 12: damaged", "a sound one", "yarnmill blobs verify")
    assert own_cause(RuntimeError("yarnmill.errors.ClassVar: no error of ours")) is None
    assert own_cause(BadDataError("itself")) is not None
