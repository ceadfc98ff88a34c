"""A port of this machine that leads to Jupyter in its container, over TLS with the user's own certificate pair.

The other end is ``tony_py/task/notebook.py``, whose first lines these are.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tony_py.task.relay import Ends, hang_up, relay
from yarnmill.errors import ConfigurationError
from yarnmill.records import Record, parse_json

LOOPBACK: Final = "127.0.0.1"
_CONNECT_S: Final = 5.0
_MOST_BYTES: Final = 4096


class Hello(Record, frozen=True, kw_only=True):
    """What the other end says of itself."""

    token: str
    page: str
    ready: bool


def client_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a context that shows the pair and accepts only a server who shows the same."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False  # the certificate names no host; it is pinned by being the only one trusted
    context.load_verify_locations(certificate)
    context.load_cert_chain(certificate, key)
    return context


class Tunnel:
    """The near end: listens on loopback from construction on; a context manager that ends it.

    Parameters
    ----------
    context
        Shows the user's pair.
    port
        To listen on; 0 takes a free one.

    Raises
    ------
    ConfigurationError
        If the port is taken.
    """

    def __init__(self, context: ssl.SSLContext, port: int = 0) -> None:
        self._context = context
        self._endpoint: tuple[str, int] | None = None
        try:
            self._socket = socket.create_server((LOOPBACK, port))
            self._socket.setblocking(False)
        except OSError as problem:
            raise ConfigurationError(
                f"--port {port}: cannot listen there: {problem}", mend="name another port, or none"
            ) from None
        self.port = int(self._socket.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._carried: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="tunnel", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._socket.close()

    def lead_to(self, host: str, port: int) -> None:
        """Lead here from now on: a container that was lost is followed by another one."""
        self._endpoint = (host, port)

    def hello(self) -> Hello | None:
        """Return what the other end says, or None if it is not there."""
        answer = self._ask(b"hello\n")
        return parse_json(answer, Hello, source="the notebook") if answer else None

    def stop(self) -> bool:
        """Have the other end save its files and end; return whether it heard."""
        return bool(self._ask(b"stop\n"))

    def _ask(self, line: bytes) -> bytes:
        if self._endpoint is None:
            return b""
        try:
            with (
                socket.create_connection(self._endpoint, timeout=_CONNECT_S) as plain,
                self._context.wrap_socket(plain) as secured,
            ):
                secured.sendall(line)
                with secured.makefile("rb") as stream:
                    return stream.readline(_MOST_BYTES)
        except OSError:
            return b""

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        # Not asyncio's server: whom that has accepted as it is closed, it forgets, and never hangs up on.
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._accept)
        await self._ended.wait()
        loop.remove_reader(self._socket)
        while self._carried:
            for task in self._carried:
                task.cancel()
            await asyncio.wait(self._carried)

    def _accept(self) -> None:
        try:
            browser, _ = self._socket.accept()
        except OSError:
            return  # who was there has gone again
        browser.setblocking(False)
        task = asyncio.create_task(self._carry(browser))
        self._carried.add(task)
        task.add_done_callback(self._carried.discard)
        task.add_done_callback(lambda _: browser.close())  # who is cancelled before the first step has closed nothing

    async def _carry(self, browser: socket.socket) -> None:
        near = Ends(*await asyncio.open_connection(sock=browser))
        try:
            if self._endpoint is not None:
                async with self._connected(*self._endpoint) as far:
                    far.writer.write(b"connect\n")
                    await relay(near, far)
        except OSError:
            pass  # the browser sees that nobody is there, and comes again
        finally:
            await hang_up(near)

    @asynccontextmanager
    async def _connected(self, host: str, port: int) -> AsyncIterator[Ends]:
        # TLS in a step of its own: who is cancelled in the middle of it closes the connection below it, which
        # asyncio's connections with TLS do not when they have not begun to shake hands, or have just ended it.
        async with asyncio.timeout(_CONNECT_S) as patience:
            reader, writer = await asyncio.open_connection(host, port)
            plain = writer.transport
            try:
                await writer.start_tls(self._context)
                patience.reschedule(None)
                yield Ends(reader, writer)
            finally:
                plain.abort()
