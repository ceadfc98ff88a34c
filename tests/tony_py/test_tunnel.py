"""The near end of a notebook's tunnel, before a far end that answers."""

import gc
import logging
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tony_py.tunnel import Tunnel, client_context

_ROUNDS = 60
_STEP_S = 0.0005


class _FarEnd(socketserver.ThreadingTCPServer):
    """Says a letter to whoever asks to be connected, and then waits until that one hangs up."""

    def __init__(self, certificates: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificates / "skein.crt", certificates / "skein.pem")


class _Answer(socketserver.BaseRequestHandler):
    server: _FarEnd

    def handle(self) -> None:
        with (
            suppress(OSError),
            self.server.context.wrap_socket(self.request, server_side=True) as secured,
            secured.makefile("rb") as stream,
        ):
            if stream.readline() == b"connect\n":
                secured.sendall(b"x")
                stream.read()


@pytest.fixture
def far_port(certificates: Path) -> Iterator[int]:
    with _FarEnd(certificates) as far:
        thread = threading.Thread(target=far.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield far.server_address[1]
        far.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_tunnel_may_end_at_any_moment_of_a_connection(
    far_port: int, certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = client_context(certificates / "skein.crt", certificates / "skein.pem")
    with caplog.at_level(logging.WARNING, "asyncio"):
        for turn in range(_ROUNDS):
            with Tunnel(context) as tunnel:
                tunnel.lead_to("127.0.0.1", far_port)
                browsers = [socket.create_connection(("127.0.0.1", tunnel.port), timeout=30) for _ in range(4)]
                time.sleep(turn * _STEP_S)
            for browser in browsers:
                with browser, suppress(ConnectionResetError):
                    while browser.recv(1 << 16):
                        pass
        gc.collect()  # a connection left open says so when it is collected, and fails this test
    assert not caplog.records
