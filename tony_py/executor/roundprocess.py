"""One of Horovod's processes in this container: the round that it is in, and what it knows of the others there.

Waiting is done here and in the driver. Horovod itself would ask for a key every 10 ms until it is there.
"""

from __future__ import annotations

import base64
import secrets
import threading
import time
from typing import Any

from tony_py.executor.channel import Channel
from tony_py.executor.severing import Endpoint, gloo_endpoints, sever

_KEY_WAIT_S = 1.0
_CONNECT_S = 300.0
_RETRY_FOR_S = 15.0
_PAUSE_S = 0.2
_ALL = "global"


class RoundProcess:
    """Speaks for one process to the driver.

    Parameters
    ----------
    channel
        A way to the driver of its own.
    task, generation, local_rank
        The slot, the run of its program, and which of the container's processes it is.
    """

    def __init__(self, channel: Channel, task: str, generation: int, local_rank: int) -> None:
        self.secret = secrets.token_urlsafe(16)
        self.round = 0
        self._size = 0
        self._channel = channel
        self._task = task
        self._generation = generation
        self._local_rank = local_rank
        self._known: dict[str, tuple[int, dict[str, bytes]]] = {}
        self._lives: dict[str, int] = {}
        self._own: set[Endpoint] = set()
        self._peers: set[Endpoint] = set()
        self._lock = threading.Lock()  # it asks one thing at a time

    def enter(self, round_: int, size: int) -> None:
        """Be in this round, of so many processes, from here on."""
        self.round, self._size, self._known, self._lives = round_, size, {}, {}
        self._own, self._peers = set(), set()

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def get(self, scope: str, key: str) -> bytes | None:
        """Return a value, or None when it was not set after a while.

        In the scope of all processes it is held back until all have set theirs: gloo's patience is short and
        begins with the first connection, so that nobody's slow start uses it up.
        """
        deadline = time.monotonic() + (_CONNECT_S if scope == _ALL else _KEY_WAIT_S)
        with self._lock:
            while True:
                _, values = self._known.get(scope, (0, {}))
                if key in values and (scope != _ALL or _count_like(key, values) >= self._size):
                    return values[key]
                if time.monotonic() >= deadline:
                    return None
                self._ask(scope)

    def put(self, scope: str, key: str, value: bytes) -> None:
        """Set a value."""
        entry = {"key": key, "value": base64.b64encode(value).decode()}
        self._own |= gloo_endpoints(value)
        with self._lock:
            self._say("/v1/horovod/put", {**self._about(scope), "entry": entry})

    def leave(self, scope: str) -> None:
        """Be connected with the others of a scope: what it asks of it from here on is about another life of it."""
        with self._lock:
            self._lives[scope] = self._lives.get(scope, 0) + 1
            self._known.pop(scope, None)

    def next_place(self, wait_s: float) -> str:
        """Return the place in the next round as Horovod reads it, and enter that round; empty to ask again."""
        about = {"task": self._task, "generation": self._generation, "local_rank": self._local_rank}
        with self._lock:
            answer = self._channel.post("/v1/horovod/ready", {**about, "round": self.round, "wait_s": wait_s})
            place = str(answer["place"])
            if answer["round"]:
                self.enter(answer["round"], int(place.split(",")[1]))
            return place

    def hang_up_on_peers(self) -> None:
        """Let the others of the round that the process has left feel that it has."""
        sever(self.secret, self._own, self._peers)

    def _ask(self, scope: str) -> None:
        count, values = self._known.get(scope, (0, {}))
        answer = self._say("/v1/horovod/entries", {**self._about(scope), "known": count, "wait_s": _KEY_WAIT_S})
        entries = answer["entries"]
        fresh = {each["key"]: base64.b64decode(each["value"]) for each in entries}
        values = {**values, **fresh}
        self._peers = self._peers.union(*map(gloo_endpoints, fresh.values())) - self._own
        self._known[scope] = (count + len(entries), values)

    def _about(self, scope: str) -> dict[str, Any]:
        return {"round": self.round, "scope": scope, "life": self._lives.get(scope, 0)}

    def _say(self, path: str, message: dict[str, Any]) -> dict[str, Any]:
        """Send a message again while the driver cannot be reached: Horovod itself gives up after a second."""
        deadline = time.monotonic() + _RETRY_FOR_S
        while True:
            try:
                return self._channel.post(path, message)
            except OSError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_PAUSE_S)


def _count_like(key: str, values: dict[str, bytes]) -> int:
    """Return how many have set such a key: each process sets its machine's name under rank_N, its addresses under N."""
    return sum(each.isdigit() == key.isdigit() for each in values)
