"""Telling a process of elastic Horovod that it should come for the next round.

Each process listens on a port for pickled messages that carry an HMAC under a key it made itself. It gives
port and key to the rendezvous, as a pickle. Both pickles are plain enough to be read and written here without
Horovod, and without running anything that a pickle could hold.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import pickle
import socket
import struct
from typing import NoReturn

_TIMEOUT_S = 5.0
_ADDED = 2
_MODULE = "horovod.runner.elastic.worker"


class _DataOnly(pickle.Unpickler):
    """Reads numbers, texts, bytes, lists, tuples and mappings; refuses everything that would be called."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"{module}.{name} in what must be plain data")


class Listener:
    """Where a process listens, and the key of its messages."""

    def __init__(self, port: int, key: bytes) -> None:
        self._port = port
        self._key = key

    @classmethod
    def parse(cls, text: bytes) -> Listener:
        """Read what a process gave to the rendezvous; ValueError if it is nothing of the kind."""
        try:
            addresses, key = _DataOnly(io.BytesIO(base64.b64decode(text, validate=True))).load()
            (_, port), *_ = next(iter(addresses.values()))
            return cls(int(port), bytes(key))
        except Exception as error:  # a pickle can be wrong in any way
            raise ValueError(f"no address of a listener: {error}") from error

    def tell(self, timestamp: int) -> None:
        """Say that hosts were added; a process acts on a timestamp once. OSError if it does not listen."""
        message = host_update(timestamp)
        with socket.create_connection(("127.0.0.1", self._port), timeout=_TIMEOUT_S) as connection:
            connection.sendall(signed(self._key, message))
            while connection.recv(4096):  # it has taken the message when it answers and hangs up
                pass


def signed(key: bytes, message: bytes) -> bytes:
    """Return a message as Horovod's services read it: HMAC, length, message."""
    digest = hmac.new(key, message, hashlib.sha256).digest()
    return digest + struct.pack("i", len(message)) + message


def host_update(timestamp: int) -> bytes:
    """Return the pickle of Horovod's ``HostsUpdatedRequest(timestamp, HostUpdateResult.added)``."""
    added = f"c{_MODULE}\nHostUpdateResult\n(I{_ADDED}\ntR"
    return f"c{_MODULE}\nHostsUpdatedRequest\n(I{timestamp}\n{added}tR.".encode()
