"""Entry of the driver: Skein's master runs it beside itself, and the application ends when it ends."""

import datetime as dt
import os
import secrets
import sys
import time
import traceback
from pathlib import Path
from typing import Final

import msgspec

from tony_py.driver.conclusion import conclude, failed_report, write_failed
from tony_py.driver.containers import Containers, SkeinContainers
from tony_py.driver.coordinator import Coordinator
from tony_py.driver.gang import Gang
from tony_py.driver.lookout import Lookout, Watch, nobody_watches
from tony_py.driver.pages import Pages, SkeinPages
from tony_py.driver.preparing import prepare_parameters
from tony_py.driver.rendezvous import PREFIX, Rendezvous
from tony_py.driver.supervisor import Surroundings, supervise
from tony_py.history import Event, History, application_of, read_history
from tony_py.index import Index, ended, entry_of
from tony_py.places import Places, places
from tony_py.plan import LAUNCH_FILE, Launch
from tony_py.status import allowances
from yarnmill import fs
from yarnmill.errors import NotFoundError, YarnMillError
from yarnmill.records import parse_json
from yarnmill.report import REPORT_NAME, RunReport, read_report

_DIAGNOSTICS_LIMIT: Final = 4000


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of an application: what was launched, under which name, from when, in which folder its driver is."""

    launch: Launch
    application_id: str
    started_at: dt.datetime
    folder: Path

    @property
    def places(self) -> Places:
        """Where this run writes."""
        return places(self.launch.application.output, self.launch.fingerprint)


def drive(  # noqa: PLR0913  # what to run, where, and who looks
    run: Run,
    containers: Containers,
    *,
    host: str,
    certificate: Path,
    key: Path,
    pages: Pages | None = None,
    watch: Watch = nobody_watches,
) -> RunReport:
    """Run the application to its end and write its report; return the report.

    A driver that was lost may be followed by another one for the same application. That one finds the report,
    and does nothing more; or it goes on with the history, and the programs with their last checkpoints.

    Parameters
    ----------
    run
        What to run.
    containers
        Where to start executors.
    host
        Name by which the containers reach this process.
    certificate, key
        Files of the pair that the coordinator and the executors show (PEM).
    pages
        Where to show the status page and those of tasks; None: nowhere.
    watch
        Called about once a second with who knows how the run is.
    """
    over = _report_of_earlier_driver(run)
    if over is not None:
        return over
    history = _begin_history(run)
    with Lookout(run.launch, run.application_id, run.started_at, history, pages, watch) as lookout:
        report = _drive(run, containers, history, lookout, host=host, certificate=certificate, key=key)
        return lookout.note_end(report)


def _drive(  # noqa: PLR0913  # as above
    run: Run,
    containers: Containers,
    history: History,
    lookout: Lookout,
    *,
    host: str,
    certificate: Path,
    key: Path,
) -> RunReport:
    where, application = run.places, run.launch.application
    variables = {
        "TONY_APPLICATION_ID": run.application_id,
        "TONY_OUTPUT": where.staging,
        "TONY_CHECKPOINT_DIR": where.checkpoints,
    }
    prepared = prepare_parameters(application, variables, run.folder)
    application = msgspec.structs.replace(application, parameters={**application.parameters, **prepared})
    record = lookout.record
    generation = sum(event.event == "barrier" for event in history.events)
    gang = Gang(application, variables, clock=time.monotonic, record=record, generation=generation)
    lookout.know(gang, application)
    rendezvous = Rendezvous(application, clock=time.monotonic, record=lambda detail: record("round", None, detail))
    gang.listen(rendezvous.see)
    token = secrets.token_hex(32)
    with Coordinator(gang, token, certificate=certificate, key=key) as coordinator:
        coordinator.route(PREFIX, rendezvous.answer)
        env = {
            "TONY_COORDINATOR": f"{host}:{coordinator.port}",
            "TONY_TOKEN": token,
            "TONY_HEARTBEAT_TIMEOUT_S": f"{float(application.timeouts.heartbeat):g}",
        }
        surroundings = Surroundings(containers, env, record, each_look=lookout.look)
        failure = supervise(application, gang, surroundings)
    return conclude(run.launch, run.application_id, run.started_at, gang, failure, history)


def _begin_history(run: Run) -> History:
    """Make room for this run's files, and note that it has begun, or goes on after the loss of its driver."""
    where = run.places
    events = _events_of_earlier_driver(run)
    fs.delete(where.staging)  # of an earlier try
    fs.make_folder(where.staging)
    fs.make_folder(where.checkpoints)
    history = History(where.history, time.time, events)
    history.record(
        "resumed" if events else "submitted",
        detail=run.application_id,
        numbers=allowances(run.launch.application.retries),
    )
    history.flush()
    return history


def _report_of_earlier_driver(run: Run) -> RunReport | None:
    """Return the report that a driver of this very application has written already."""
    for folder in (run.places.output, run.places.work):
        if fs.exists(fs.join(folder, REPORT_NAME)):
            report = read_report(folder)
            if report.application_id == run.application_id:
                return report
    return None


def _events_of_earlier_driver(run: Run) -> list[Event]:
    """Return the events of an earlier driver of this very application; those of another one are put aside."""
    try:
        events = read_history(run.places.history)
    except NotFoundError:
        return []
    if application_of(events) == run.application_id:
        return events
    Index(run.launch.index).rescue(application_of(events), events)
    return []


def give_up(run: Run, report: RunReport) -> None:
    """Write the report of a run whose driver broke, and note its end in the index."""
    index = Index(run.launch.index)
    entry = index.find(run.application_id) or entry_of(run.launch, run.application_id, run.started_at)
    index.keep(ended(entry, report))
    write_failed(run.places, report, _events_of_earlier_driver(run))


def main() -> int:
    """Run the application that the launch file describes; return the exit status."""
    application_id = os.environ["SKEIN_APPLICATION_ID"]
    host = os.environ["SKEIN_APPMASTER_ADDRESS"].rpartition(":")[0]
    launch = parse_json(Path(LAUNCH_FILE).read_bytes(), Launch, source=LAUNCH_FILE)
    started_at = dt.datetime.now(dt.UTC)
    run = Run(launch=launch, application_id=application_id, started_at=started_at, folder=Path.cwd())
    containers = SkeinContainers()
    certificate, key = Path(".skein.crt"), Path(".skein.pem")
    try:
        report = drive(run, containers, host=host, certificate=certificate, key=key, pages=SkeinPages())
    except Exception as error:  # noqa: BLE001  # the application must end with a cause, whatever broke
        cause = str(error) if isinstance(error, YarnMillError) else f"the driver failed: {traceback.format_exc()}"
        report = failed_report(launch, application_id, run.started_at, cause)
        try:
            give_up(run, report)
        except YarnMillError as second:
            print(second, file=sys.stderr)  # noqa: T201  # the driver's log
    succeeded = report.state == "succeeded"
    containers.shutdown(succeeded=succeeded, diagnostics=report.exit_reason[:_DIAGNOSTICS_LIMIT])
    return 0 if succeeded else 1
