"""Ports that stay this task's: bound on all interfaces and not listened on, from before the barrier on."""

from __future__ import annotations

import socket


class HeldPorts:
    """Sockets that hold free ports without listening on them.

    Linux lets a second socket bind such a port when both allow it (SO_REUSEADDR or SO_REUSEPORT, which the
    servers of PyTorch, TensorFlow and Python set), and gives it to nobody who asks for any free port. So the
    program can listen while nobody else could get the port meanwhile. A program that allows no sharing needs
    :meth:`let_go` first.

    Parameters
    ----------
    count
        How many.
    """

    def __init__(self, count: int) -> None:
        self._sockets = [_bound() for _ in range(count)]
        self.numbers = [int(held.getsockname()[1]) for held in self._sockets]

    def let_go(self) -> None:
        """Free the ports."""
        for held in self._sockets:
            held.close()


def _bound() -> socket.socket:
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind(("", 0))
    return held
