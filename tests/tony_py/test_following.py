"""Whoever follows an application outlasts a ResourceManager that is away for a while."""

import datetime as dt
import json
import signal
import socket
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tony_py import following
from tony_py.history import Event
from tony_py.index import Index, RunEntry
from tony_py.viewing import Decision, Glance, Lines
from yarnmill.errors import ClusterUnavailableError, ConfigurationError

APPLICATION = {
    "app": {"id": "application_1_0001", "name": "rater", "state": "RUNNING", "progress": 50.0, "startedTime": 1}
}


class ResourceManager(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(APPLICATION).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """Return the address of a ResourceManager that does not run."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        host, port = held.getsockname()
    value = f"<name>yarn.resourcemanager.webapp.address</name><value>{host}:{port}</value>"
    (tmp_path / "yarn-site.xml").write_text(f"<configuration><property>{value}</property></configuration>")
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    return host, port


@pytest.mark.slow
def test_a_resource_manager_that_comes_back_is_waited_for(address: tuple[str, int]) -> None:
    said: list[str] = []

    def come_back() -> None:
        time.sleep(1.5)
        with HTTPServer(address, ResourceManager) as server:
            server.handle_request()

    thread = Thread(target=come_back)
    thread.start()
    found = following._ask_yarn("application_1_0001", Lines(said.append))  # noqa: SLF001  # the patience is here
    thread.join()
    assert (found.state, found.progress) == ("RUNNING", 0.5)
    assert len(said) == 1
    assert "does not answer" in said[0]


@pytest.mark.slow
def test_patience_has_an_end_that_says_how_to_come_back(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert address
    monkeypatch.setattr(following, "_PATIENCE_S", 1.0)
    with pytest.raises(ClusterUnavailableError) as error:
        following._ask_yarn("application_1_0001", Lines(lambda _line: None))  # noqa: SLF001
    assert "tony_py attach application_1_0001" in error.value.mend


def entry_in(folder: Path) -> RunEntry:
    return RunEntry(
        application_id="application_1_0001",
        name="rater",
        framework="torch",
        queue="default",
        user="ann",
        output=str(folder / "output"),
        work=str(folder / "work"),
        fingerprint="",
        submitted_at=dt.datetime.now(dt.UTC),
    )


class Interrupting:
    """Sends Ctrl-C as it is finalised, where Python can only say that it was ignored."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


class Detaching(Lines):
    def show(self, glance: Glance) -> None:
        super().show(glance)
        Interrupting()

    def interrupted(self) -> Decision:
        return "detach"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_cannot_pass_on_is_heard(address: tuple[str, int], tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with HTTPServer(address, ResourceManager) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(following.DetachedError):
            following.follow(entry_in(tmp_path), Detaching(lambda _line: None), Index(""), pytest.fail)
        thread.join()
    assert signal.getsignal(signal.SIGINT) is before


class SecuredResourceManager(ResourceManager):
    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", "Negotiate")
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_a_ticket_that_has_expired_ends_the_look_and_not_the_run(
    address: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path}/none")
    monkeypatch.delenv("KRB5_CLIENT_KTNAME", raising=False)
    entry = entry_in(tmp_path)
    with HTTPServer(address, SecuredResourceManager) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(ConfigurationError, match="no valid Kerberos ticket") as error:
            following.follow(entry, Lines(lambda _line: None), Index(""), pytest.fail)
        thread.join()
    assert error.value.mend.startswith("kinit")
    assert error.value.mend.endswith("the application goes on: tony_py attach application_1_0001")


def test_lines_are_said_once() -> None:
    said: list[str] = []
    lines = Lines(said.append)
    events = [Event(at=1.0, event="submitted", detail="a"), Event(at=2.0, event="started", task="worker:0")]
    lines.show(Glance("a", "ACCEPTED", [], None))
    lines.show(Glance("a", "RUNNING", events[:1], None))
    lines.show(Glance("a", "RUNNING", [], None))  # the history is being replaced right now
    lines.show(Glance("a", "RUNNING", events, None))
    last = Event(at=3.0, event="failed", task="worker:0", detail="exit code 1\nTraceback: ...")
    lines.show(Glance("a", "FINISHED", [*events, last], None))
    assert said == [
        "a: ACCEPTED",
        "a: RUNNING",
        "submitted a",
        "started worker:0",
        "a: FINISHED",
        "failed worker:0 exit code 1",
    ]
    assert lines.interrupted() == "kill"
