"""Predictions in batches, as the registry notes them: which versions answered which rows, and how that ended."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from yarnmill.errors import YarnMillError
from yarnmill.registry import Registry
from yarnmill.registry.records import JobStatus, PredictionJob
from yarnmill.report import RunReport


@contextmanager
def noted_predictions(
    opened: Callable[[], Registry],
    bundle_ids: Iterable[str],
    name: str,
    configuration: Mapping[str, str],
    say: Callable[[str], None],
) -> Iterator[Callable[[RunReport], None]]:
    """Note that versions predict within the block, and how the block ends; yield what is told of the report.

    Bundles that are no version of a model are passed over. A registry that is down costs the note alone: ``say`` is
    told. What is killed in the middle stays *running* there.

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
    status: JobStatus = "terminated"
    message = "interrupted"
    try:
        yield seen.append
        status, message = "completed", ""
    except YarnMillError as problem:
        status, message = "failed", problem.what
        raise
    except Exception as problem:
        status, message = "failed", f"{type(problem).__name__}: {problem}"
        raise
    finally:
        application_id = seen[-1].application_id if seen else ""
        for job in jobs:
            with _said(say):
                registry.jobs.move(job.id, status, message=message, application_id=application_id)


def _begun(
    registry: Registry, bundle_ids: Iterable[str], name: str, configuration: Mapping[str, str]
) -> list[PredictionJob]:
    versions = [version for bundle_id in bundle_ids for version in registry.versions.with_bundle(bundle_id)]
    made = [registry.jobs.create(one.model, one.version, name, dict(configuration)) for one in versions]
    return [registry.jobs.move(job.id, "running") for job in made]


@contextmanager
def _said(say: Callable[[str], None]) -> Iterator[None]:
    try:
        yield
    except Exception as problem:  # noqa: BLE001  # a YarnMillError, or whatever a database's driver raises
        say(f"the registry does not know of these predictions: {str(problem).splitlines()[0]}")
