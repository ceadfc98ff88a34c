"""Clients in a closed loop: several connections to a server, each of which asks again as soon as it was answered.

One thread holds all connections: a client that takes little CPU leaves the machine to the server, and with enough of
them a worker never waits. One connection alone shows what a request costs a worker that sleeps between two of them.
"""

import os
import selectors
import socket
from collections.abc import Sequence
from pathlib import Path

_CHUNK = 1 << 16


def cpu_us(
    address: str, pids: Sequence[int], path: str, body: bytes | None, requests: int, connections: int = 1
) -> float:
    """Return the CPU microseconds that some processes take for a request.

    Parameters
    ----------
    address
        ``host:port``.
    pids
        The server's processes.
    path, body
        What is posted; a body of None is a GET.
    requests
        How many are counted, after a tenth as many that are not.
    connections
        How many requests are on their way at a time.
    """
    method = "GET" if body is None else "POST"
    head = f"{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body or b'')}\r\n\r\n".encode() + (body or b"")
    host, _, port = address.partition(":")
    with selectors.DefaultSelector() as ready:
        clients = [socket.create_connection((host, int(port)), timeout=30) for _ in range(connections)]
        try:
            for client in clients:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ready.register(client, selectors.EVENT_READ, client)
            _ask(ready, clients, request, max(requests // 10, 20))
            before = cpu_s(pids)
            _ask(ready, clients, request, requests)
            return (cpu_s(pids) - before) / requests * 1e6
        finally:
            for client in clients:
                client.close()


def cpu_s(pids: Sequence[int]) -> float:
    """Return the CPU seconds of processes so far, all their threads together."""
    spent = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def _ask(ready: selectors.BaseSelector, clients: Sequence[socket.socket], request: bytes, times: int) -> None:
    asked = min(times, len(clients))
    for client in clients[:asked]:
        client.sendall(request)
    answered = 0
    while answered < times:
        for key, _ in ready.select():
            client: socket.socket = key.data
            _read_answer(client)
            answered += 1
            if asked < times:
                client.sendall(request)
                asked += 1


def _read_answer(client: socket.socket) -> None:
    answer = client.recv(_CHUNK)
    while b"\r\n\r\n" not in answer:
        answer += _more(client, answer)
    head, _, body = answer.partition(b"\r\n\r\n")
    fields = dict(line.split(b":", 1) for line in head.lower().split(b"\r\n")[1:])
    while len(body) < int(fields[b"content-length"]):
        body += _more(client, answer)
    if head.split(b" ", 2)[1] != b"200":
        raise SystemExit(f"the server answered {head[:100]!r} {body[:300]!r}")


def _more(client: socket.socket, answer: bytes) -> bytes:
    more = client.recv(_CHUNK)
    if not more:
        raise SystemExit(f"the server closed the connection after {answer[:100]!r}")
    return more
