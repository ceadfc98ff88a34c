"""What Horovod's processes tell each other before they are connected: keys and values of one round.

In each *scope* every process sets its addresses and reads those of the others. Who comes back to a scope in
which it was connected once (a program may initialise Horovod twice) is in another *life* of it, so that nobody
ever reads an address of the life before.
"""

import threading
from collections import defaultdict
from typing import Final, NamedTuple

from yarnmill.errors import ConflictError

_ANSWER_BYTES: Final = 1 << 20


class Page(NamedTuple):
    """One life of a scope in one round."""

    round: int
    scope: str
    life: int = 0


class RoundStore:
    """The scopes of the newest round; whoever is still in an older one is refused. May be used from any thread.

    Values are bytes that only Horovod's processes understand; nothing here looks into them.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._round = 0
        self._entries: defaultdict[Page, list[tuple[str, bytes]]] = defaultdict(list)
        self._latest: defaultdict[Page, dict[str, bytes]] = defaultdict(dict)

    def put(self, page: Page, key: str, value: bytes) -> None:
        """Set a key; saying the same twice changes nothing."""
        with self._changed:
            self._enter(page)
            if self._latest[page].get(key) != value:
                self._latest[page][key] = value
                self._entries[page].append((key, value))
                self._changed.notify_all()

    def entries(self, page: Page, known: int, wait_s: float) -> list[tuple[str, bytes]]:
        """Return what was set after the first ``known`` entries, waiting until there is something.

        A later entry of the same key replaces the earlier one; an answer holds about 1 MiB at most.
        """
        with self._changed:
            self._enter(page)
            self._changed.wait_for(lambda: len(self._entries[page]) > known or self._round != page.round, wait_s)
            self._enter(page)
            answer: list[tuple[str, bytes]] = []
            size = 0
            for entry in self._entries[page][known:]:
                size += len(entry[1])
                if answer and size > _ANSWER_BYTES:
                    break
                answer.append(entry)
            return answer

    def _enter(self, page: Page) -> None:
        if page.round < self._round:
            raise ConflictError(f"round {page.round} is over: Horovod is in round {self._round}")
        if page.round > self._round:
            self._round = page.round
            self._entries.clear()
            self._latest.clear()
            self._changed.notify_all()
        # Who is in a life was connected with all others in the one before: nobody is in an older one any more.
        forgotten = page._replace(life=page.life - 2)
        self._entries.pop(forgotten, None)
        self._latest.pop(forgotten, None)
