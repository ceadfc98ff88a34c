"""From the submitting side: refuse what cannot work, send the rest, follow it to its end."""

import datetime as dt
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from msgspec.structs import replace

from tony_py.application import Application
from tony_py.driver.containers import import_skein
from tony_py.fitting import refuse_impossible
from tony_py.following import follow
from tony_py.index import Index, entry_of, index_url
from tony_py.packing import prepare
from tony_py.plan import TAG, Launch, Upload, plan, render_plan
from tony_py.resolving import resolved
from tony_py.skeinspec import SkeinApplication
from tony_py.uploading import is_uploaded, upload
from tony_py.viewing import Lines, Progress, View
from yarnmill import fs, kerberos, yarn
from yarnmill.config import Config
from yarnmill.errors import ClusterUnavailableError, ConfigurationError, ConflictError
from yarnmill.javaoptions import QUICK_JAVA
from yarnmill.records import Record
from yarnmill.report import REPORT_NAME, RunReport, find_finished, read_report
from yarnmill.scheduler import read_cluster

_JAVA_CAUSE: Final = re.compile(r"^(?:[\w$]+\.)+(?P<name>\w+): (?P<words>.*)$", re.MULTILINE)


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
    launch, shipment = prepare(
        _guarded(resolved(application, config)),
        environments=config.storage.environments,
        overwrite=overwrite,
        index=index_url(config),
    )
    return Planned(launch=launch, skein=plan(launch.application, shipment), uploads=shipment.uploads)


def _guarded(application: Application) -> Application:
    """Return the application, closed to others where people prove who they are and nothing else was said."""
    access = application.access
    if access.restricted is not None:
        return application
    return replace(application, access=replace(access, restricted=kerberos.is_secured()))


def run_application(
    application: Application, config: Config, progress: Progress | View, *, overwrite: bool = False
) -> tuple[RunReport, bool]:
    """Run an application unless it is done already; return its report and whether anything was run.

    Parameters
    ----------
    application
        As loaded; defaults come from ``config``.
    config
        The platform's configuration.
    progress
        Called with a line whenever something happened; or a view of the run.
    overwrite
        Let this run's output take the place of another run's.

    Raises
    ------
    JobFailedError
        If the application failed: with the first failing task's exit code and last words.
    DetachedError
        If the person who looks at the view left it running.
    YarnMillError
        If it was refused before it was sent.
    """
    view = Lines(progress) if callable(progress) else progress
    planned = plan_application(application, config, overwrite=overwrite)
    finished = finished_report(planned.launch)
    if finished is not None:
        view.say(f"{planned.launch.application.name}: up to date ({finished.application_id})")
        return finished, False
    application_id = submit(planned, view.say)
    view.say(f"{application_id}: submitted to queue {planned.skein.queue}")
    entry = entry_of(planned.launch, application_id, dt.datetime.now(dt.UTC))
    return follow(entry, view, Index(planned.launch.index, view.say), kill), True


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
    refusals = _refusals("YARN did not take the application", mend="ask for access to the queue")
    with skein_client() as client, refusals:
        application_id = str(client.submit(yaml.safe_load(planned.text)))
    Index(planned.launch.index).keep(entry_of(planned.launch, application_id, dt.datetime.now(dt.UTC)))
    return application_id


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


def kill(application_id: str) -> None:
    """Kill an application; NotFoundError if YARN does not know it."""
    if yarn.application(application_id).is_finished:
        return
    mend = "ask whoever sent it to name you in its access.modify_users"
    with skein_client() as client, _refusals(f"{application_id}: YARN did not end it", mend=mend):
        client.kill_application(application_id)


def applications(*, running_only: bool = False) -> list[yarn.ApplicationStatus]:
    """Return this package's applications that YARN remembers, newest first."""
    states = ("NEW", "NEW_SAVING", "SUBMITTED", "ACCEPTED", "RUNNING") if running_only else ()
    return yarn.applications(tag=TAG, states=states)


def yarn_command() -> str:
    """Return the path of the command ``yarn``; ConfigurationError if there is none."""
    found = shutil.which("yarn")
    if found is None:
        raise ConfigurationError("the command `yarn` is not on PATH", mend='eval "$(yarnmill cluster env)"')
    return found


@contextmanager
def skein_client() -> Iterator[Any]:
    """Give a client of Skein: of the Java process that ``skein driver start`` left up, or of one of its own."""
    yarn_command()
    skein = import_skein()
    try:
        client = _running_driver(skein) or skein.Client(
            security=_credentials(skein), log=False, java_options=_java_options()
        )
    except skein.exceptions.SkeinError as error:
        raise ClusterUnavailableError(f"Skein's Java process did not start: {error}", mend="yarnmill doctor") from None
    try:
        yield client
    finally:
        client.close()


def _java_options() -> str:
    """Return options of the client's own Java process; those that somebody set for it come last, and so win."""
    return f"{QUICK_JAVA} {os.environ.get('SKEIN_DRIVER_JAVA_OPTIONS', '')}"


def _running_driver(skein: Any) -> Any:  # noqa: ANN401  # Skein has no types
    """Return a client of the driver that somebody started for good, or None: it saves two seconds of Java.

    Such a driver belongs to the cluster that it was started for, whatever ``HADOOP_CONF_DIR`` says now: one that
    knows none of this cluster's nodes would send the application elsewhere.
    """
    try:
        client = skein.Client.from_global_driver()
    except (skein.exceptions.DriverNotRunningError, skein.exceptions.ConnectionError, FileNotFoundError):
        return None
    with suppress(skein.exceptions.SkeinError):
        if {node.id for node in client.get_nodes(states=["RUNNING"])} & {node.node for node in yarn.nodes()}:
            return client
    client.close()
    return None


def certificate_pair() -> tuple[Path, Path]:
    """Return the files of the user's certificate and key, which every container of his has too."""
    _credentials(import_skein())
    folder = _credentials_folder()
    return Path(folder, "skein.crt"), Path(folder, "skein.pem")


def _credentials_folder() -> str:
    return os.environ.get("SKEIN_CONFIG") or str(Path("~/.skein").expanduser())


def _credentials(skein: Any) -> Any:  # noqa: ANN401  # Skein has no types
    """Return the user's certificate pair, made on first use: Skein itself would warn while it makes one."""
    folder = _credentials_folder()
    try:
        return skein.Security.from_directory(folder)
    except FileNotFoundError:
        try:
            return skein.Security.new_credentials().to_directory(folder)
        except FileExistsError:  # somebody else made it meanwhile
            return skein.Security.from_directory(folder)


@contextmanager
def _refusals(what: str, *, mend: str) -> Iterator[None]:
    """Turn Skein's errors, whose texts are traces of Java, into the platform's; ``mend`` is for what is not allowed."""
    try:
        yield
    except (import_skein().exceptions.SkeinError, ValueError, ConnectionError) as error:
        cause = _JAVA_CAUSE.search(str(error))
        words = cause["words"] if cause else str(error)
        if cause and cause["name"] == "AccessControlException":
            raise ConfigurationError(f"{what}: {words}", mend=mend) from None
        raise ClusterUnavailableError(f"{what}: {words}") from None
