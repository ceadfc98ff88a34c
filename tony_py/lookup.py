"""A run found again by its application or by its output: in YARN, in the index, on HDFS, on this machine."""

import datetime as dt
import re
import time
from dataclasses import dataclass, field
from typing import Final

from tony_py.following import events_of, find_report
from tony_py.history import HISTORY_NAME, Event, application_of, read_history
from tony_py.index import Index, RunEntry, index_url
from tony_py.live import live_status
from tony_py.local import local_folder, local_index
from tony_py.replay import status_of_history
from tony_py.status import RunStatus
from yarnmill import fs, yarn
from yarnmill.config import Config
from yarnmill.errors import NotFoundError
from yarnmill.report import REPORT_NAME, RunReport, read_report

_APPLICATION: Final = re.compile(r"^application_\d+_\d+$")
_LOCAL: Final = re.compile(r"^local_\w+$")


@dataclass(frozen=True)
class Found:
    """What can be known of one run.

    Parameters
    ----------
    application_id
        Its name on the cluster, or on this machine.
    application
        What YARN says of it; None: YARN does not know it, or not any more.
    entry
        What the index says.
    report
        What it wrote in the end.
    events
        Its history.
    status
        What it says itself while it runs.
    """

    application_id: str
    application: yarn.ApplicationStatus | None = None
    entry: RunEntry | None = None
    report: RunReport | None = None
    events: list[Event] = field(default_factory=list)
    status: RunStatus | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, as far as is known."""
        if self.application is not None:
            return not self.application.is_finished
        return self.report is None and self.entry is not None and self.entry.state == "running"

    @property
    def run(self) -> RunStatus:
        """The run as itself says, or as its history tells it."""
        return self.status or status_of_history(self.events, self.entry, time.time())


def is_local(name: str) -> bool:
    """Return whether a name is that of a run of this machine."""
    return _LOCAL.match(name) is not None


def index_of(name: str, config: Config) -> Index:
    """Return the index that knows an application."""
    return local_index(local_folder(config)) if is_local(name) else Index(index_url(config))


def find(name: str, config: Config) -> Found:
    """Return what is known of an application, or of the last run that wrote to an output.

    Raises
    ------
    NotFoundError
        If nothing is known of it anywhere.
    """
    if _APPLICATION.match(name) or is_local(name):
        return find_application(name, config)
    return find_output(name, config)


def find_application(application_id: str, config: Config) -> Found:
    """Return what is known of an application by its id."""
    application = None if is_local(application_id) else _of_yarn(application_id)
    index = index_of(application_id, config)
    entry = index.find(application_id)
    status = live_status(application) if application is not None else None
    if entry is None and status is not None:
        entry = _entry_of_status(status, application)
    if application is None and entry is None:
        raise NotFoundError(
            f"{application_id}: neither YARN nor the index at {index.url} knows it",
            mend="name its output instead: the report and the history stand there",
        )
    events = max(index.history(application_id), events_of(entry) if entry else [], key=len)
    report = find_report(entry) if entry else None
    return Found(application_id, application, entry, report, events, status)


def find_output(url: str, config: Config) -> Found:
    """Return what is known of the last run that wrote to an output, also if it left nothing but a trace beside it."""
    folders = [url, *_work_folders(url)]
    events = max((_events_at(folder) for folder in folders), key=lambda each: each[0].at if each else 0.0)
    reports = [report for folder in folders if (report := _report_at(folder)) is not None]
    application_id = application_of(events) or next((report.application_id for report in reports), "")
    if not application_id:
        raise NotFoundError(
            f"{url}: no report and no history of a run stand there",
            expected="an application, such as application_1700000000000_0001, or the output of one",
            mend="tony_py list",
        )
    report = next((each for each in reports if each.application_id == application_id), None)
    if report is None:
        return find_application(application_id, config)
    entry = index_of(application_id, config).find(application_id)
    return Found(application_id, None, entry, report, events)


def _work_folders(output: str) -> list[str]:
    parent, _, name = output.rstrip("/").rpartition("/")
    if not parent or not fs.exists(parent):
        return []
    return [each.url for each in fs.children(parent) if each.is_folder and each.name.startswith(f".{name}.")]


def _report_at(folder: str) -> RunReport | None:
    return read_report(folder) if fs.exists(fs.join(folder, REPORT_NAME)) else None


def _events_at(folder: str) -> list[Event]:
    url = fs.join(folder, HISTORY_NAME)
    return read_history(url) if fs.exists(url) else []


def _of_yarn(application_id: str) -> yarn.ApplicationStatus | None:
    try:
        return yarn.application(application_id)
    except NotFoundError:
        return None


def _entry_of_status(status: RunStatus, application: yarn.ApplicationStatus | None) -> RunEntry:
    return RunEntry(
        application_id=status.application_id,
        name=status.name,
        framework=status.framework,
        queue=status.queue,
        user=application.user if application else "",
        output=status.output,
        work=status.work,
        fingerprint=status.fingerprint,
        submitted_at=dt.datetime.fromtimestamp(status.started_at, dt.UTC),
    )
