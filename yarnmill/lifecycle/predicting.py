"""Predictions in batches, as the registry notes them: which versions answered which rows, and how that ended."""

import re
import signal
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from yarnmill.errors import ConflictError, YarnMillError
from yarnmill.registry import Registry
from yarnmill.registry.records import JobStatus, PredictionJob
from yarnmill.report import RunReport

Say = Callable[[str], None]

_LOOK_S: Final = 2.0
"""How often whoever predicts looks whether somebody wants it stopped."""
_APPLICATION: Final = re.compile(r"application_\d+_\d+")


@contextmanager
def noted_predictions(
    opened: Callable[[], Registry],
    bundle_ids: Iterable[str],
    name: str,
    configuration: Mapping[str, str],
    say: Say,
) -> Iterator[Callable[[RunReport], None]]:
    """Note that versions predict within the block, and how the block ends; yield what is told of the report.

    Bundles that are no version of a model are passed over. A registry that is down costs the note alone: ``say`` is
    told. What is killed in the middle stays *running* there; a block that somebody calls *terminated* is interrupted.

    Parameters
    ----------
    opened
        Opens the registry where it is noted.
    bundle_ids
        The models that predict.
    name
        What the job is called.
    configuration
        What somebody who looks for the predictions wants to know, such as ``output``.
    say
        Gets a line if it cannot be noted.
    """
    jobs: list[PredictionJob] = []
    with _said(say):
        registry = opened()
        jobs = _begun(registry, bundle_ids, name, configuration)
    seen: list[RunReport] = []

    def move(status: JobStatus, message: str) -> None:
        application_id = seen[-1].application_id if seen else ""
        for job in jobs:
            with _said(say):
                registry.jobs.move(job.id, status, message=message, application_id=application_id)

    with _ending(move):
        if not jobs:
            yield seen.append
            return
        with interrupted_if_stopped(registry, [job.id for job in jobs]):
            yield seen.append


def see_through(registry: Registry, job: PredictionJob, predict: Callable[[Say], RunReport]) -> RunReport:
    """Carry out a prediction job that is pending, and note how far it is and how it ends.

    Parameters
    ----------
    registry, job
        The job, and where it is noted.
    predict
        Predicts, and says what goes on: the first line that names a YARN application is when the job runs.

    Raises
    ------
    ConflictError
        If somebody has begun it before, or stopped it.
    YarnMillError
        Whatever ``predict`` raises.
    """
    if job.status != "pending":
        raise ConflictError(f"prediction job {job.id} is {job.status}", expected="one that is pending")

    def follow(line: str) -> None:
        found = _APPLICATION.search(line)
        if found is not None:
            registry.jobs.move(job.id, "running", application_id=found[0])

    def move(status: JobStatus, message: str) -> None:
        with suppress(ConflictError):  # somebody stopped it in the same moment
            registry.jobs.move(job.id, status, message=message)

    with _ending(move), interrupted_if_stopped(registry, [job.id]):
        report = predict(follow)
        registry.jobs.move(job.id, "running", application_id=report.application_id)  # if nothing had to run
    return report


@contextmanager
def interrupted_if_stopped(registry: Registry, job_ids: Collection[int]) -> Iterator[None]:
    """Interrupt the block, as Ctrl-C does, when somebody calls one of some jobs terminated.

    Only the main thread can be interrupted: in another one this does nothing.
    """
    main = threading.main_thread()
    if threading.current_thread() is not main or main.ident is None:
        yield
        return
    ended = threading.Event()

    def watch(ident: int = main.ident) -> None:
        while not ended.wait(_LOOK_S):
            with suppress(YarnMillError):  # a registry that is down: the next look may tell
                if any(registry.jobs.get(job_id).status == "terminated" for job_id in job_ids):
                    signal.pthread_kill(ident, signal.SIGINT)
                    return

    watcher = threading.Thread(target=watch, name="stopped?", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


@contextmanager
def _ending(move: Callable[[JobStatus, str], None]) -> Iterator[None]:
    """Tell how a block ends."""
    status: JobStatus = "terminated"
    message = "interrupted"
    try:
        yield
        status, message = "completed", ""
    except YarnMillError as problem:
        status, message = "failed", problem.what
        raise
    except Exception as problem:
        status, message = "failed", f"{type(problem).__name__}: {problem}"
        raise
    finally:
        move(status, message)


def _begun(
    registry: Registry, bundle_ids: Iterable[str], name: str, configuration: Mapping[str, str]
) -> list[PredictionJob]:
    versions = [version for bundle_id in bundle_ids for version in registry.versions.with_bundle(bundle_id)]
    made = [registry.jobs.create(one.model, one.version, name, dict(configuration)) for one in versions]
    return [registry.jobs.move(job.id, "running") for job in made]


@contextmanager
def _said(say: Say) -> Iterator[None]:
    try:
        yield
    except Exception as problem:  # noqa: BLE001  # a YarnMillError, or whatever a database's driver raises
        say(f"the registry does not know of these predictions: {str(problem).splitlines()[0]}")
