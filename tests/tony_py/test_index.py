"""The index of runs, over local files and HDFS alike."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest

from tony_py.application import Application
from tony_py.history import Event
from tony_py.index import Index, RunEntry, ended, entry_of
from tony_py.packing import prepare
from yarnmill import fs
from yarnmill.report import RunReport

AT = dt.datetime(2026, 11, 25, 12, 0, tzinfo=dt.UTC)


def entry(application_id: str, *, name: str = "rater") -> RunEntry:
    return RunEntry(
        application_id=application_id,
        name=name,
        framework="torch",
        queue="gpu",
        user="ada",
        output="hdfs:///runs/rater",
        work="hdfs:///runs/.rater.0123",
        fingerprint="0123",
        submitted_at=AT,
    )


def test_records_are_kept_replaced_and_listed_from_the_newest(root: str) -> None:
    index = Index(f"{root}/runs/.tony_py")
    assert index.find("application_1_0001") is None
    assert list(index.newest()) == []
    for number in ("9998", "10000", "0001"):
        index.keep(entry(f"application_1700000000000_{number}"))
    index.keep(entry("application_1600000000000_99999"))
    later = entry("application_1700000000000_0001", name="replaced")
    index.keep(later)
    assert index.find(later.application_id) == later
    found = [each.application_id.removeprefix("application_") for each in index.newest()]
    assert found == ["1700000000000_10000", "1700000000000_9998", "1700000000000_0001", "1600000000000_99999"]
    known = {"application_1700000000000_10000"}
    assert next(index.newest(known)).application_id == "application_1700000000000_9998"


def test_histories_are_kept_and_what_is_there_is_not_rescued_again(root: str) -> None:
    index = Index(f"{root}/index")
    first, second = [Event(at=1.0, event="submitted", detail="a")], [Event(at=2.0, event="submitted", detail="a")]
    assert index.history("a") == []
    index.rescue("a", first)
    index.rescue("a", second)
    assert index.history("a") == first
    index.keep_history("a", second)
    assert index.history("a") == second
    assert list(index.newest()) == []  # a history alone is no record


def test_everybody_may_add_and_nobody_removes_anothers(root: str) -> None:
    index = Index(f"{root}/index")
    index.keep(entry("application_1_0001"))
    filesystem, path = fs.locate(index.url)
    if root.startswith("hdfs:"):
        assert filesystem.client.get_file_info(path).permission == 0o1777
    else:
        assert Path(path).stat().st_mode & 0o7777 == 0o1777


def test_a_run_outlives_an_index_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    lines: list[str] = []
    index = Index(f"{tmp_path}/file/index", lines.append)
    index.keep(entry("application_1_0001"))
    index.keep_history("application_1_0001", [])
    assert len(lines) == 2
    assert "not in the index of runs" in lines[0]
    nowhere = Index("")
    nowhere.keep(entry("application_1_0001"))
    assert nowhere.find("application_1_0001") is None
    assert list(nowhere.newest()) == []


def test_an_entry_says_what_a_report_says(
    application: Callable[..., Application], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    launch, _ = prepare(application(parameters={"rate": 0.5, "fast": True}))
    begun = entry_of(launch, "application_1_0001", AT)
    assert begun.parameters == {"rate": "0.5", "fast": "true"}
    assert begun.work == f"{tmp_path}/.output.{launch.fingerprint[:12]}"
    report = RunReport(
        job="test",
        run_id="application_1_0001",
        fingerprint=launch.fingerprint,
        state="failed",
        started_at=AT,
        finished_at=AT + dt.timedelta(seconds=5),
        exit_reason="x" * 10_000,
    )
    over = ended(begun, report)
    assert (over.state, over.finished_at, len(over.exit_reason)) == ("failed", report.finished_at, 500)
    assert ended(begun, report, killed=True).state == "killed"
