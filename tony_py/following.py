"""An application followed to its end: from the moment it was sent, or later from anywhere.

The application does not need this: the driver decides, commits and reports, so whoever follows may leave.
"""

import datetime as dt
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, Self

from tony_py.driver.conclusion import write_failed
from tony_py.history import HISTORY_NAME, Event, application_of, read_history
from tony_py.index import Index, RunEntry, ended
from tony_py.live import live_status
from tony_py.places import Places
from tony_py.replay import status_of_history
from tony_py.status import RunStatus
from tony_py.tracking.messages import Status, run_end, run_start_afterwards
from tony_py.tracking.tracker import Tracker
from tony_py.viewing import Glance, View
from yarnmill import fs, yarn
from yarnmill.errors import ClusterUnavailableError, ConfigurationError, JobFailedError, NotFoundError, YarnMillError
from yarnmill.report import REPORT_NAME, RunReport, read_report
from yarnmill.units import render_seconds

_POLL_S: Final = 0.5
_SETTLE_S: Final = 5.0
"""How long the report may come after YARN's word that the application has ended."""

_TRACKING_S: Final = 60.0
"""How long MLflow may take to hear of an application whose driver could not tell it: loading it alone takes seconds."""

_PATIENCE_S: Final = 120.0
"""How long YARN may be silent before whoever follows gives up."""

_DEATH_S: Final = 15.0
"""How long an application that was killed may take to be gone."""


class DetachedError(Exception):
    """The follower left, and the application goes on."""

    def __init__(self, application_id: str) -> None:
        super().__init__(application_id)
        self.application_id = application_id


def follow(entry: RunEntry, view: View, index: Index, kill: Callable[[str], None]) -> RunReport:
    """Follow an application to its end and return its report.

    Parameters
    ----------
    entry
        The application.
    view
        Who sees it, and who is asked when the follower is interrupted.
    index
        Where its end is noted if its driver cannot any more.
    kill
        Ends an application.

    Raises
    ------
    JobFailedError
        If it ended without success.
    DetachedError
        If the person left it running.
    KeyboardInterrupt
        If the person had it killed.
    """
    with _Interrupts() as interrupts:
        status = _follow(entry, view, index, kill, interrupts)
    report = report_of(entry, status, index)
    if report.state != "succeeded":
        raise JobFailedError(
            f"{entry.application_id} failed: {report.exit_reason}",
            mend=f"tony_py diagnose {entry.application_id}; a rerun resumes from the last checkpoint",
        )
    view.say(f"{entry.application_id}: {report.exit_reason}")
    return report


def _follow(
    entry: RunEntry, view: View, index: Index, kill: Callable[[str], None], interrupts: "_Interrupts"
) -> yarn.ApplicationStatus:
    while True:
        try:
            return _watch(entry, view, interrupts)
        except ConfigurationError as problem:  # the ticket has expired: the application lives by tokens of its own
            again = f"{problem.mend}; the application goes on: tony_py attach {entry.application_id}"
            raise ConfigurationError(problem.what, expected=problem.expected, mend=again) from None
        except KeyboardInterrupt:
            interrupts.heard()
            decision = view.interrupted()
            if decision == "detach":
                raise DetachedError(entry.application_id) from None
            if decision == "kill":
                view.say(f"{entry.application_id}: interrupted, killing it")
                with _deaf_to_interrupts():
                    kill(entry.application_id)
                    _note_death(entry, index)
                raise


def _note_death(entry: RunEntry, index: Index) -> None:
    deadline = time.monotonic() + _DEATH_S
    while not (status := yarn.application(entry.application_id)).is_finished:
        if time.monotonic() > deadline:
            return
        time.sleep(_POLL_S)
    report_of(entry, status, index)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let an impatient further Ctrl-C not break off what ends the application."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Interrupts:
    """Ctrl-C as ever, and heard at the next look where Python cannot pass it on.

    One that comes while an object is finalised, or in a callback of another language, ends nothing but that.
    """

    def __init__(self) -> None:
        self._came = False
        self._before: Any = None

    def __enter__(self) -> Self:
        before = signal.getsignal(signal.SIGINT)
        if callable(before) and threading.current_thread() is threading.main_thread():
            self._before = before
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def look(self) -> None:
        """Raise KeyboardInterrupt if one came that was not heard."""
        if self._came:
            raise KeyboardInterrupt

    def heard(self) -> None:
        """Wait for the next one."""
        self._came = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        self._before(number, frame)


def _watch(entry: RunEntry, view: View, interrupts: _Interrupts) -> yarn.ApplicationStatus:
    while True:
        interrupts.look()
        application = _ask_yarn(entry.application_id, view)
        events = events_of(entry)
        status = _status(application, entry, events) if view.wants_status else None
        view.show(Glance(entry.application_id, application.state, events, status))
        if application.is_finished:
            return application
        time.sleep(_POLL_S)


def _ask_yarn(application_id: str, view: View) -> yarn.ApplicationStatus:
    """Return what YARN says; a ResourceManager that is away for a while is waited for, as the application does."""
    deadline = time.monotonic() + _PATIENCE_S
    is_told = False
    while True:
        try:
            return yarn.application(application_id)
        except ClusterUnavailableError as problem:
            if time.monotonic() > deadline:
                again = f"the application goes on if its cluster does: tony_py attach {application_id}"
                raise ClusterUnavailableError(problem.what, mend=again) from None
            if not is_told:
                view.say(f"{application_id}: {problem.what}; asking again for {render_seconds(_PATIENCE_S)}")
                is_told = True
            time.sleep(_POLL_S)


def _status(application: yarn.ApplicationStatus, entry: RunEntry, events: list[Event]) -> RunStatus:
    return live_status(application) or status_of_history(events, entry, time.time())


def events_of(entry: RunEntry) -> list[Event]:
    """Return an application's events from where it works or wrote; empty if there are none yet, or no longer."""
    for url in (Places(output=entry.output, work=entry.work).history, fs.join(entry.output, HISTORY_NAME)):
        with suppress(YarnMillError):  # not yet, no longer, or being replaced right now
            events = read_history(url)
            if application_of(events) == entry.application_id:
                return events
    return []


def report_of(entry: RunEntry, application: yarn.ApplicationStatus, index: Index) -> RunReport:
    """Return the driver's report; write it in the driver's place if the driver could not (killed, node lost)."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        report = find_report(entry)
        if report is not None:
            return report
        if application.state == "KILLED" or time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    report = _report_without_driver(entry, application)
    is_killed = application.state == "KILLED"
    events = events_of(entry)
    if events:
        last = Event(
            at=report.finished_at.timestamp(), event="killed" if is_killed else "failed", detail=report.exit_reason
        )
        events = [*events, last]
        index.keep_history(entry.application_id, events)
    write_failed(Places(output=entry.output, work=entry.work), report, events)
    index.keep(ended(entry, report, killed=is_killed))
    _tell_of_end(entry, report, "KILLED" if is_killed else "FAILED")
    return report


def _tell_of_end(entry: RunEntry, report: RunReport, status: Status) -> None:
    """Tell MLflow what the driver could not any more."""
    if entry.tracking:
        with Tracker(run_start_afterwards(entry, entry.tracking), lambda _words: None) as tracker:
            tracker.finish(run_end(report, {}, status), _TRACKING_S)


def find_report(entry: RunEntry) -> RunReport | None:
    """Return the report that this very application wrote, or None."""
    for folder in (entry.output, entry.work):
        if folder and fs.exists(fs.join(folder, REPORT_NAME)):
            try:
                report = read_report(folder)
            except NotFoundError:  # moved away since
                continue
            if report.application_id == entry.application_id:
                return report
    return None


def _report_without_driver(entry: RunEntry, application: yarn.ApplicationStatus) -> RunReport:
    cause = application.diagnostics or f"the application ended as {application.final_status} without a report"
    return RunReport(
        job=entry.name,
        run_id=entry.application_id,
        application_id=entry.application_id,
        fingerprint=entry.fingerprint,
        state="failed",
        started_at=dt.datetime.fromtimestamp(application.started_ms / 1000, dt.UTC),
        finished_at=dt.datetime.fromtimestamp(application.finished_ms / 1000, dt.UTC)
        if application.finished_ms
        else dt.datetime.now(dt.UTC),
        exit_reason=cause,
        inputs=entry.inputs,
        parameters=entry.parameters,
    )
