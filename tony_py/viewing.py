"""What a view of a run is given, and the plainest one: lines, each said once."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from tony_py.history import Event
from tony_py.status import RunStatus
from tony_py.wording import event_in_words

Progress = Callable[[str], None]
Decision = Literal["stay", "detach", "kill"]


class Glance(NamedTuple):
    """A run at one moment: YARN's word for it, its events so far, and its status if the view wants one."""

    application_id: str
    state: str
    events: Sequence[Event]
    status: RunStatus | None


class View(Protocol):
    """Whoever shows a run to a person while it is followed."""

    wants_status: bool

    def say(self, line: str) -> None:
        """Show a message that stays."""

    def show(self, glance: Glance) -> None:
        """Show how the run is now."""

    def interrupted(self) -> Decision:
        """Return what is to be done after an interrupt (Ctrl-C)."""


class Lines:
    """A view of lines: for pipes, logs and programs.

    Parameters
    ----------
    progress
        Takes a line.
    """

    wants_status = False

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._state = ""
        self._seen = 0

    def say(self, line: str) -> None:
        """Say the line."""
        self._progress(line)

    def show(self, glance: Glance) -> None:
        """Say what has changed since the last time."""
        if glance.state != self._state:
            self._state = glance.state
            self._progress(f"{glance.application_id}: {glance.state}")
        for event in glance.events[self._seen :]:
            self._progress(event_in_words(event))
        self._seen = max(self._seen, len(glance.events))

    def interrupted(self) -> Decision:
        """Nobody is there to be asked."""
        return "kill"
