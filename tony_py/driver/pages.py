"""Pages under the application's tracking URL: the status page, and those that tasks serve themselves.

A proxy of the cluster stands before them and asks who is there; behind it a page is found by its route.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from types import TracebackType
from typing import Final, Protocol, Self

from tony_py.application import Application
from tony_py.driver.containers import import_skein
from tony_py.driver.gang import Gang, Recorder
from tony_py.driver.members import Member
from tony_py.driver.tasks import Endpoint, TaskId

STATUS_ROUTE: Final = "tony_py"
"""Route of the status page: no type of task can be called so."""

STATUS_TITLE: Final = "Tasks"

_LOOK_S: Final = 1.0
_CONNECT_S: Final = 1.0


class Pages(Protocol):
    """Whoever shows pages of an application to people."""

    is_guarded: bool
    """Whether an address is of no use to those who may not look."""

    def add(self, route: str, title: str, target: str) -> str:
        """Lead a route to the page at ``target``, and return the address that people use; empty if that failed."""

    def remove(self, route: str) -> None:
        """Let a route lead nowhere."""


class SkeinPages:
    """Pages that Skein's master shows, behind YARN's proxy."""

    is_guarded = True

    def __init__(self) -> None:
        skein = import_skein()
        self._ui = skein.ApplicationClient.from_current().ui
        self._errors = (skein.exceptions.SkeinError, ValueError)

    def add(self, route: str, title: str, target: str) -> str:
        """Add a page with a link; an application that cannot show it runs all the same."""
        with suppress(*self._errors):
            return str(self._ui.add_page(route, target, link_name=title).address)
        return ""

    def remove(self, route: str) -> None:
        """Remove a page."""
        with suppress(*self._errors):
            self._ui.remove_page(route)


class DirectPages:
    """Pages of this machine: nobody stands before them, so their addresses go to the person alone.

    Parameters
    ----------
    say
        Takes a line.
    """

    is_guarded = False

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def add(self, route: str, title: str, target: str) -> str:  # noqa: ARG002  # the protocol's signature
        """Tell the person, and return the target itself."""
        self._say(f"{title}: {target}")
        return target

    def remove(self, route: str) -> None:
        """Do nothing: the page ends with whoever serves it."""


class TaskPages:
    """Shows the page of each type of task that has one (``types.<type>.page``) while its first task serves it.

    The page is what answers at the task's spare port (``TONY_SPARE_PORT``, TonY's ``TB_PORT``). A context manager.

    Parameters
    ----------
    application
        The resolved application.
    gang
        Its tasks.
    pages
        Where to show them.
    record
        Takes an event for each page that is there.
    shown
        Takes a page's title and its address; empty: it is gone.
    """

    def __init__(
        self,
        application: Application,
        gang: Gang,
        pages: Pages,
        record: Recorder,
        shown: Callable[[str, str], None],
    ) -> None:
        self._titles = {TaskId(name, 0): kind.page for name, kind in application.types.items() if kind.page}
        self._gang = gang
        self._pages = pages
        self._record = record
        self._shown = shown
        self._targets: dict[TaskId, Endpoint] = {}
        self._quit = Event()
        self._thread = Thread(target=self._run, name="pages", daemon=True)

    def __enter__(self) -> Self:
        if self._titles:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._quit.set()
        if self._titles:
            self._thread.join()

    def _run(self) -> None:
        while not self._quit.wait(_LOOK_S):
            for task, title in self._titles.items():
                self._look(task, title)

    def _look(self, task: TaskId, title: str) -> None:
        member = self._gang.member(task)
        target = _target(member)
        before = self._targets.get(task)
        if before is not None and before != target:
            self._pages.remove(task.type)
            self._shown(title, "")
            del self._targets[task]
        if target is not None and task not in self._targets and _answers(target):
            url = self._pages.add(task.type, title, f"http://{target.host}:{target.spare_port}/")
            self._targets[task] = target
            if url:
                self._shown(title, url)
                self._record("page", task, page_in_words(title, url, self._pages))


def page_in_words(title: str, url: str, pages: Pages) -> str:
    """Return what the history says of a page: it is read by others, so it names no address that lets them in."""
    return f"{title}: {url}" if pages.is_guarded and url else title


def _target(member: Member) -> Endpoint | None:
    """Return where the page may be: at a program that runs, for its ports are new with every run."""
    return member.endpoint if member.is_running and member.state == "started" else None


def _answers(endpoint: Endpoint) -> bool:
    with suppress(OSError), socket.create_connection((endpoint.host, endpoint.spare_port), timeout=_CONNECT_S):
        return True
    return False
