"""What Horovod's processes tell each other before they are connected: keys and values of one round.

In each *scope* every process sets its addresses, reads those of the others, and leaves when all are
connected. Who comes back to a scope it has left (a program may initialise Horovod twice) begins a new *life* of
it, so that nobody ever reads an address of the life before.
"""

import threading
from collections import defaultdict
from typing import Final

from yarnmill.errors import ConflictError

_ANSWER_BYTES: Final = 1 << 20


class RoundStore:
    """The scopes of the newest round; whoever is still in an older one is refused. May be used from any thread.

    Values are bytes that only Horovod's processes understand; nothing here looks into them.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._round = 0
        self._lives: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._entries: defaultdict[tuple[str, int], list[tuple[str, bytes]]] = defaultdict(list)

    def put(self, round_: int, process: str, scope: str, entry: tuple[str, bytes]) -> None:
        """Set a key; the same process may say the same twice."""
        with self._changed:
            self._enter(round_)
            entries = self._entries[scope, self._lives[process, scope]]
            if entry not in entries:
                entries.append(entry)
                self._changed.notify_all()

    def entries(self, round_: int, process: str, scope: str, known: int, wait_s: float) -> list[tuple[str, bytes]]:
        """Return what was set after the first ``known`` entries, waiting until there is something.

        A later entry of the same key replaces the earlier one; an answer holds about 1 MiB at most.
        """
        with self._changed:
            self._enter(round_)
            found = self._entries[scope, self._lives[process, scope]]
            self._changed.wait_for(lambda: len(found) > known or self._round != round_, wait_s)
            self._enter(round_)
            answer: list[tuple[str, bytes]] = []
            size = 0
            for entry in found[known:]:
                size += len(entry[1])
                if answer and size > _ANSWER_BYTES:
                    break
                answer.append(entry)
            return answer

    def leave(self, round_: int, process: str, scope: str) -> None:
        """Note that a process is connected with the others of a scope."""
        with self._changed:
            self._enter(round_)
            self._lives[process, scope] += 1

    def _enter(self, round_: int) -> None:
        if round_ < self._round:
            raise ConflictError(f"round {round_} is over: Horovod is in round {self._round}")
        if round_ > self._round:
            self._round = round_
            self._lives.clear()
            self._entries.clear()
            self._changed.notify_all()
