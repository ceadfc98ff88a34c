"""The index of runs: one small record an application, so that what ran is found after YARN forgot it.

A folder under the platform's runs. Everybody may add to it, and only its owner may replace a record, as in a
temporary folder. A run never fails because of its index.
"""

import datetime as dt
import getpass
import re
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from typing import Final, Literal

from msgspec.structs import replace

from tony_py.application import render_parameter
from tony_py.history import Event, read_history, render_events
from tony_py.places import places
from tony_py.plan import Launch
from yarnmill import fs, kerberos
from yarnmill.config import Config
from yarnmill.errors import BadDataError, NotFoundError, YarnMillError
from yarnmill.records import Record, canonical_json, parse_json
from yarnmill.report import RunReport

FOLDER: Final = ".tony_py"
_ENTRY: Final = ".json"
_HISTORY: Final = ".history.jsonl"
_REASON_LIMIT: Final = 500
_PASSWORD: Final = re.compile(r"//[^/@]*@")

RunState = Literal["running", "succeeded", "failed", "killed"]


class RunEntry(Record, frozen=True, kw_only=True):
    """What the index knows of one application.

    Parameters
    ----------
    application_id, name, framework, queue, user
        As YARN has them.
    output, work, fingerprint
        Where it writes, where it works, and what decides its result.
    inputs, parameters
        As its report has them.
    tracking, experiment
        The MLflow server that hears of it, without any password, and the experiment if it is not the name.
    submitted_at, finished_at, state, exit_reason
        From when to when, and how it ended.
    """

    application_id: str
    name: str
    framework: str
    queue: str
    user: str
    output: str
    work: str
    fingerprint: str
    submitted_at: dt.datetime
    state: RunState = "running"
    finished_at: dt.datetime | None = None
    exit_reason: str = ""
    inputs: tuple[str, ...] = ()
    parameters: dict[str, str] = {}
    tracking: str = ""
    experiment: str = ""
    schema_version: Literal[1] = 1


def index_url(config: Config) -> str:
    """Return the folder of the index of the platform's runs."""
    return fs.join(config.storage.runs, FOLDER)


def entry_of(launch: Launch, application_id: str, submitted_at: dt.datetime) -> RunEntry:
    """Return the record of an application that has just been sent."""
    application = launch.application
    where = places(application.output, launch.fingerprint)
    return RunEntry(
        application_id=application_id,
        name=application.name,
        framework=application.framework,
        queue=application.queue,
        user=_user(),
        output=where.output,
        work=where.work,
        fingerprint=launch.fingerprint,
        submitted_at=submitted_at,
        inputs=launch.identities or application.inputs,
        parameters={name: render_parameter(value) for name, value in application.parameters.items()},
        tracking=_PASSWORD.sub("//", application.tracking.uri),
        experiment=application.tracking.experiment,
    )


def ended(entry: RunEntry, report: RunReport, *, killed: bool = False) -> RunEntry:
    """Return the record of an application whose report is written."""
    return replace(
        entry,
        state="killed" if killed else report.state,
        finished_at=report.finished_at,
        exit_reason=report.exit_reason[:_REASON_LIMIT],
    )


class Index:
    """The records below one folder.

    Parameters
    ----------
    url
        The folder; empty: there is no index, nothing is kept and nothing is found.
    complain
        Takes a line when something could not be kept.
    """

    def __init__(self, url: str, complain: Callable[[str], None] = lambda _line: None) -> None:
        self.url = url
        self._complain = complain

    def keep(self, entry: RunEntry) -> None:
        """Write an application's record, in place of an earlier one."""
        self._write(f"{entry.application_id}{_ENTRY}", canonical_json(entry))

    def keep_history(self, application_id: str, events: list[Event]) -> None:
        """Write an application's events, in place of earlier ones."""
        self._write(f"{application_id}{_HISTORY}", render_events(events))

    def rescue(self, application_id: str, events: list[Event]) -> None:
        """Write the events of an application of which nothing was kept: their place is about to be taken."""
        if self.url and application_id:
            with suppress(YarnMillError):
                if not fs.exists(fs.join(self.url, f"{application_id}{_HISTORY}")):
                    self.keep_history(application_id, events)

    def _write(self, name: str, data: bytes) -> None:
        if not self.url:
            return
        try:
            fs.make_shared_folder(self.url)
            fs.write_bytes(fs.join(self.url, name), data, overwrite=True)
        except YarnMillError as problem:
            self._complain(f"not in the index of runs: {problem}")

    def find(self, application_id: str) -> RunEntry | None:
        """Return an application's record, or None."""
        if not self.url:
            return None
        url = fs.join(self.url, f"{application_id}{_ENTRY}")
        with suppress(NotFoundError, BadDataError):  # bad: of a version to come
            return parse_json(fs.read_bytes(url), RunEntry, source=url)
        return None

    def history(self, application_id: str) -> list[Event]:
        """Return an application's events; empty if none were kept."""
        if not self.url:
            return []
        try:
            return read_history(fs.join(self.url, f"{application_id}{_HISTORY}"))
        except NotFoundError:
            return []

    def newest(self, known: Container[str] = ()) -> Iterator[RunEntry]:
        """Yield the records of all but ``known`` applications, newest first; each is read when it is asked for."""
        try:
            names = [child.name for child in fs.children(self.url)] if self.url else []
        except NotFoundError:
            return
        for name in sorted((name for name in names if name.endswith(_ENTRY)), key=_age, reverse=True):
            application_id = name.removesuffix(_ENTRY)
            entry = self.find(application_id) if application_id not in known else None
            if entry is not None:
                yield entry


def _user() -> str:
    principal = kerberos.acting_principal()
    if principal:
        return re.split("[/@]", principal)[0]
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a node that knows the user's number only
        return ""


def _age(name: str) -> list[int]:
    """Return what orders ids by age: YARN counts its own starts and, without leading zeros, the applications."""
    return [int(digits) for digits in re.findall(r"\d+", name)]
