"""From the submitting side: refuse what cannot work, send the rest, follow it to its end.

The application does not need this side: the driver decides, commits and reports, so a client that went
away loses nothing.
"""

import datetime as dt
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from tony_py.application import Application
from tony_py.driver.conclusion import failed_report, write_failed
from tony_py.driver.containers import import_skein, without_warnings
from tony_py.fitting import refuse_impossible
from tony_py.history import read_history
from tony_py.packing import prepare
from tony_py.places import Places, places
from tony_py.plan import TAG, Launch, Upload, plan, render_plan
from tony_py.resolving import resolved
from tony_py.skeinspec import SkeinApplication
from tony_py.uploading import is_uploaded, upload
from yarnmill import fs, yarn
from yarnmill.config import Config
from yarnmill.errors import ClusterUnavailableError, ConfigurationError, ConflictError, JobFailedError, YarnMillError
from yarnmill.records import Record
from yarnmill.report import REPORT_NAME, RunReport, find_finished, read_report
from yarnmill.scheduler import read_cluster

Progress = Callable[[str], None]

_POLL_S: Final = 0.5
_SETTLE_S: Final = 5.0
"""How long the report may come after YARN's word that the application has ended."""


class Planned(Record, frozen=True, kw_only=True):
    """Everything that sending needs, and that ``--plan`` prints."""

    launch: Launch
    skein: SkeinApplication
    uploads: tuple[Upload, ...] = ()

    @property
    def text(self) -> str:
        """The YAML that plain ``skein application submit`` accepts."""
        return render_plan(self.skein)


class Submitted(Record, frozen=True, kw_only=True):
    """What became of a submission: a run that had been done already, or an application on YARN."""

    state: Literal["up to date", "submitted"]
    application_id: str
    output: str


def plan_application(application: Application, config: Config, *, overwrite: bool = False) -> Planned:
    """Return what would be sent for an application.

    Raises
    ------
    YarnMillError
        If a file, an input or a parameter is missing or cannot be meant.
    """
    environments = config.storage.environments
    launch, shipment = prepare(resolved(application, config), environments=environments, overwrite=overwrite)
    return Planned(launch=launch, skein=plan(launch.application, shipment), uploads=shipment.uploads)


def run_application(
    application: Application, config: Config, progress: Progress, *, overwrite: bool = False
) -> tuple[RunReport, bool]:
    """Run an application unless it is done already; return its report and whether anything was run.

    Parameters
    ----------
    application
        As loaded; defaults come from ``config``.
    config
        The platform's configuration.
    progress
        Called with a line whenever something happened.
    overwrite
        Let this run's output take the place of another run's.

    Raises
    ------
    JobFailedError
        If the application failed: with the first failing task's exit code and last words.
    YarnMillError
        If it was refused before it was sent.
    """
    planned = plan_application(application, config, overwrite=overwrite)
    finished = finished_report(planned.launch)
    if finished is not None:
        progress(f"{planned.launch.application.name}: up to date ({finished.application_id})")
        return finished, False
    application_id = submit(planned, progress)
    progress(f"{application_id}: submitted to queue {planned.skein.queue}")
    return follow(planned.launch, application_id, progress), True


def finished_report(launch: Launch) -> RunReport | None:
    """Return the report of an earlier run of the same thing, or None."""
    return find_finished(launch.application.output, launch.fingerprint)


def missing_on_hdfs(planned: Planned) -> list[str]:
    """Return a line about everything that the plan names on HDFS and a submission would upload first."""
    return [
        f"{needed.key}: {needed.source} is not on HDFS yet; `tony_py submit` uploads it first, `tony_py upload` alone"
        for needed in planned.uploads
        if not is_uploaded(needed)
    ]


def upload_needed(planned: Planned, progress: Progress) -> None:
    """Bring to HDFS what the plan names there and is not there yet."""
    for needed in planned.uploads:
        upload(needed, progress)


def submit(planned: Planned, progress: Progress) -> str:
    """Send an application to YARN, its environment before it where that is new, and return its id.

    Raises
    ------
    ConfigurationError
        If it can never fit on the cluster.
    ConflictError
        If another run's output stands where this one's is to go.
    ClusterUnavailableError
        If YARN does not answer or does not take it.
    """
    refuse_impossible(planned.launch.application, read_cluster())
    _refuse_taken(planned.launch)
    upload_needed(planned, progress)
    with skein_client() as client:
        try:
            return str(client.submit(yaml.safe_load(planned.text)))
        except Exception as error:
            if _is_skein_error(error):
                raise ClusterUnavailableError(f"YARN did not take the application: {error}") from None
            raise


def _refuse_taken(launch: Launch) -> None:
    output = launch.application.output
    if launch.overwrite or not fs.exists(output):
        return
    if not fs.exists(fs.join(output, REPORT_NAME)) or read_report(output).state == "succeeded":
        raise ConflictError(
            f"{output}: already holds the output of another run",
            expected="an output of its own for every application",
            mend="name another output, or let it be replaced with --overwrite",
        )


def follow(launch: Launch, application_id: str, progress: Progress) -> RunReport:
    """Follow an application to its end; kill it if interrupted.

    Raises
    ------
    JobFailedError
        If it ended without success.
    """
    where = places(launch.application.output, launch.fingerprint)
    try:
        status = _watch(where, application_id, progress)
    except KeyboardInterrupt:
        progress(f"{application_id}: interrupted, killing it")
        kill(application_id)
        raise
    report = _report_of(launch, where, status)
    if report.state != "succeeded":
        raise JobFailedError(
            f"{application_id} failed: {report.exit_reason}",
            mend=f"what all containers wrote: tony_py logs {application_id}; a rerun resumes from the last checkpoint",
        )
    progress(f"{application_id}: {report.exit_reason}")
    return report


def _watch(where: Places, application_id: str, progress: Progress) -> yarn.ApplicationStatus:
    seen, state = 0, ""
    while True:
        status = yarn.application(application_id)
        if status.state != state:
            state = status.state
            progress(f"{application_id}: {state}")
        seen = _tell_events(where, application_id, seen, progress)
        if status.is_finished:
            return status
        time.sleep(_POLL_S)


def _tell_events(where: Places, application_id: str, seen: int, progress: Progress) -> int:
    try:
        events = read_history(where.history)
    except YarnMillError:  # not yet, no longer, or being replaced right now
        return seen
    if not events or events[0].detail != application_id:  # of an earlier try
        return seen
    for event in events[seen:]:
        first_line = event.detail.partition("\n")[0]  # a traceback comes whole with the error
        progress(" ".join(part for part in (event.event, event.task, first_line) if part))
    return len(events)


def _report_of(launch: Launch, where: Places, status: yarn.ApplicationStatus) -> RunReport:
    """Return the driver's report; write it in the driver's place if the driver could not (killed, node lost)."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        for folder in (where.output, where.work):
            if fs.exists(fs.join(folder, REPORT_NAME)):
                report = read_report(folder)
                if report.application_id == status.application_id:
                    return report
        if status.state == "KILLED" or time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    cause = status.diagnostics or f"the application ended as {status.final_status} without a report"
    started_at = dt.datetime.fromtimestamp(status.started_ms / 1000, dt.UTC)
    report = failed_report(launch, status.application_id, started_at, cause)
    write_failed(where, report)
    return report


def kill(application_id: str) -> None:
    """Kill an application; NotFoundError if YARN does not know it."""
    if yarn.application(application_id).is_finished:
        return
    with skein_client() as client:
        client.kill_application(application_id)


def applications(*, running_only: bool = False) -> list[yarn.ApplicationStatus]:
    """Return this package's applications that YARN remembers, newest first."""
    states = ("NEW", "NEW_SAVING", "SUBMITTED", "ACCEPTED", "RUNNING") if running_only else ()
    return yarn.applications(tag=TAG, states=states)


def logs(application_id: str) -> str:
    """Return all containers' logs as YARN has them, of running applications too.

    Raises
    ------
    JobFailedError
        If YARN cannot give them.
    """
    yarn.application(application_id)
    command = [_yarn_command(), "logs", "-applicationId", application_id]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        raise JobFailedError(f"{application_id}: no logs: {(done.stderr or done.stdout).strip()[-1000:]}")
    return done.stdout


def _yarn_command() -> str:
    found = shutil.which("yarn")
    if found is None:
        raise ConfigurationError("the command `yarn` is not on PATH", mend='eval "$(yarnmill cluster env)"')
    return found


@contextmanager
def skein_client() -> Iterator[Any]:
    """Give a client of Skein: of the Java process that ``skein driver start`` left up, or of one of its own."""
    _yarn_command()
    skein = import_skein()
    try:
        with without_warnings():
            client = _running_driver(skein) or skein.Client(security=_credentials(skein), log=False)
    except skein.exceptions.SkeinError as error:
        raise ClusterUnavailableError(f"Skein's Java process did not start: {error}", mend="yarnmill doctor") from None
    try:
        yield client
    finally:
        client.close()


def _running_driver(skein: Any) -> Any:  # noqa: ANN401  # Skein has no types
    """Return a client of the driver that somebody started for good, or None: it saves two seconds of Java."""
    try:
        return skein.Client.from_global_driver()
    except (skein.exceptions.DriverNotRunningError, skein.exceptions.ConnectionError, FileNotFoundError):
        return None


def _credentials(skein: Any) -> Any:  # noqa: ANN401  # Skein has no types
    """Return the user's certificate pair, made on first use: Skein itself would warn while it makes one."""
    folder = os.environ.get("SKEIN_CONFIG") or str(Path("~/.skein").expanduser())
    try:
        return skein.Security.from_directory(folder)
    except FileNotFoundError:
        try:
            return skein.Security.new_credentials().to_directory(folder)
        except FileExistsError:  # somebody else made it meanwhile
            return skein.Security.from_directory(folder)


def _is_skein_error(error: Exception) -> bool:
    return isinstance(error, (import_skein().exceptions.SkeinError, ValueError, ConnectionError))
