"""How servers bind and log."""

import datetime as dt
import json
import socket
from pathlib import Path

import pytest

from yarnmill.errors import ConfigurationError, ConflictError
from yarnmill.httpserver.lines import Answered, render_line, write_line
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
