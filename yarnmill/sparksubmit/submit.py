"""Sending a plan: progress while it runs, its report at the end, and the cause when it fails."""

import os
import re
import secrets
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from jobs.identity import job_fingerprint
from jobs.job import JobConfig, load_job
from jobs.output import attempt_url, check_output, restore
from yarnmill import fs, yarn
from yarnmill.config import Config
from yarnmill.errors import (
    BadDataError,
    ClusterUnavailableError,
    ConfigurationError,
    ConflictError,
    JobFailedError,
    NotFoundError,
    YarnMillError,
)
from yarnmill.report import REPORT_NAME, RunReport, find_finished, read_report
from yarnmill.sparksubmit.capacity import check_capacity
from yarnmill.sparksubmit.plan import SparkSubmission, plan
from yarnmill.units import render_seconds

Progress = Callable[[str], None]

_STATE: Final = re.compile(r"Application report for (?P<id>application_\d+_\d+) \(state: (?P<state>[A-Z_]+)\)")
_ERRORS: Final[dict[int, type[YarnMillError]]] = {
    error.exit_code: error
    for error in (ConfigurationError, NotFoundError, ConflictError, ClusterUnavailableError, BadDataError)
}
_KEPT_LINES: Final = 30
_JAVA_OPTIONS: Final = "SPARK_SUBMIT_OPTS"


class _Ended(NamedTuple):
    """How spark-submit ended."""

    status: int
    application_id: str
    last_lines: tuple[str, ...]


def run_job(
    job: str, config: JobConfig, settings: Config, progress: Progress = lambda _message: None
) -> tuple[RunReport, bool]:
    """Run a job on YARN unless its output is up to date.

    Returns
    -------
    tuple
        The report, and whether anything ran: False means that a run with the same configuration, inputs
        and code had finished before.

    Raises
    ------
    YarnMillError
        As :func:`submit`, and whatever checking the inputs raises.
    """
    restore(config.output, job)
    submission = prepare(job, config, settings)
    done = find_finished(submission.output, submission.fingerprint)
    if done is not None:
        progress(f"{job}: up to date ({config.output})")
        return done, False
    return submit(submission, progress), True


def prepare(job: str, config: JobConfig, settings: Config) -> SparkSubmission:
    """Check a job's inputs and output, and return its plan."""
    inputs = load_job(job).inputs(config)
    check_output(config.output, job)
    return plan(
        job,
        config,
        settings.spark,
        python=settings.spark_python,
        fingerprint=job_fingerprint(job, config, inputs),
        run_id=secrets.token_hex(6),
    )


def submit(submission: SparkSubmission, progress: Progress) -> RunReport:
    """Send a plan, wait for its end and return its report.

    Raises
    ------
    ClusterUnavailableError
        If YARN does not answer.
    ConfigurationError
        If the request can never fit the cluster.
    JobFailedError
        If it ended without success, with the cause; a job that failed by an error of the platform's own
        raises that error here.
    """
    check_capacity(submission.containers, yarn.nodes())
    ended = _run(submission, progress)
    report = _report_of(submission)
    if report is not None and report.state == "succeeded" and ended.status == 0:
        return report
    if report is not None and report.state == "failed":
        raise _failure(report, ended)
    raise JobFailedError(
        f"{submission.job}: {ended.application_id or 'spark-submit'} ended without a report: {_cause(ended)}",
        mend=f"yarn logs -applicationId {ended.application_id}" if ended.application_id else "",
    )


def _run(submission: SparkSubmission, progress: Progress) -> _Ended:
    started = time.monotonic()
    application_id, state = "", ""
    last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
    with subprocess.Popen(
        submission.command,
        # A secured cluster's shell names its realm there.
        env={**os.environ, _JAVA_OPTIONS: f"{os.environ.get(_JAVA_OPTIONS, '')} {submission.java_options}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            for line in _lines(process):
                match = _STATE.search(line)
                if match is None:
                    last_lines.append(line)
                    continue
                application_id = match["id"]
                if match["state"] != state:
                    state = match["state"]
                    elapsed = render_seconds(time.monotonic() - started)
                    progress(f"{submission.job}: {application_id} {state} ({elapsed})")
        except BaseException:  # in cluster mode the application would live on without its client
            process.terminate()
            _kill(application_id)
            raise
    return _Ended(process.returncode, application_id, tuple(last_lines))


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None  # noqa: S101  # it is a pipe
    for line in process.stdout:
        yield line.rstrip()


def _kill(application_id: str) -> None:
    if application_id:
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                ["yarn", "application", "-kill", application_id],  # noqa: S607  # the user's own, from PATH
                capture_output=True,
                timeout=60,
                check=False,
            )


def _report_of(submission: SparkSubmission) -> RunReport | None:
    """Return the report of this run: in the output's place, or under the hidden name if it failed."""
    for folder in (attempt_url(submission.output, submission.run_id), submission.output):
        if fs.exists(fs.join(folder, REPORT_NAME)):
            report = read_report(folder)
            if report.run_id == submission.run_id or report.fingerprint == submission.fingerprint:
                return report
    return None


def _failure(report: RunReport, ended: _Ended) -> YarnMillError:
    status = report.tasks[0].exit_code if report.tasks else 1
    error = _ERRORS.get(status, JobFailedError)
    return error(
        f"{report.job}: {ended.application_id}: {report.exit_reason}",
        mend="" if error is not JobFailedError else f"yarn logs -applicationId {ended.application_id}",
    )


def _cause(ended: _Ended) -> str:
    """Return what is known of a failure that left no report: YARN's word, else spark-submit's last lines."""
    if ended.application_id:
        with suppress(YarnMillError):
            found = yarn.application(ended.application_id)
            if found.diagnostics:
                return f"{found.final_status}: {found.diagnostics}"
    return "\n".join(line for line in ended.last_lines[-8:] if line) or f"status {ended.status}"
