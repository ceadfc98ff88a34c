"""The run report: how every job says what it did, and how a rerun finds that it was done.

A job writes ``report.json`` into its output folder last. Its fingerprint covers everything that
decides the output (configuration, input partitions, code version), so that the same job with the
same inputs finds the report and does nothing.
"""

import datetime as dt
import hashlib
from typing import Final, Literal

from yarnmill import fs
from yarnmill.records import Record, canonical_json, fingerprint, parse_json

REPORT_NAME: Final = "report.json"

_SMALL_BYTES: Final = 1024 * 1024


class TaskExit(Record, frozen=True, kw_only=True):
    """How one task of a distributed run ended."""

    task: str
    exit_code: int
    container_id: str = ""
    host: str = ""


class RunReport(Record, frozen=True, kw_only=True):
    """What one run read, wrote, counted and measured. Written last, by one atomic act."""

    job: str
    run_id: str
    fingerprint: str
    state: Literal["succeeded", "failed"]
    started_at: dt.datetime
    finished_at: dt.datetime
    exit_reason: str
    application_id: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    parameters: dict[str, str] = {}
    counts: dict[str, int] = {}
    metrics: dict[str, float] = {}
    baselines: dict[str, dict[str, float]] = {}
    timings_s: dict[str, float] = {}
    tasks: tuple[TaskExit, ...] = ()
    schema_version: int = 1

    @property
    def seconds(self) -> float:
        """Wall time of the run."""
        return (self.finished_at - self.started_at).total_seconds()


def write_report(output_url: str, report: RunReport) -> None:
    """Write the report into its output folder; the folder counts as finished from this moment."""
    fs.write_bytes(fs.join(output_url, REPORT_NAME), canonical_json(report), overwrite=True)


def read_report(output_url: str) -> RunReport:
    """Return the report of an output folder; NotFoundError if the run never finished there."""
    url = fs.join(output_url, REPORT_NAME)
    return parse_json(fs.read_bytes(url), RunReport, source=url)


def find_finished(output_url: str, fingerprint: str) -> RunReport | None:
    """Return the report of a successful earlier run with the same inputs, or None."""
    if not fs.exists(fs.join(output_url, REPORT_NAME)):
        return None
    report = read_report(output_url)
    return report if report.fingerprint == fingerprint and report.state == "succeeded" else None


def identity_of(url: str) -> str:
    """Return what tells one content of an input from another without reading it whole.

    What another run wrote is known by that run's fingerprint, a small file by its bytes, anything else by the
    names and sizes of its files: writers of Parquet never use a name twice.

    Raises
    ------
    NotFoundError
        If nothing stands at ``url``.
    """
    entry = fs.info(url)
    if not entry.is_folder:
        content = fs.read_bytes(url) if entry.size_bytes <= _SMALL_BYTES else b""
        return f"{url} file={entry.size_bytes} {hashlib.sha256(content).hexdigest()}"
    if fs.exists(fs.join(url, REPORT_NAME)):
        return f"{url} run={read_report(url).fingerprint}"
    listing = [(file.url.removeprefix(url), file.size_bytes) for file in fs.walk_files(url)]
    return f"{url} files={fingerprint([listing])}"
