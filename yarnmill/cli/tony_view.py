"""A run shown while it goes on: a live table in a terminal, lines everywhere else."""

import select
import signal
import socket
import sys
from types import TracebackType
from typing import Final, Self

import click
from rich.console import Console
from rich.live import Live

from tony_py.viewing import Decision, Glance, Lines, View
from yarnmill.cli.tony_table import run_table

_QUESTION: Final = "[d]etach and let it run, [k]ill it, or [Enter] to stay"


class LiveView:
    """A table that is drawn anew in its place; a context manager that leaves the last one standing.

    Messages stand above it. After Ctrl-C it asks; a second Ctrl-C kills.
    """

    wants_status = True

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._state = ""

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """Print a message above the table."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def show(self, glance: Glance) -> None:
        """Draw the run as it is now."""
        if glance.state != self._state:
            self._state = glance.state
            self.say(f"{glance.application_id}: {glance.state}")
        if glance.status is not None:
            self._live.update(run_table(glance.status, self._console.height, self._console.width), refresh=True)

    def interrupted(self) -> Decision:
        """Ask what the Ctrl-C meant."""
        try:
            self._live.stop()
            answer = _asked(f"{_QUESTION}: ")
        except (EOFError, KeyboardInterrupt):
            return "kill"
        if answer.startswith(("d", "k")):
            return "detach" if answer.startswith("d") else "kill"
        self._live.start()
        return "stay"


def _asked(question: str) -> str:
    """Return what a person answers, in small letters; EOFError if nobody will, KeyboardInterrupt if that comes first.

    ``input`` sleeps through an interrupt that comes just before it begins to read: Python has noted it by then and acts
    on it after the next key. So a socket that Python writes to at a signal is waited for beside the terminal.
    """
    woken, waker = socket.socketpair()
    with woken, waker:
        waker.setblocking(False)
        before = signal.set_wakeup_fd(waker.fileno())
        try:
            click.echo(question, nl=False, err=True)
            select.select([sys.stdin, woken], [], [])
            answer = sys.stdin.readline()
        finally:
            signal.set_wakeup_fd(before)
    if not answer:
        raise EOFError
    return answer.strip().lower()


class LinesOfTerminal(Lines):
    """Lines on standard error, as a context manager like :class:`LiveView`."""

    def __init__(self) -> None:
        super().__init__(lambda line: click.echo(line, err=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def open_view(output: str) -> LiveView | LinesOfTerminal:
    """Return the view that fits: a table where a person looks at a terminal and can be asked, else lines."""
    if output == "text" and sys.stderr.isatty() and sys.stdin.isatty():
        return LiveView(Console(stderr=True, highlight=False))
    return LinesOfTerminal()


def detached(application_id: str, view: View) -> int:
    """Say how to come back to an application that goes on, and return the exit status of an interrupt."""
    view.say(f"{application_id}: left running; to come back: tony_py attach {application_id}")
    return 130
