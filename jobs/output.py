"""A job's output folder: claimed before the first byte, given its report last.

A folder is a job's own if it is empty, holds a report of the same job, or the mark of a run of it that
was interrupted. Nothing else is ever deleted.
"""

from typing import Final

from yarnmill import fs
from yarnmill.errors import ConflictError
from yarnmill.records import Record, canonical_json, parse_json
from yarnmill.report import REPORT_NAME, RunReport, read_report, write_report

RUNNING_NAME: Final = "_running.json"


class Running(Record, frozen=True, kw_only=True):
    """The mark of a run at work."""

    job: str
    run_id: str


def check_output(output: str, job: str) -> None:
    """Raise ConflictError if the folder holds what this job did not write."""
    if not fs.exists(output):
        return
    names = {child.name for child in fs.children(output)}
    if not names:
        return
    owner = ""
    if RUNNING_NAME in names:
        url = fs.join(output, RUNNING_NAME)
        owner = parse_json(fs.read_bytes(url), Running, source=url).job
    elif REPORT_NAME in names:
        owner = read_report(output).job
    if owner != job:
        raise ConflictError(
            f"{output}: holds {f'the output of {owner}' if owner else 'files of somebody else'}",
            expected=f"a fresh folder, or one that {job} wrote",
            mend="name another output",
        )


def claim(output: str, job: str, run_id: str) -> None:
    """Empty the folder of what an earlier run of the job left there, and mark it as being written."""
    check_output(output, job)
    fs.delete(output)
    fs.write_bytes(fs.join(output, RUNNING_NAME), canonical_json(Running(job=job, run_id=run_id)))


def finish(output: str, report: RunReport) -> None:
    """Write the report, then take the mark away."""
    write_report(output, report)
    fs.delete(fs.join(output, RUNNING_NAME))
