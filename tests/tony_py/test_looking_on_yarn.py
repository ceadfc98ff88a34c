"""The commands that look at runs, and the page, over real applications of the real cluster."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import requests
import yaml
from waiting import eventually

from tony_py.client import kill
from tony_py.history import Event, read_history
from tony_py.index import Index, RunEntry
from tony_py.live import live_status, page_url
from yarnmill import fs, yarn
from yarnmill.cli.main import run
from yarnmill.cli.tony import tony_py
from yarnmill.errors import YarnMillError
from yarnmill.report import read_report

Capture = pytest.CaptureFixture[str]
Submit = Callable[..., str]

LOOP = (
    "i=0; while true; do i=$((i+1)); echo line $i of $TONY_TASK_INDEX; "
    "echo '{\"step\": '$i'}' > $TONY_PROGRESS_FILE; sleep 0.5; done"
)


@pytest.fixture
def index(hdfs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """Return the index of a platform whose runs stand in the test's own folder."""
    config = {"home": str(tmp_path / "home"), "storage": {"runs": f"{hdfs}/runs"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("YARNMILL_CONFIG", str(tmp_path / "config.yaml"))
    return Index(f"{hdfs}/runs/.tony_py")


@pytest.fixture
def application(hdfs: str, tmp_path: Path, index: Index) -> Callable[..., str]:  # noqa: ARG001  # sets the configuration
    """Return a function that writes an application and returns its file."""

    def write(command: str, *, types: dict[str, Any] | None = None, **changes: Any) -> str:
        plain = {
            "name": "looked-at",
            "framework": "standalone",
            "types": {"worker": {"command": command, "instances": 2, "memory": "256 MiB"}, **(types or {})},
            "timeouts": {"grace": "2 s"},
            "environment": {"python": sys.executable},
            "output": f"{hdfs}/output",
            **changes,
        }
        path = tmp_path / "app.yaml"
        path.write_text(yaml.safe_dump(plain))
        return str(path)

    return write


@pytest.fixture
def detached(application: Callable[..., str], capsys: Capture) -> Any:
    """Yield a function that sends an application, waits until its programs run, and returns its id."""
    sent: list[str] = []

    def submit(command: str, **changes: Any) -> str:
        assert run(tony_py, ["submit", application(command, **changes), "--detach", "--output", "json"]) == 0
        sent.append(json.loads(capsys.readouterr().out)["application_id"])
        assert eventually(lambda: is_running(sent[-1]), 180)
        return sent[-1]

    yield submit
    for each in sent:
        with suppress(YarnMillError):
            kill(each)


def is_running(application_id: str) -> bool:
    status = live_status(yarn.application(application_id))
    return status is not None and bool(status.tasks) and all(task.state == "running" for task in status.tasks)


def get(url: str) -> requests.Response:
    return yarn.fetch(url)


def test_the_pages_of_a_running_application(detached: Submit) -> None:
    serve = {"command": "exec python -m http.server $TONY_SPARE_PORT", "role": "sidecar", "page": "Files"}
    application_id = detached(LOOP, types={"files": {**serve, "memory": "256 MiB"}})

    tracking_url = yarn.application(application_id).tracking_url
    overview = get(tracking_url)
    assert (overview.status_code, "./pages/tony_py/" in overview.text) == (200, True)
    page = get(page_url(tracking_url))
    assert page.status_code == 200
    assert "<h1>looked-at</h1>" in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "TONY_TOKEN" not in page.text
    assert eventually(lambda: any(link.title == "Files" for link in status_of(application_id).pages), 30)
    (files,) = [link for link in status_of(application_id).pages if link.title == "Files"]
    assert "Directory listing for /" in get(files.url).text
    assert files.url == urljoin(tracking_url, "pages/files/")
    tasks = {task.task: task for task in status_of(application_id).tasks}
    assert set(tasks) == {"worker:0", "worker:1", "files:0"}
    assert all(task.container_id.startswith("container_") for task in tasks.values())
    assert eventually(
        lambda: all(t.step and t.usage.memory_mib for t in status_of(application_id).tasks if t.role == "worker"), 30
    )


def test_attached_detached_killed_and_its_logs_meanwhile(
    detached: Submit, hdfs: str, index: Index, terminal: Callable[..., Any], capsys: Capture
) -> None:
    application_id = detached(LOOP)
    command = [sys.executable, "-m", "yarnmill.cli.tony", "logs", "-f", "--task", "worker:1", application_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        lines = [follower.stdout.readline() for _ in range(10)]
        leave(terminal("attach", application_id), application_id)
        assert not yarn.application(application_id).is_finished
        assert run(tony_py, ["status", application_id]) == 0
        assert "worker:1  running" in capsys.readouterr().out
        stay_then_kill(terminal("attach", application_id))
        rest = follower.stdout.read()
        assert follower.wait(120) == 0
    numbers = [int(line.split()[2]) for line in [*lines, *rest.splitlines()]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))  # none twice, none left out
    assert yarn.application(application_id).state == "KILLED"
    check_traces_of_a_killed(application_id, hdfs, index)
    assert run(tony_py, ["diagnose", application_id]) == 0
    out = capsys.readouterr().out
    assert "state          killed" in out
    assert "killed by user" in out
    assert run(tony_py, ["logs", "--task", "worker:0", application_id]) == 0
    assert "line 1 of 0" in capsys.readouterr().out


def leave(shown: Any, application_id: str) -> None:
    """Look at the table, press Ctrl-C, and detach."""
    assert shown.see("step"), shown.text
    shown.type(b"\x03")
    assert shown.see("[d]etach"), shown.text
    shown.type(b"d\n")
    assert shown.wait(60) == 130
    assert f"tony_py attach {application_id}" in shown.text


def stay_then_kill(shown: Any) -> None:
    """Press Ctrl-C and stay; then press it twice."""
    assert shown.see("step"), shown.text
    shown.type(b"\x03")
    assert shown.see("[d]etach"), shown.text
    before = len(shown.text)
    shown.type(b"\n")
    assert shown.see("step", after=before), shown.text
    before = len(shown.text)
    shown.type(b"\x03")
    assert shown.see("[d]etach", after=before), shown.text
    shown.type(b"\x03")
    assert shown.wait(120) == 130, shown.text


def check_traces_of_a_killed(application_id: str, hdfs: str, index: Index) -> None:
    report = read_report(f"{hdfs}/output")
    assert (report.state, report.application_id) == ("failed", application_id)
    assert "killed by user" in report.exit_reason
    events = read_history(f"{hdfs}/output/history.jsonl")
    assert events[-1].event == "killed"
    assert index.history(application_id) == events
    entry = index.find(application_id)
    assert entry is not None
    assert entry.state == "killed"


def status_of(application_id: str) -> Any:
    found = live_status(yarn.application(application_id))
    assert found is not None
    return found


def test_a_failing_application_keeps_its_history_and_its_cause(
    application: Callable[..., str], index: Index, hdfs: str, capsys: Capture
) -> None:
    program = "[ $TONY_RANK = 0 ] && exec sleep 100; python -c 'raise ValueError(\"no such film\")'"
    file = application(program, retries={"user": 1}, restart="gang")
    assert run(tony_py, ["submit", file]) == 20
    assert "no such film" in capsys.readouterr().err
    application_id = read_report(f"{hdfs}/output").application_id
    events = read_history(f"{hdfs}/output/history.jsonl")
    assert index.history(application_id) == events
    names = [event.event for event in events]
    assert {"requested", "allocated", "registered", "barrier", "started", "finished", "restart", "failed"} <= set(names)
    failed = next(event for event in events if event.event == "finished" and event.task == "worker:1")
    assert failed.numbers["exit_code"] == 1
    assert failed.numbers["peak_memory_mib"] > 0
    assert failed.numbers["memory_limit_mib"] == 256
    assert failed.container_id.startswith("container_")
    assert run(tony_py, ["diagnose", application_id, "--output", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["task"], found["kind"], found["exit_code"]) == ("failed", "worker:1", "user", 1)
    assert found["traceback"].endswith("ValueError: no such film")
    assert found["restarts_by_class"] == {"user": 1}
    # The next run of the same thing fails too, and takes nothing of the first away.
    assert run(tony_py, ["submit", file]) == 20
    again = read_report(f"{hdfs}/output").application_id
    assert again != application_id
    assert index.history(application_id) == events
    capsys.readouterr()
    assert run(tony_py, ["history", f"{hdfs}/output"]) == 0
    assert again in capsys.readouterr().out


def test_an_application_that_yarn_forgot_is_found_by_the_index(
    index: Index, hdfs: str, capsys: Capture, application: Callable[..., str]
) -> None:
    assert run(tony_py, ["submit", application("true")]) == 0
    known = read_report(f"{hdfs}/output").application_id
    entry = index.find(known)
    assert entry is not None
    assert (entry.state, entry.exit_reason) == ("succeeded", "all 2 tasks ended well")
    # The same under an id that the ResourceManager does not know (any more).
    forgotten = "application_1500000000000_0001"
    events = index.history(known)
    assert events[-1].event == "succeeded"
    index.keep(
        RunEntry(**{**{name: getattr(entry, name) for name in RunEntry.__struct_fields__}, "application_id": forgotten})
    )
    first = Event(at=events[0].at, event="submitted", detail=forgotten, numbers=events[0].numbers)
    index.keep_history(forgotten, [first, *events[1:]])
    capsys.readouterr()
    for arguments, words in (
        (["status", forgotten], ["looked-at: FINISHED, SUCCEEDED", "worker:1", "finished"]),
        (["history", forgotten], ["barrier", "exit_code 0"]),
        (["diagnose", forgotten], ["state          succeeded"]),
        (["list"], [forgotten, known]),
    ):
        assert run(tony_py, arguments) == 0, arguments
        out = capsys.readouterr().out
        assert [word for word in words if word not in out] == [], out
    assert run(tony_py, ["attach", known]) == 0
    assert run(tony_py, ["status", "application_1500000000000_0002"]) == 3
    fs.delete(index.url)
    assert run(tony_py, ["status", known]) == 0  # YARN remembers


def test_without_a_terminal_an_interrupt_kills(application: Callable[..., str], hdfs: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "yarnmill.cli.tony", "submit", application("sleep 300")]
    with (
        (tmp_path / "err").open("w") as err,
        subprocess.Popen(command, stderr=err, stdout=subprocess.DEVNULL) as process,
    ):
        assert eventually(lambda: "started worker:1" in (tmp_path / "err").read_text(), 180)
        process.send_signal(2)
        assert process.wait(120) == 130
    said = (tmp_path / "err").read_text()
    assert "interrupted, killing it" in said
    report = read_report(f"{hdfs}/output")
    assert yarn.application(report.application_id).state == "KILLED"
