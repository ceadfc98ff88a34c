"""A server on a thread of its own, for as long as the driver needs it."""

from socketserver import BaseServer
from threading import Thread
from types import TracebackType
from typing import Final, Self

_POLL_S: Final = 0.1


class BackgroundServer:
    """A context manager that serves, and stops it in the end.

    Parameters
    ----------
    server
        Bound already, so nobody who is told its address comes too early.
    name
        The thread's.
    """

    def __init__(self, server: BaseServer, name: str) -> None:
        self.__server = server
        self.__thread = Thread(target=server.serve_forever, args=(_POLL_S,), name=name, daemon=True)

    def __enter__(self) -> Self:
        self.__thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__server.shutdown()
        self.__server.server_close()
        self.__thread.join()
