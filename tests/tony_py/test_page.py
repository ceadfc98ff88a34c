"""The status page: its HTML, byte by byte where that is a promise, and the server that shows it."""

import base64
import hashlib
import http.client
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tony_py.driver.dashboard import StatusServer
from tony_py.driver.tasks import Usage
from tony_py.history import Event
from tony_py.page.document import render_page, security_policy
from tony_py.page.markup import Markup, join, tag
from tony_py.status import BudgetStatus, PageLink, RunStatus, TaskStatus
from tony_py.timeline import TaskTimes, Timeline
from yarnmill.records import parse_json

GOLDEN = Path(__file__).parent / "golden" / "page.html"
AT = 1_795_633_200.0

RUN = RunStatus(
    application_id="application_1795630333387_0047",
    name="film-rater",
    framework="torch",
    queue="gpu",
    phase="running",
    started_at=AT - 90,
    at=AT,
    output="hdfs:///runs/film-rater",
    generation=2,
    progress=0.425,
    tasks=(
        TaskStatus(
            task="worker:0",
            state="running",
            since=AT - 40,
            attempt=1,
            generation=2,
            container_id="container_1795630333387_0047_01_000002",
            host="gpu-07",
            port=4711,
            gpus=("0",),
            step=183,
            share=0.46,
            checkpoint=150,
            message="loss 0.141",
            usage=Usage(memory_mib=812, peak_memory_mib=930, cpu_s=38, gpu_memory_mib=5120, gpu_share=0.87),
            memory_limit_mib=2048,
        ),
        TaskStatus(
            task="worker:1",
            state="failed",
            since=AT - 2,
            attempt=2,
            exit_code=1,
            message="<script>alert('hello')</script> & co",
            is_straggler=True,
        ),
        TaskStatus(task="tensorboard:0", role="sidecar"),
    ),
    budgets=(
        BudgetStatus(kind="user", spent=1, retries=2),
        BudgetStatus(kind="infra", spent=0, retries=10, window_s=3600.0),
    ),
    timeline=Timeline(
        queue_s=3.6,
        gang_s=5.7,
        programs_s=80.0,
        restarts=1,
        restarts_by_class={"user": 1},
        tasks=(TaskTimes(task="worker:0", queue_s=2.2, register_s=1.7, barrier_s=0.4, run_s=80.0, restart_s=1.5),),
    ),
    pages=(
        PageLink(title="TensorBoard", url="http://rm:8088/proxy/application_1795630333387_0047/pages/tensorboard/"),
    ),
    events=(
        Event(at=AT - 60, event="barrier", detail="generation 1: 3 tasks start"),
        Event(at=AT - 30, event="progress", task="worker:0", detail="50%"),
        Event(at=AT - 2, event="restart", task="worker:1", kind="user", detail="retry 1 of 2\nTraceback:\n  <module>"),
    ),
)


def main_of(page: bytes) -> str:
    found = re.search(rb"<main>.*</main>", page, re.DOTALL)
    assert found is not None
    return found[0].decode().replace("><", ">\n<") + "\n"


def test_the_page_is_byte_stable() -> None:
    assert main_of(render_page(RUN)) == GOLDEN.read_text()
    assert render_page(RUN) == render_page(RUN)


def test_nothing_that_a_program_says_is_markup() -> None:
    page = render_page(RUN).decode()
    assert "&lt;script&gt;alert(&#x27;hello&#x27;)&lt;/script&gt; &amp; co" in page
    assert page.count("<script>") == 1
    assert tag("p", "<b>", title='"') == '<p title="&quot;">&lt;b&gt;</p>'
    assert join("<", Markup("<br>")) == "&lt;<br>"


def test_the_page_needs_no_other_file_and_the_policy_lets_nothing_else_in() -> None:
    page, policy = render_page(RUN).decode(), security_policy()
    assert not re.findall(r'(?:src|href)="(?!status\.json|http://rm:8088/proxy/)', page)
    for name in ("style", "script"):
        (body,) = re.findall(f"<{name}>(.*?)</{name}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r'\sstyle="|\son[a-z]+="', page)  # the policy would refuse them


def test_a_run_of_which_nothing_is_known_yet_has_a_page_too() -> None:
    empty = RunStatus(
        application_id="a", name="n", framework="torch", queue="q", phase="preparing", started_at=AT, at=AT, output="o"
    )
    assert "None has been asked for yet." in render_page(empty).decode()


@pytest.fixture
def server() -> Iterator[StatusServer]:
    with StatusServer(lambda: RUN) as started:
        yield started


def ask(server: StatusServer, method: str, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(server.url).port or 0, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    answer.body = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


def test_page_and_record_stand_behind_the_secret_path_alone(server: StatusServer) -> None:
    path = urlsplit(server.url).path
    page, record = ask(server, "GET", path), ask(server, "GET", f"{path}status.json?x=1")
    assert (page.status, page.getheader("Content-Type")) == (200, "text/html; charset=utf-8")
    assert page.getheader("Content-Security-Policy") == security_policy()
    assert page.getheader("Referrer-Policy") == "no-referrer"
    assert parse_json(record.body, RunStatus, source="status.json") == RUN  # type: ignore[attr-defined]
    assert ask(server, "HEAD", path).body == b""  # type: ignore[attr-defined]
    for other in ("/", path[:-2] + "/", f"{path}x", "/status.json", f"{path}../status.json", "//"):
        assert ask(server, "GET", other).status == 404
    assert len(path) > 30
    assert path.strip("/") not in record.body.decode()  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_only_shows(server: StatusServer, method: str) -> None:
    assert ask(server, method, urlsplit(server.url).path).status == 501


def test_only_this_machine_reaches_it(server: StatusServer) -> None:
    port = urlsplit(server.url).port
    others = {entry[4][0] for entry in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET)} - {"127.0.0.1"}
    for address in others:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((address, port), timeout=5)
    assert urlsplit(server.url).hostname == "127.0.0.1"
