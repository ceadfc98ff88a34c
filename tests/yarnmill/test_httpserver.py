"""How servers bind and log."""

import datetime as dt
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from yarnmill.errors import ConfigurationError, ConflictError
from yarnmill.httpserver.lines import Answered, LoggedApplication, render_line, write_line
from yarnmill.httpserver.listener import address_of, bind


def test_port_0_takes_a_free_one() -> None:
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert address_of(listener) == f"http://127.0.0.1:{port}"
        with pytest.raises(ConflictError, match=f"port {port}") as error:
            bind("127.0.0.1", port)
        assert "--port" in error.value.mend


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this kernel has no IPv6")
def test_an_ipv6_address_is_bracketed() -> None:
    with bind("::1", 0) as listener:
        assert address_of(listener).startswith("http://[::1]:")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_a_foreign_host_cannot_be_bound(host: str) -> None:
    with pytest.raises(ConfigurationError, match=host):
        bind(host, 0)


def test_the_access_log_has_no_body_no_query_and_no_header() -> None:
    environ = {
        "REMOTE_ADDR": "127.0.0.1",
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/v1/models/rater:predict",
        "QUERY_STRING": "token=secret",
        "HTTP_AUTHORIZATION": "Bearer secret",
        "CONTENT_LENGTH": "12",
        "HTTP_USER_AGENT": "x" * 500,
        "yarnmill.model": "rater",
    }
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    extra = (("yarnmill.model", "model"), ("yarnmill.rows", "rows"))
    line = render_line(environ, Answered(200, 31, 0.0015), extra, now)
    assert line.endswith(b"}\n")
    assert json.loads(line) == {
        "time": "2026-01-01T00:00:00+00:00",
        "remote": "127.0.0.1",
        "method": "POST",
        "path": "/v1/models/rater:predict",
        "status": 200,
        "milliseconds": 1.5,
        "request_bytes": 12,
        "answer_bytes": 31,
        "agent": "x" * 100,
        "model": "rater",
    }


def test_a_full_disk_costs_a_line_and_no_answer() -> None:
    with Path("/dev/full").open("ab", buffering=0) as full:
        write_line(full, b"line\n")


def no_start(*_: object) -> Any:
    """Be WSGI's own."""


def answering(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    environ["model"] = "rater"
    start_response("200 OK", [])
    return [b"yes"]


def test_lines_are_written_together_and_soon_enough(tmp_path: Path) -> None:
    target = tmp_path / "access.log"
    logged = LoggedApplication(answering, str(target), {"model": "model"})
    for number in range(200):
        assert logged({"PATH_INFO": f"/{number}", "wsgi.input": None}, no_start) == [b"yes"]
    assert len(target.read_bytes().splitlines()) >= 128
    while len(lines := target.read_bytes().splitlines()) < 200:
        time.sleep(0.01)
    said = [json.loads(line) for line in lines]
    assert [one["path"] for one in said] == [f"/{number}" for number in range(200)]
    assert {(one["status"], one["answer_bytes"], one["model"]) for one in said} == {(200, 3, "rater")}


def test_lines_that_wait_are_written_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "access.log"
    logged = LoggedApplication(answering, str(target), {})
    list(logged({"PATH_INFO": "/" + "x" * 9000}, no_start))
    list(logged({"PATH_INFO": "/last"}, no_start))
    logged.flush()
    assert [len(json.loads(line)["path"]) for line in target.read_bytes().splitlines()] == [9001, 5]
    logged.flush()
    assert len(target.read_bytes().splitlines()) == 2
