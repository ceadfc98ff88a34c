"""What the talking process is told and what it answers: values, and how they follow from a run's. Pure functions."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from msgspec.structs import replace

from tony_py.index import RunEntry, entry_of
from tony_py.plan import Launch
from yarnmill import fs
from yarnmill.records import Record, to_plain
from yarnmill.report import REPORT_NAME, RunReport

APPLICATION_TAG: Final = "yarnmill.application_id"
KIND_TAG: Final = "yarnmill.kind"
KIND: Final = "tony_py"
_REASON_TAG: Final = "yarnmill.exit_reason"

# These do not decide what a run is, and variables may hold what is nobody's business.
_UNTOLD: Final = frozenset({"secrets", "env", "access", "tracking", "schema_version"})

Status = Literal["FINISHED", "FAILED", "KILLED"]


class RunStart(Record, frozen=True, kw_only=True):
    """What is known when a run starts."""

    uri: str
    experiment: str
    name: str
    started_ms: int
    artifacts: str
    parameters: dict[str, str]
    tags: dict[str, str]


class RunSample(Record, frozen=True, kw_only=True):
    """Numbers at a time, and at a step of the program's if it tells any."""

    at_ms: int
    step: int
    metrics: dict[str, float]


class RunEnd(Record, frozen=True, kw_only=True):
    """How the run ended."""

    at_ms: int
    status: Status
    metrics: dict[str, float]
    tags: dict[str, str]


class Line(Record, frozen=True, kw_only=True):
    """What the process is told, one thing a line: the start (again when there is more to say), a sample, the end."""

    start: RunStart | None = None
    sample: RunSample | None = None
    end: RunEnd | None = None


class Answer(Record, frozen=True, kw_only=True):
    """What the process says after each try: the run's id, or what is wrong."""

    run_id: str = ""
    problem: str = ""


def run_start(launch: Launch, application_id: str, started_at: dt.datetime) -> RunStart:
    """Return what MLflow is told first."""
    entry = entry_of(launch, application_id, started_at)
    start = run_start_afterwards(entry, launch.application.tracking.uri)
    return replace(start, parameters=dict(_flat("", to_plain(launch.application))))


def run_start_afterwards(entry: RunEntry, uri: str) -> RunStart:
    """Return what MLflow is told of a run that only the index knows: it needs it if the driver could say nothing."""
    return RunStart(
        uri=uri,
        experiment=entry.experiment or entry.name,
        name=f"{entry.name} {entry.application_id}",
        started_ms=milliseconds(entry.submitted_at),
        artifacts=entry.output.rpartition("/")[0],
        parameters={f"parameters.{name}": value for name, value in entry.parameters.items()},
        tags={
            KIND_TAG: KIND,
            APPLICATION_TAG: entry.application_id,
            "yarnmill.run_id": entry.application_id,
            "yarnmill.output": entry.output,
            "yarnmill.fingerprint": entry.fingerprint,
            "yarnmill.inputs": "\n".join(entry.inputs),
            "mlflow.note.content": f"Output: {entry.output}\n\nReport: {fs.join(entry.output, REPORT_NAME)}",
        },
    )


def run_end(report: RunReport, metrics: Mapping[str, float], status: Status | None = None) -> RunEnd:
    """Return what MLflow is told last; the status is the report's unless another is given."""
    return RunEnd(
        at_ms=milliseconds(report.finished_at),
        status=status or ("FINISHED" if report.state == "succeeded" else "FAILED"),
        metrics={**metrics, **report.metrics},
        tags={_REASON_TAG: report.exit_reason},
    )


def failure_of_driver(cause: str, at: dt.datetime) -> RunEnd:
    """Return what MLflow is told when the driver itself broke."""
    return RunEnd(at_ms=milliseconds(at), status="FAILED", metrics={}, tags={_REASON_TAG: cause})


def milliseconds(at: dt.datetime) -> int:
    """Return a time as MLflow counts it."""
    return int(at.timestamp() * 1000)


def _flat(prefix: str, value: object) -> Iterator[tuple[str, str]]:
    """Yield ``types.worker.memory`` and the like; what is empty says nothing."""
    if isinstance(value, dict):
        for name, below in value.items():
            if name not in _UNTOLD:
                yield from _flat(f"{prefix}.{name}" if prefix else name, below)
    elif isinstance(value, list | tuple):
        if value:
            yield prefix, ", ".join(map(str, value))
    elif value not in {"", None}:
        yield prefix, str(value)
