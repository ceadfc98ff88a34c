"""How a run ends: its report written into its output, and the output moved into place by one rename."""

import datetime as dt
from contextlib import suppress
from typing import Final

from msgspec.structs import replace as _replace

from tony_py.application import render_parameter
from tony_py.driver.gang import Gang
from tony_py.driver.supervisor import Failure
from tony_py.history import HISTORY_NAME, Event, History, render_events
from tony_py.places import Places, places
from tony_py.plan import Launch
from tony_py.timeline import timeline
from yarnmill import fs
from yarnmill.errors import NotFoundError, YarnMillError
from yarnmill.records import parse_json
from yarnmill.report import REPORT_NAME, RunReport, TaskExit, read_report, write_report

METRICS_NAME: Final = "metrics.json"


def conclude(
    launch: Launch, application_id: str, started_at: dt.datetime, gang: Gang, failure: Failure | None, history: History
) -> RunReport:
    """Commit the output of a run that ended well, write the report, and return it.

    A report and the history stand in the output also after a failure, so that whoever looks there finds the cause;
    the checkpoints stay then, and the next run with the same fingerprint resumes from them.
    """
    where = places(launch.application.output, launch.fingerprint)
    report = _report(launch, application_id, started_at, gang, failure, history)
    if report.state == "succeeded":
        metrics, problem = _metrics(where.staging)
        if problem is not None:
            report = failed_report(launch, application_id, started_at, str(problem), like=report)
        else:
            report = _replace(report, metrics=metrics)
            history.record("succeeded", detail=report.exit_reason)
            fs.write_bytes(fs.join(where.staging, HISTORY_NAME), history.render())
            write_report(where.staging, report)
            _commit(where, overwrite=launch.overwrite)
            with suppress(YarnMillError):  # what is left over is hidden and harmless
                fs.delete(where.work)
            return report
    if failure is None:
        history.record("failed", detail=report.exit_reason)
    write_failed(where, report, history.events)
    return report


def write_failed(where: Places, report: RunReport, events: list[Event]) -> None:
    """Write a failure's report and its history into the output, or beside it when a good output stands there."""
    folder = where.work if _holds_good(where.output) else where.output
    fs.write_bytes(fs.join(folder, HISTORY_NAME), render_events(events), overwrite=True)
    write_report(folder, report)


def failed_report(
    launch: Launch, application_id: str, started_at: dt.datetime, cause: str, *, like: RunReport | None = None
) -> RunReport:
    """Return the report of a run that ended without success."""
    application = launch.application
    base = like or RunReport(
        job=application.name,
        run_id=application_id,
        application_id=application_id,
        fingerprint=launch.fingerprint,
        state="failed",
        started_at=started_at,
        finished_at=started_at,
        exit_reason=cause,
        inputs=launch.identities or application.inputs,
        parameters={name: render_parameter(value) for name, value in application.parameters.items()},
    )
    return _replace(base, state="failed", exit_reason=cause, finished_at=dt.datetime.now(dt.UTC))


def _report(
    launch: Launch, application_id: str, started_at: dt.datetime, gang: Gang, failure: Failure | None, history: History
) -> RunReport:
    base = failed_report(launch, application_id, started_at, failure.cause if failure else "")
    tasks = tuple(
        TaskExit(
            task=str(task),
            exit_code=member.end.exit_code if member.end else -1,
            container_id=member.container_id,
            host=member.endpoint.host if member.endpoint else "",
        )
        for task, member in gang.members().items()
        if member.attempt
    )
    times = timeline(history.events)
    timings = {"queue": times.queue_s, "gang": times.gang_s, "programs": times.programs_s}
    counts = {"tasks": len(tasks), "restarts": times.restarts}
    base = _replace(base, tasks=tasks, timings_s=timings | {"restarting": times.restarting_s}, counts=counts)
    if failure is not None:
        return base
    bad = [str(task) for task, member in gang.members().items() if member.is_out and member.has_failed]
    reason = f"{len(tasks) - len(bad)} tasks ended well" if bad else f"all {len(tasks)} tasks ended well"
    reason += f", {', '.join(bad)} failed and may" if bad else ""
    reason += f", after {times.restarts} restarts" if times.restarts else ""
    return _replace(base, state="succeeded", exit_reason=reason, outputs=(launch.application.output,))


def _metrics(staging: str) -> tuple[dict[str, float], YarnMillError | None]:
    """Return the numbers that the programs left in their output; none is fine, a damaged file is not."""
    url = fs.join(staging, METRICS_NAME)
    try:
        return parse_json(fs.read_bytes(url), dict[str, float], source=url), None
    except NotFoundError:
        return {}, None
    except YarnMillError as problem:
        return {}, problem


def _commit(where: Places, *, overwrite: bool) -> None:
    """Move the result into place. A failed run's report makes room for it; a finished run only if that was asked.

    What made room is deleted only when the result stands: a crash in between leaves it beside the output.
    """
    is_failed = fs.exists(fs.join(where.output, REPORT_NAME)) and not _holds_good(where.output)
    if fs.exists(where.output) and (overwrite or is_failed):
        fs.delete(where.replaced)
        fs.rename(where.output, where.replaced)
    fs.rename(where.staging, where.output)


def _holds_good(output: str) -> bool:
    return fs.exists(fs.join(output, REPORT_NAME)) and read_report(output).state == "succeeded"
