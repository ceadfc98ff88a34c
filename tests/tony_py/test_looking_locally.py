"""The commands that look at runs, over real runs of this machine."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tony_py.application import Application, Retries, TaskType, Timeouts
from tony_py.history import read_history
from tony_py.local import local_folder, run_local
from tony_py.status import RunStatus
from tony_py.viewing import Glance, Lines
from yarnmill.cli.main import run
from yarnmill.cli.tony import tony_py
from yarnmill.config import load_config
from yarnmill.records import parse_json
from yarnmill.report import read_report
from yarnmill.units import Seconds

pytestmark = pytest.mark.programs

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"home": str(tmp_path / "home")}))
    monkeypatch.setenv("YARNMILL_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.delenv("HADOOP_CONF_DIR", raising=False)
    return tmp_path


@pytest.fixture
def submit(home: Path) -> Callable[..., list[str]]:
    """Return a function that writes an application and returns the arguments that run it."""

    def arguments(command: str, *options: str, instances: int = 2) -> list[str]:
        application = {
            "name": "looked-at",
            "framework": "standalone",
            "types": {"worker": {"command": command, "instances": instances, "memory": "256 MiB"}},
            "timeouts": {"grace": "1 s"},
            "environment": {"python": sys.executable},
            "output": str(home / "output"),
        }
        (home / "app.yaml").write_text(yaml.safe_dump(application))
        return ["submit", str(home / "app.yaml"), "--local", *options]

    return arguments


def newest(capsys: Capture) -> dict[str, Any]:
    capsys.readouterr()
    assert run(tony_py, ["list", "--local", "--output", "json"]) == 0
    return dict(json.loads(capsys.readouterr().out)[0])


def test_lines_without_a_terminal_and_the_report_as_json_alone(
    submit: Callable[..., list[str]], capsys: Capture
) -> None:
    assert run(tony_py, submit("echo '{\"auc\": 0.7}' > $TONY_OUTPUT/metrics.json", "--output", "json")) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["metrics"] == {"auc": 0.7}
    for line in ("barrier generation 1: 2 tasks start", "finished worker:1 exit code 0", "succeeded all 2 tasks ended"):
        assert line in said.err
    assert run(tony_py, submit("echo '{\"auc\": 0.7}' > $TONY_OUTPUT/metrics.json")) == 0
    assert "up to date (local_" in capsys.readouterr().err


def test_a_failing_run_can_be_looked_at_from_all_sides(
    submit: Callable[..., list[str]], capsys: Capture, home: Path
) -> None:
    program = "echo here is $TONY_TASK_INDEX; [ $TONY_RANK = 0 ] || python3 -c 'raise ValueError(\"no such film\")'"
    assert run(tony_py, submit(program)) == 20
    assert "ValueError: no such film" in capsys.readouterr().err
    listed = newest(capsys)
    name = listed["application_id"]
    assert (listed["state"], listed["final_status"], listed["is_in_yarn"]) == ("FINISHED", "FAILED", False)
    for arguments, words in (
        (["status", name], ["looked-at: FINISHED, FAILED after", "worker:1", "failed 1", f"output: {home}/output"]),
        (["diagnose", name], ["failing task   worker:1, class user, exit code 1", "no such film", "retries.user"]),
        (["history", name], ["requested", "allocated", "registered", "barrier", "started", "exit_code 1", "programs"]),
        (["history", str(home / "output")], [name, "failed (user)"]),
        (["diagnose", str(home / "output")], ["worker:1: exit code 1"]),
        (["logs", name], ["worker:0 here is 0", "worker:1 here is 1", "worker:1 ValueError: no such film"]),
        (["logs", "--task", "worker:0", name], ["worker:0 here is 0"]),
        (["list", "--local"], [name, "FAILED"]),
    ):
        assert run(tony_py, arguments) == 0, arguments
        out = capsys.readouterr().out
        assert [word for word in words if word not in out] == [], (arguments, out)
        assert "worker:1" not in out or "--task" not in arguments


def test_every_answer_comes_as_json_too(submit: Callable[..., list[str]], capsys: Capture) -> None:
    assert run(tony_py, submit("sleep 0.1")) == 0
    name = newest(capsys)["application_id"]
    answers = {}
    for command in ("status", "history", "diagnose"):
        assert run(tony_py, [command, name, "--output", "json"]) == 0
        answers[command] = json.loads(capsys.readouterr().out)
    found = parse_json(json.dumps(answers["status"]["run"]).encode(), RunStatus, source="status")
    assert (found.phase, found.progress) == ("succeeded", 1.0)
    assert [(task.task, task.state, task.exit_code) for task in found.tasks] == [
        ("worker:0", "finished", 0),
        ("worker:1", "finished", 0),
    ]
    events = answers["history"]
    assert [event["event"] for event in events][:2] == ["submitted", "page"]
    assert events[-1]["event"] == "succeeded"
    ends = [event for event in events if event["event"] == "finished"]
    assert all(event["numbers"]["exit_code"] == 0 and event["numbers"]["peak_memory_mib"] > 0 for event in ends)
    assert all("http" not in event.get("detail", "") for event in events)  # addresses here hold the page's secret
    assert answers["diagnose"]["state"] == "succeeded"


def test_what_is_not_there_is_said(home: Path, capsys: Capture) -> None:
    for arguments in (
        ["status", "local_20260101000000_abcdef"],
        ["history", str(home / "nowhere")],
        ["diagnose", "local_20260101000000_abcdef"],
        ["logs", "local_20260101000000_abcdef"],
    ):
        assert run(tony_py, arguments) == 3, arguments
    assert "Traceback" not in capsys.readouterr().err
    for command in ("kill", "attach"):
        assert run(tony_py, [command, "local_20260101000000_abcdef"]) == 2


def processes_naming(text: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if text in command:
                found.append(command)
    return found


def test_in_a_terminal_a_table_shows_the_run_and_ctrl_c_ends_it(
    submit: Callable[..., list[str]], home: Path, terminal: Callable[..., Any]
) -> None:
    said = json.dumps({"step": 7, "progress": 0.5, "message": "half way"})
    shown = terminal(*submit(f"echo '{said}' > $TONY_PROGRESS_FILE; exec -a {home}/sleeper sleep 300"))
    assert shown.see("step 7, 50%, half way"), shown.text
    assert shown.see("task      state")
    assert shown.see("running")
    assert shown.see("http://127.0.0.1:"), shown.text  # the page
    shown.type(b"\x03")
    assert shown.wait(60) == 130, shown.text
    report = read_report(str(home / "output"))
    assert (report.state, report.exit_reason) == ("failed", "interrupted")
    deadline = time.monotonic() + 20
    while processes_naming(f"{home}/sleeper") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_naming(f"{home}/sleeper") == []


@pytest.fixture
def going_on(submit: Callable[..., list[str]], home: Path) -> Iterator[str]:
    """Yield a run that goes on in another process until a file stands in its way."""
    program = "i=0; until [ -e $STOP ]; do i=$((i+1)); echo line $i of $TONY_TASK_INDEX; sleep 0.2; done"
    arguments = submit(program, "--set", f"types.worker.env.STOP={home}/stop")
    command = [sys.executable, "-m", "yarnmill.cli.tony", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        name = process.stderr.readline().partition(":")[0]
        while "started" not in (line := process.stderr.readline()):
            assert line
        yield name
        (home / "stop").touch()
        process.stderr.read()
        assert process.wait(60) == 0


def test_logs_are_followed_while_they_are_written(going_on: str, home: Path, capsys: Capture) -> None:
    command = [sys.executable, "-m", "yarnmill.cli.tony", "logs", "-f", "--task", "worker:1", going_on]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        lines = [follower.stdout.readline() for _ in range(12)]
        assert lines[:2] == ["worker:1 line 1 of 1\n", "worker:1 line 2 of 1\n"]
        assert run(tony_py, ["status", going_on]) == 0
        assert "RUNNING" in capsys.readouterr().out
        (home / "stop").touch()
        rest = follower.stdout.read()
        assert follower.wait(60) == 0
    numbers = [int(line.split()[2]) for line in [*lines, *rest.splitlines()]]
    assert numbers == list(range(1, len(numbers) + 1))  # none twice, none left out


class Watching(Lines):
    """A view that keeps what it was shown."""

    wants_status = True

    def __init__(self) -> None:
        super().__init__(lambda _line: None)
        self.seen: list[RunStatus] = []

    def show(self, glance: Glance) -> None:
        super().show(glance)
        if glance.status is not None:
            self.seen.append(glance.status)


SERVER = "timeout 4 python3 -m http.server $TONY_SPARE_PORT --bind 127.0.0.1 2> /dev/null; exit 1"


def test_the_page_of_a_task_moves_along_when_the_task_starts_over(
    application: Callable[..., Application], home: Path
) -> None:
    kinds = {
        "worker": TaskType(command="sleep 9"),
        "board": TaskType(command=SERVER, role="untracked", page="Board"),
    }
    app = application(types=kinds, retries=Retries(user=5), timeouts=Timeouts(grace=Seconds(1.0)))
    view = Watching()
    assert run_local(app, load_config(), local_folder(load_config()), view=view).state == "succeeded"
    shown = [next((link.url for link in status.pages if link.title == "Board"), "") for status in view.seen]
    urls = list(dict.fromkeys(url for url in shown if url))
    assert len(urls) == 2, shown
    assert all(url.startswith("http://127.0.0.1:") for url in urls)
    assert home.exists()


def test_no_dashboard_no_page(application: Callable[..., Application], home: Path) -> None:
    view = Watching()
    report = run_local(application("true", dashboard=False), load_config(), local_folder(load_config()), view=view)
    assert report.state == "succeeded"
    events = read_history(f"{home}/output/history.jsonl")
    assert "page" not in [event.event for event in events]


def test_what_was_told_to_stop_says_what_it_used(application: Callable[..., Application], home: Path) -> None:
    kinds = {"worker": TaskType(command="sleep 1"), "board": TaskType(command="exec sleep 60", role="sidecar")}
    app = application(types=kinds, timeouts=Timeouts(grace=Seconds(1.0)))
    assert run_local(app, load_config(), local_folder(load_config())).state == "succeeded"
    events = {(event.event, event.task): event for event in read_history(f"{home}/output/history.jsonl")}
    stopped = events["stopped", "board:0"]
    assert stopped.numbers["exit_code"] == 143
    assert stopped.numbers["peak_memory_mib"] > 0
    assert stopped.container_id.startswith("container_")
    assert events["requested", "board:0"].attempt == 1
    assert ("allocated", "worker:0") in events
