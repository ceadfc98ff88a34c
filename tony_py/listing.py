"""The runs there are: those that YARN remembers, and those that only the index does."""

from itertools import islice
from typing import Final

from tony_py.client import applications
from tony_py.index import Index, RunEntry, RunState, index_url
from tony_py.local import local_folder, local_index
from tony_py.lookup import Found, index_of
from tony_py.status import RunStatus
from yarnmill import yarn
from yarnmill.config import Config
from yarnmill.records import Record

_STATES: Final[dict[RunState, tuple[str, str]]] = {
    "running": ("FORGOTTEN", "UNDEFINED"),
    "succeeded": ("FINISHED", "SUCCEEDED"),
    "failed": ("FINISHED", "FAILED"),
    "killed": ("KILLED", "KILLED"),
}
"""State and final status, in YARN's words; an application that YARN forgot and that never ended is lost."""


class Listed(Record, frozen=True, kw_only=True):
    """One run, in YARN's words also where YARN forgot it; times are milliseconds since the epoch."""

    application_id: str
    name: str
    queue: str
    user: str
    state: str
    final_status: str
    progress: float = 0.0
    diagnostics: str = ""
    started_ms: int = 0
    finished_ms: int = 0
    tracking_url: str = ""
    output: str = ""
    is_in_yarn: bool = True


class Standing(Listed, frozen=True, kw_only=True):
    """One run with all its tasks."""

    run: RunStatus


def list_local(config: Config, *, running_only: bool, limit: int) -> list[Listed]:
    """Return the runs of this machine, newest first, at most ``limit``."""
    found = (_of_index(entry, is_local=True) for entry in local_index(local_folder(config)).newest())
    return list(islice((each for each in found if not running_only or each.state == "RUNNING"), limit))


def list_runs(config: Config, *, running_only: bool, limit: int) -> list[Listed]:
    """Return the runs, newest first: at most ``limit`` of those that YARN has forgotten, and of this machine's.

    Raises
    ------
    ClusterUnavailableError
        If YARN does not answer.
    """
    found = [_of_yarn(application) for application in applications(running_only=running_only)]
    if not running_only:
        known = {each.application_id for each in found}
        forgotten = islice(Index(index_url(config)).newest(known), limit)
        found += [_of_index(entry, is_local=False) for entry in forgotten]
    found += list_local(config, running_only=running_only, limit=limit)
    return sorted(found, key=lambda each: each.started_ms, reverse=True)


def standing(found: Found) -> Standing:
    """Return one run with all its tasks."""
    entry = found.entry
    if found.application is not None:
        listed = _of_yarn(found.application, entry.output if entry else found.run.output)
    elif entry is not None:
        listed = _of_index(entry, is_local=found.application_id.startswith("local_"))
    else:
        listed = _of_report(found)
    fields = {name: getattr(listed, name) for name in Listed.__struct_fields__}
    return Standing(**fields, run=found.run)


def _of_yarn(application: yarn.ApplicationStatus, output: str = "") -> Listed:
    return Listed(
        application_id=application.application_id,
        name=application.name,
        queue=application.queue,
        user=application.user,
        state=application.state,
        final_status=application.final_status,
        progress=application.progress,
        diagnostics=application.diagnostics,
        started_ms=application.started_ms,
        finished_ms=application.finished_ms,
        tracking_url=application.tracking_url,
        output=output,
    )


def _of_index(entry: RunEntry, *, is_local: bool) -> Listed:
    state, final_status = _STATES[entry.state]
    return Listed(
        application_id=entry.application_id,
        name=entry.name,
        queue=entry.queue,
        user=entry.user,
        state="RUNNING" if is_local and entry.state == "running" else state,
        final_status=final_status,
        progress=1.0 if entry.state == "succeeded" else 0.0,
        diagnostics="" if entry.state == "succeeded" else entry.exit_reason,
        started_ms=int(entry.submitted_at.timestamp() * 1000),
        finished_ms=int(entry.finished_at.timestamp() * 1000) if entry.finished_at else 0,
        output=entry.output,
        is_in_yarn=False,
    )


def _of_report(found: Found) -> Listed:
    """Return a run of which only its own files know."""
    report, run = found.report, found.run
    return Listed(
        application_id=found.application_id,
        name=report.job if report else run.name,
        queue="",
        user="",
        state="FINISHED",
        final_status=(report.state if report else run.phase).upper(),
        diagnostics=report.exit_reason if report and report.state == "failed" else "",
        started_ms=int((report.started_at.timestamp() if report else run.started_at) * 1000),
        finished_ms=int(report.finished_at.timestamp() * 1000) if report else 0,
        output=report.outputs[0] if report and report.outputs else run.output,
        is_in_yarn=False,
    )


def is_over(found: Found, config: Config) -> bool:
    """Return whether a run that was running has ended by now."""
    if found.application is not None:
        return yarn.application(found.application_id).is_finished
    entry = index_of(found.application_id, config).find(found.application_id)
    return entry is None or entry.state != "running"
