"""The act that shows a finished output, stopped at every point where it can be stopped."""

import datetime as dt
import subprocess
import sys
from typing import Literal

import msgspec
import pytest

from jobs.output import abandon, attempt_url, check_output, claim, kept_url, publish, restore
from jobs.running import Running, is_alive, running_here, write_mark
from yarnmill import fs
from yarnmill.errors import ConfigurationError, ConflictError
from yarnmill.report import RunReport, find_finished, read_report

JOB = "score"
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def report(run_id: str, *, job: str = JOB, state: Literal["succeeded", "failed"] = "succeeded") -> RunReport:
    return RunReport(
        job=job,
        run_id=run_id,
        fingerprint=f"of {run_id}",
        state=state,
        started_at=NOW,
        finished_at=NOW,
        exit_reason="",
    )


def finished(output: str, run_id: str, job: str = JOB) -> None:
    """Leave the output of a whole run, its one file named by the run."""
    folder = claim(output, job, run_id)
    fs.write_bytes(fs.join(folder, f"part-{run_id}"), b"")
    publish(output, report(run_id, job=job))


def interrupted(output: str, run_id: str, job: str = JOB) -> str:
    """Leave what a run leaves whose process was killed."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder = attempt_url(output, run_id)
    write_mark(folder, msgspec.structs.replace(running_here(job, run_id), pid=ended.pid))
    fs.write_bytes(fs.join(folder, f"part-{run_id}"), b"")
    return folder


def names(url: str) -> list[str]:
    return [child.name for child in fs.children(url)]


@pytest.fixture
def output(root: str) -> str:
    return fs.join(root, "runs", "scores")


@pytest.fixture
def runs(root: str) -> str:
    return fs.join(root, "runs")


def test_a_run_is_seen_when_it_is_whole_and_replaces_the_earlier_one(output: str, runs: str) -> None:
    folder = claim(output, JOB, "1")
    fs.write_bytes(fs.join(folder, "part-1"), b"")
    assert not fs.exists(output)
    publish(output, report("1"))
    assert names(output) == ["part-1", "report.json"]
    folder = claim(output, JOB, "2")
    assert names(output) == ["part-1", "report.json"]
    fs.write_bytes(fs.join(folder, "part-2"), b"")
    publish(output, report("2"))
    assert names(output) == ["part-2", "report.json"]
    assert names(runs) == ["scores"]
    assert find_finished(output, "of 2") is not None


def test_a_failed_run_leaves_its_report_and_the_earlier_output(output: str, runs: str) -> None:
    finished(output, "1")
    fs.write_bytes(fs.join(claim(output, JOB, "2"), "half"), b"")
    abandon(output, report("2", state="failed"))
    assert names(output) == ["part-1", "report.json"]
    assert names(attempt_url(output, "2")) == ["report.json"]
    assert read_report(attempt_url(output, "2")).state == "failed"
    finished(output, "3")
    assert names(runs) == ["scores"]


def test_the_first_success_clears_away_the_dead_and_nothing_else(output: str, runs: str) -> None:
    interrupted(output, "dead")
    strange = [".scores.notes", ".scores.x.tmp", ".scores2.dead", ".other.dead", "scores.dead"]
    for name in strange:
        fs.write_bytes(fs.join(runs, name, "precious"), b"")
    interrupted(output, "of_another_job", job="train_glmix")
    finished(output, "1")
    assert names(runs) == sorted([*strange, "scores", ".scores.of_another_job"])


def test_stopped_between_the_two_renames_the_earlier_output_comes_back(output: str, runs: str) -> None:
    finished(output, "1")
    fs.rename(output, fs.join(runs, ".scores.previous"))
    restore(output, "train_glmix")
    assert not fs.exists(output)
    restore(output, JOB)
    assert names(output) == ["part-1", "report.json"]

    fs.rename(output, fs.join(runs, ".scores.previous"))
    claim(output, JOB, "2")
    assert names(output) == ["part-1", "report.json"]


def test_stopped_before_the_earlier_output_was_deleted_the_new_one_counts(output: str, runs: str) -> None:
    finished(output, "1")
    fs.rename(output, fs.join(runs, ".scores.previous"))
    finished(fs.join(runs, "elsewhere"), "2")
    fs.rename(fs.join(runs, "elsewhere"), output)
    restore(output, JOB)
    assert names(output) == ["part-2", "report.json"]
    finished(output, "3")
    assert names(output) == ["part-3", "report.json"]
    assert names(runs) == ["scores"]


def test_a_reader_that_restores_between_the_two_renames_does_not_stop_the_writer(
    output: str, runs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(output, "1")
    claim(output, JOB, "2")
    rename, restored = fs.rename, []

    def rename_and_be_disturbed(source: str, target: str, *, overwrite: bool = False) -> None:
        rename(source, target, overwrite=overwrite)
        if target.endswith(".previous") and not restored:
            restored.append(target)
            restore(output, JOB)

    monkeypatch.setattr(fs, "rename", rename_and_be_disturbed)
    publish(output, report("2"))
    assert restored
    assert read_report(output).run_id == "2"
    assert names(runs) == ["scores"]


def test_of_two_runs_at_once_the_second_is_refused(output: str) -> None:
    first = claim(output, JOB, "1")
    with pytest.raises(ConflictError, match="another run of score is at work there, process"):
        claim(output, JOB, "2")
    assert not fs.exists(attempt_url(output, "2"))
    with pytest.raises(ConflictError, match="runs under the same id, 1"):
        claim(output, JOB, "1")
    assert names(first) == ["_running.json"]
    publish(output, report("1"))
    claim(output, JOB, "2")


def test_a_dead_run_may_be_started_again_under_its_id(output: str) -> None:
    assert names(interrupted(output, "1")) == ["_running.json", "part-1"]
    assert names(claim(output, JOB, "1")) == ["_running.json"]


def test_a_folder_of_somebody_else_is_never_touched(output: str, runs: str) -> None:
    fs.write_bytes(fs.join(output, "precious"), b"x")
    with pytest.raises(ConflictError, match="files of somebody else"):
        claim(output, JOB, "1")
    finished(fs.join(runs, "model"), "1", job="train_glmix")
    with pytest.raises(ConflictError, match="the output of train_glmix"):
        check_output(fs.join(runs, "model"), JOB)
    fs.write_bytes(fs.join(runs, "file"), b"x")
    with pytest.raises(ConflictError, match="a file"):
        check_output(fs.join(runs, "file"), JOB)
    fs.write_bytes(fs.join(attempt_url(fs.join(runs, "new"), "1"), "precious"), b"x")
    with pytest.raises(ConflictError, match="files of somebody else"):
        claim(fs.join(runs, "new"), JOB, "1")
    assert fs.read_bytes(fs.join(output, "precious")) == b"x"


def test_what_appears_in_the_outputs_place_meanwhile_is_kept(output: str) -> None:
    claim(output, JOB, "1")
    fs.write_bytes(fs.join(output, "precious"), b"x")
    with pytest.raises(ConflictError, match="files of somebody else"):
        publish(output, report("1"))
    assert names(output) == ["precious"]


def test_an_empty_folder_is_taken(output: str) -> None:
    fs.make_folder(output)
    finished(output, "1")
    assert names(output) == ["part-1", "report.json"]


@pytest.mark.parametrize("run_id", ["", "previous", "a/b", "a.b"])
def test_an_id_that_would_mix_names_up_is_refused(run_id: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot name a run"):
        attempt_url("hdfs:///runs/a", run_id)


def test_a_run_that_cannot_be_asked_after_counts_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HADOOP_CONF_DIR", raising=False)
    me = running_here(JOB, "1")
    assert is_alive(Running(job=JOB, run_id="2", host="far-away", pid=1), me)
    assert is_alive(Running(job=JOB, run_id="2", host=me.host, pid=1), me)
    assert is_alive(Running(job=JOB, run_id="2", application_id="application_1_0001"), me)


def test_an_earlier_attempt_of_ones_own_application_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINER_ID", "container_e17_1700000000000_0042_02_000001")
    me = running_here(JOB, "1")
    assert me.application_id == "application_1700000000000_0042"
    assert not is_alive(msgspec.structs.replace(me, run_id="0", host="far-away"), me)


@pytest.mark.usefixtures("cluster")
def test_yarn_says_that_an_application_it_does_not_know_is_over() -> None:
    me = running_here(JOB, "1")
    assert not is_alive(Running(job=JOB, run_id="2", application_id="application_1_0001"), me)


def test_what_is_kept_outlives_runs_that_fail_and_goes_when_one_succeeds(output: str, runs: str) -> None:
    first = claim(output, JOB, "first")
    fs.write_bytes(fs.join(kept_url(first, JOB), "trial"), b"1")
    abandon(output, report("first", state="failed"))
    interrupted(output, "second")
    third = claim(output, JOB, "third")
    assert kept_url(third, JOB) == kept_url(output, JOB) == fs.join(runs, ".scores.kept")
    assert fs.read_bytes(fs.join(kept_url(third, JOB), "trial")) == b"1"
    publish(output, report("third"))
    assert names(runs) == ["scores"]


def test_what_another_job_keeps_is_left_alone(output: str) -> None:
    kept = kept_url(output, "train_glmix")
    finished(output, "first")
    assert fs.exists(kept)


def test_no_run_is_named_as_the_kept_folder(output: str) -> None:
    with pytest.raises(ConfigurationError):
        attempt_url(output, "kept")
