"""All that people see of a run: its history kept, its place in the index, its pages, and whoever watches it live."""

import datetime as dt
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

from tony_py.application import Application
from tony_py.driver.dashboard import StatusServer
from tony_py.driver.gang import Gang
from tony_py.driver.observer import Observer
from tony_py.driver.pages import STATUS_ROUTE, STATUS_TITLE, Pages, TaskPages, page_in_words
from tony_py.driver.recording import Recording
from tony_py.history import History
from tony_py.index import Index, ended, entry_of
from tony_py.plan import Launch
from tony_py.tracking.messages import run_start
from tony_py.tracking.tracker import Tracker
from yarnmill.errors import YarnMillError
from yarnmill.report import RunReport

Watch = Callable[[Observer, History], None]
"""Called about once a second, and once more at the end."""


def nobody_watches(_observer: Observer, _history: History) -> None:
    """Do nothing."""


class Lookout:
    """Stands beside a run from its first event to its last; a context manager.

    Parameters
    ----------
    launch, application_id, started_at
        What runs, under which name, from when.
    history
        Its events.
    pages
        Where pages are shown; None: nowhere.
    watch
        Who watches.
    """

    def __init__(
        self,
        launch: Launch,
        application_id: str,
        started_at: dt.datetime,
        history: History,
        pages: Pages | None,
        watch: Watch,
    ) -> None:
        self._history = history
        self._pages = pages
        self._watch = watch
        self._index = Index(launch.index, _complain)
        self._entry = self._index.find(application_id) or entry_of(launch, application_id, started_at)
        self._application = launch.application
        self._observer = Observer(launch.application, self._entry, history)
        self._open = ExitStack()
        self._gang: Gang | None = None
        self.record = Recording(history)
        self._tracker = Tracker(run_start(launch, application_id, started_at), self._tell_of_tracking)

    def __enter__(self) -> Self:
        self._index.keep(self._entry)
        self._open.enter_context(self._tracker)
        if self._pages is not None and self._application.dashboard:
            page = self._open.enter_context(StatusServer(self._observer.status))
            url = self._pages.add(STATUS_ROUTE, STATUS_TITLE, page.url)
            self._history.record("page", detail=page_in_words(STATUS_TITLE, url, self._pages))
        return self

    def know(self, gang: Gang, application: Application) -> None:
        """Show this gang from here on, and the pages of its tasks."""
        self._gang = gang
        self.record.know(gang)
        self._observer.know(gang)
        self._tracker.add_parameters(application.parameters)
        if self._pages is not None:
            self._open.enter_context(TaskPages(application, gang, self._pages, self.record, self._observer.show_page))

    def look(self) -> None:
        """Bring what happened to where people look."""
        self._history.flush()
        self._watch(self._observer, self._history)
        if self._gang is not None:
            self._tracker.sample(self._gang.members())

    def note_end(self, report: RunReport) -> RunReport:
        """Note how the run ended, and return its report."""
        self._index.keep(ended(self._entry, report))
        self._tracker.end(report, self._gang.members() if self._gang else {}, self._history.events)
        return report

    def _tell_of_tracking(self, words: str) -> None:
        self._history.record("tracking", detail=words)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._tracker.fail(str(error) or type(error).__name__)
        self._open.close()
        if error is not None:
            self._history.record("failed", detail=str(error) or type(error).__name__)
            with suppress(YarnMillError):
                self._history.flush()
        self._index.keep_history(self._entry.application_id, self._history.events)
        self._watch(self._observer, self._history)


def _complain(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201  # the driver's log
