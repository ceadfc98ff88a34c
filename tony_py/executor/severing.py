"""Cutting the connections that a process of elastic Horovod keeps open although it has left its round.

When a worker is lost, only those who wait for it directly notice. They leave the round, but Horovod 0.28 forgets
to close the connections of its global process set, and whoever waits for *them* does so until gloo's timeout.
Shut down from here, their ends of these connections say at once that nothing more will come. Where the system does not
allow it, gloo's timeout remains.
"""

from __future__ import annotations

import ctypes
import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tony_py.executor import descendants

_PIDFD_OPEN = 434
_PIDFD_GETFD = 438
_ESTABLISHED = "01"
_GLOO_ADDRESS_BYTES = 136  # a sockaddr_storage and a sequence number
_SOCKET = re.compile(r"socket:\[(\d+)\]")


class Endpoint(NamedTuple):
    """An address and a port."""

    address: str
    port: int


def gloo_endpoints(value: bytes) -> set[Endpoint]:
    """Return where a process listens for its peers, from the value by which it tells them; nothing if it is no such."""
    found = set()
    if len(value) % _GLOO_ADDRESS_BYTES == 0:
        for at in range(0, len(value), _GLOO_ADDRESS_BYTES):
            (family,), (port,) = struct.unpack_from("=H", value, at), struct.unpack_from("!H", value, at + 2)
            if family == socket.AF_INET:
                found.add(Endpoint(socket.inet_ntop(family, value[at + 4 : at + 8]), port))
            elif family == socket.AF_INET6:
                found.add(Endpoint(socket.inet_ntop(family, value[at + 8 : at + 24]), port))
    return found


def sever(secret: str, own: set[Endpoint], peers: set[Endpoint]) -> int:
    """Shut down the connections between one process and its peers, and return how many.

    Parameters
    ----------
    secret
        Stands in the process's environment and in nobody else's.
    own, peers
        Where it listened for its peers, and they for it: one end of each connection.
    """
    count = 0
    for pid in descendants.alive():
        with suppress(OSError):  # it ended meanwhile, or the system does not allow it
            if secret.encode() in Path(f"/proc/{pid}/environ").read_bytes():
                inodes = {inode for near, far, inode in _connections(pid) if near in own or far in peers}
                count += _shut_down(pid, inodes)
    return count


def _connections(pid: int) -> Iterator[tuple[Endpoint, Endpoint, str]]:
    for family, name in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _ESTABLISHED:
                yield _endpoint(family, fields[1]), _endpoint(family, fields[2]), fields[9]


def _endpoint(family: int, text: str) -> Endpoint:
    """Read ``0100007F:1F90``: 32-bit words in the machine's byte order, then the port."""
    address, _, port = text.partition(":")
    words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
    return Endpoint(socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words)), int(port, 16))


def _shut_down(pid: int, inodes: set[str]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    handle = libc.syscall(_PIDFD_OPEN, pid, 0)
    if handle < 0:
        return 0
    count = 0
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                match = _SOCKET.match(os.readlink(entry))  # noqa: PTH115  # Path.readlink came with Python 3.9
                if match and match[1] in inodes:
                    copy = libc.syscall(_PIDFD_GETFD, handle, int(entry.name), 0)
                    if copy >= 0:
                        with socket.socket(fileno=copy) as connection:
                            connection.shutdown(socket.SHUT_RDWR)
                            count += 1
    finally:
        os.close(handle)
    return count
