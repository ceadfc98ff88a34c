"""Jupyter in a container: the real one, from the registry, behind the real tunnel; then all of it on YARN."""

import datetime as dt
import gc
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from waiting import eventually

from tony_py import client
from tony_py.history import Event, read_history
from tony_py.local import make_certificates
from tony_py.notebook import Notebook, NotebookView, notebook_application
from tony_py.task import Checkpoints
from tony_py.tunnel import Hello, Tunnel, client_context
from tony_py.viewing import Glance
from yarnmill import fs, yarn
from yarnmill.cli.main import run
from yarnmill.cli.tony import tony_py
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError

pytestmark = pytest.mark.programs

KERNEL = Path(__file__).parent / "programs" / "kernel.py"


@pytest.fixture(scope="session")
def jupyter_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python with Jupyter's server and a kernel, as a user's environment has them."""
    folder = tmp_path_factory.mktemp("jupyter") / "environment"
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", str(python), "jupyter-server", "ipykernel"], check=True
    )
    return python


class Session:
    """What an executor does for the program, done by hand in a folder."""

    def __init__(self, folder: Path, pair: Path, repository: Path, python: Path, *options: str) -> None:
        self.folder = folder
        self.log = folder / "log"
        (folder / "source").mkdir(parents=True)
        for name in ("crt", "pem"):
            (folder / f".skein.{name}").symlink_to(pair / f"skein.{name}")
        (folder / "library").mkdir()
        (folder / "library" / "tony_task").symlink_to(repository / "tony_py" / "task")
        with socket.create_server(("", 0)) as free:
            self.port = free.getsockname()[1]
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": "/nowhere",
            "TONY_PORT": str(self.port),
            "TONY_CONTAINER_DIR": str(folder),
            "PYTHONPATH": str(folder / "library"),
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(python), "-m", "tony_task.notebook", *options],
                cwd=folder / "source",
                env=variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def open(self, tunnel: Tunnel) -> Hello:
        """Lead the tunnel here and wait until Jupyter is ready."""
        tunnel.lead_to("127.0.0.1", self.port)
        assert eventually(lambda: self.process.poll() is not None or ((hello := tunnel.hello()) and hello.ready))
        hello = tunnel.hello()
        assert hello is not None, self.log.read_text()
        return hello

    def children(self) -> list[Path]:
        """Return the folders in /proc of all its processes."""
        processes = (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return [entry for entry in processes if os.getsid(int(entry.name)) == self.process.pid]


@pytest.fixture
def start(
    tmp_path: Path, certificates: Path, repository: Path, jupyter_python: Path
) -> Iterator[Callable[..., Session]]:
    started: list[Session] = []

    def begin(*options: str, python: Path = jupyter_python) -> Session:
        # As deep as YARN's folders are: a socket's full name would be too long there.
        folder = tmp_path / f"container_{len(started)}_{'x' * 120}"
        started.append(Session(folder, certificates, repository, python, *options))
        return started[-1]

    yield begin
    for session in started:
        if session.process.poll() is None:
            os.killpg(session.process.pid, signal.SIGKILL)
        session.process.wait()


@pytest.fixture
def tunnel(certificates: Path) -> Iterator[Tunnel]:
    with Tunnel(client_context(certificates / "skein.crt", certificates / "skein.pem")) as near:
        yield near


def address_of(tunnel: Tunnel, hello: Hello) -> str:
    return f"http://127.0.0.1:{tunnel.port}/{hello.page}?token={hello.token}"


def run_code(python: Path, address: str, code: str) -> str:
    done = subprocess.run([str(python), str(KERNEL), address, code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_code_runs_in_a_kernel_and_its_files_are_there_the_next_time(
    start: Callable[..., Session], tunnel: Tunnel, jupyter_python: Path, tmp_path: Path
) -> None:
    first = start("--folder", str(tmp_path / "kept"))
    hello = first.open(tunnel)
    code = "from pathlib import Path; Path('found.txt').write_text('42'); print(6 * 7)"
    assert run_code(jupyter_python, address_of(tunnel, hello), code) == "42"
    assert tunnel.stop()
    assert first.process.wait(30) == 0
    newest = Checkpoints(str(tmp_path / "kept")).latest()
    assert newest is not None
    assert sorted(path.name for path in newest.copy_to(tmp_path / "back").iterdir()) == ["found.txt"]

    second = start("--folder", str(tmp_path / "kept"))
    again = second.open(tunnel)
    assert again.token != hello.token
    assert run_code(jupyter_python, address_of(tunnel, again), "print(open('found.txt').read())") == "42"
    tunnel.stop()
    assert second.process.wait(30) == 0
    assert [each.step for each in Checkpoints(str(tmp_path / "kept")).all()] == [1]  # nothing had changed


def test_the_token_is_asked_for_and_stands_nowhere(start: Callable[..., Session], tunnel: Tunnel) -> None:
    session = start()
    hello = session.open(tunnel)
    base = f"http://127.0.0.1:{tunnel.port}/api/contents"
    assert requests.get(base, timeout=30).status_code == 403
    assert requests.get(base, params={"token": hello.token}, timeout=30).status_code == 200
    secret = hello.token.encode()
    assert secret not in session.log.read_bytes()
    processes = session.children()
    assert len(processes) >= 2
    for entry in processes:
        assert secret not in (entry / "cmdline").read_bytes()
        assert secret not in (entry / "environ").read_bytes()
    assert (session.folder / "jupyter.sock").stat().st_mode & 0o077 == 0
    for path in (session.folder / "jupyter", session.folder / "jupyter" / "token"):
        assert path.stat().st_mode & 0o077 == 0


def greet(context: ssl.SSLContext, port: int) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain) as secured,
    ):
        secured.sendall(b"hello\n")
        answer = secured.recv(100)
        if not answer:
            raise ConnectionError
        return answer


def test_nobody_else_comes_in(start: Callable[..., Session], tunnel: Tunnel, tmp_path: Path) -> None:
    session = start()
    session.open(tunnel)
    strangers = make_certificates(tmp_path / "strangers")
    with Tunnel(client_context(strangers / "skein.crt", strangers / "skein.pem")) as stranger:
        stranger.lead_to("127.0.0.1", session.port)
        assert stranger.hello() is None
        assert not stranger.stop()
        with pytest.raises(requests.RequestException):
            requests.get(f"http://127.0.0.1:{stranger.port}/api", timeout=30)
    anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anonymous.check_hostname, anonymous.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(OSError):  # noqa: PT011  # TLS says it in many ways
        greet(anonymous, session.port)
    with socket.create_connection(("127.0.0.1", session.port), timeout=30) as plain:
        plain.sendall(b"GET /api HTTP/1.1\r\n\r\n")
        assert b"HTTP" not in plain.recv(100)
    assert session.process.poll() is None
    assert tunnel.hello() is not None


def test_a_tunnel_that_ends_hangs_up_on_whoever_is_connected(start: Callable[..., Session], certificates: Path) -> None:
    session = start()
    with Tunnel(client_context(certificates / "skein.crt", certificates / "skein.pem")) as tunnel:
        session.open(tunnel)
        browsers = [socket.create_connection(("127.0.0.1", tunnel.port), timeout=30) for _ in range(8)]
        for browser in browsers[::2]:  # the others have not yet said anything
            browser.sendall(b"GET /api HTTP/1.1\r\nHost: here\r\n\r\n")
            assert browser.recv(4) == b"HTTP"
    for browser in browsers:
        with browser, suppress(ConnectionResetError):
            while browser.recv(1 << 16):
                pass
    gc.collect()  # a connection left open says so when it is collected, and fails this test


def test_a_session_that_nobody_is_connected_to_ends(start: Callable[..., Session]) -> None:
    session = start("--idle", "1")
    assert session.process.wait(60) == 0
    assert "nobody has been connected for 1 s" in session.log.read_text()


def test_an_environment_without_jupyter_is_told_what_to_add(start: Callable[..., Session]) -> None:
    session = start(python=Path(sys.executable))
    assert session.process.wait(60) == 1
    assert "has no Jupyter" in session.log.read_text()
    assert "to mend it: add jupyterlab to the environment" in session.log.read_text()


def test_a_port_that_is_taken_is_refused(certificates: Path) -> None:
    context = client_context(certificates / "skein.crt", certificates / "skein.pem")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"--port {port}: cannot listen there"):
            Tunnel(context, port)


def test_a_view_follows_the_session_into_its_next_container(tunnel: Tunnel, start: Callable[..., Session]) -> None:
    said: list[str] = []
    opened: list[str] = []
    view = NotebookView(tunnel, said.append, opened.append)
    events = []
    for number in range(2):
        session = start()
        detail = f"127.0.0.1:{session.port} container_{number}"
        events.append(Event(at=float(number), event="registered", task="notebook:0", detail=detail))

        def is_open(wanted: int = number + 1) -> bool:
            view.show(Glance("application_1_1", "RUNNING", events, None))
            return len(opened) == wanted

        assert eventually(is_open)
        assert requests.get(opened[-1].replace("/api?", "/api/status?"), timeout=30).status_code == 200
    assert view.interrupted() == "stay"
    assert view.interrupted() == "kill"
    assert any("Ctrl-C once more" in line for line in said)


def test_the_application_of_a_session(config: Config) -> None:
    now = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    application = notebook_application(Notebook(gpus=2, environment="/opt/ml/bin/python3"), config, now)
    task = application.types["notebook"]
    assert (task.gpus, task.memory) == (2, 4096)
    assert re.fullmatch(
        r"hdfs:///yarnmill/runs/notebooks/[^/]+/sessions/20260102T030405-[0-9a-f]{6}", application.output
    )
    assert application.environment.python == "/opt/ml/bin/python3"
    archived = notebook_application(Notebook(environment="envs/ml.tar.gz"), config, now)
    assert (archived.environment.python, archived.environment.archive) == ("", "envs/ml.tar.gz")
    assert "token" not in str(application).lower()


@pytest.fixture
def nothing_left_running(hdfs: str) -> Iterator[None]:  # noqa: ARG001  # it needs a cluster
    """End what a failing test leaves: a session goes on for hours and takes the room of later tests."""
    before = {each.application_id for each in client.applications(running_only=True)}
    yield
    for each in client.applications(running_only=True):
        if each.application_id not in before:
            client.kill(each.application_id)


@pytest.mark.usefixtures("nothing_left_running")
def test_a_session_on_the_cluster_from_the_command_to_ctrl_c(
    hdfs: str, jupyter_python: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "start.txt").write_text("shipped")
    command = [sys.executable, "-m", "yarnmill.cli.tony", "notebook", "--gpus", "1", "--memory", "512 MiB"]
    command += ["--environment", str(jupyter_python), "--folder", hdfs, "--source", str(tmp_path / "start.txt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as session:
        try:
            assert session.stdout is not None
            address = session.stdout.readline().strip()
            assert "?token=" in address
            code = (
                "from pathlib import Path; Path('found.txt').write_text(Path('start.txt').read_text()); print('kept')"
            )
            assert run_code(jupyter_python, address, code) == "kept"
        finally:
            session.send_signal(signal.SIGINT)
            _, said = session.communicate(timeout=120)
    assert session.returncode == 0, said
    application_id = said.partition(":")[0]
    assert yarn.application(application_id).final_status == "SUCCEEDED"
    newest = Checkpoints(f"{hdfs}/files").latest()
    assert newest is not None
    assert (newest.copy_to(tmp_path / "back") / "found.txt").read_text() == "shipped"
    token = address.rpartition("=")[2]
    assert token not in said
    (output,) = fs.children(f"{hdfs}/sessions")
    assert token not in str(read_history(f"{output.url}/history.jsonl"))
    capfd.readouterr()
    assert run(tony_py, ["logs", application_id]) == 0
    logs = capfd.readouterr().out
    assert "Jupyter Server" in logs
    assert token not in logs
