"""What a client takes for the end of its run, whatever else stands in the output's place."""

import datetime as dt
from typing import Literal

import msgspec
import pytest

from jobs.output import abandon, attempt_url, claim, publish
from yarnmill import fs
from yarnmill.errors import BadDataError, JobFailedError
from yarnmill.report import RunReport, TaskExit
from yarnmill.sparksubmit import SparkSubmission
from yarnmill.sparksubmit.submit import _Ended, _failure, _report_of

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def submission(output: str, run_id: str, fingerprint: str) -> SparkSubmission:
    return SparkSubmission(
        job="score",
        output=output,
        fingerprint=fingerprint,
        run_id=run_id,
        command=("spark-submit",),
        java_options="",
        containers=(),
    )


def report(run_id: str, fingerprint: str, state: Literal["succeeded", "failed"] = "succeeded") -> RunReport:
    return RunReport(
        job="score",
        run_id=run_id,
        fingerprint=fingerprint,
        state=state,
        started_at=NOW,
        finished_at=NOW,
        exit_reason="" if state == "succeeded" else "the lamp is out",
    )


@pytest.fixture
def output(root: str) -> str:
    """Return an output that run `old` has finished."""
    url = fs.join(root, "scores")
    claim(url, "score", "old")
    publish(url, report("old", "f"))
    return url


def test_the_report_of_a_run_is_its_own_and_never_an_earlier_ones(output: str) -> None:
    new = submission(output, "new", "g")
    assert _report_of(new) is None
    claim(output, "score", "new")
    assert _report_of(new) is None
    abandon(output, report("new", "g", "failed"))
    assert _report_of(new) == report("new", "g", "failed")
    assert _report_of(submission(output, "other", "g")) is None

    claim(output, "score", "third")
    publish(output, report("third", "g"))
    assert _report_of(submission(output, "third", "g")) == report("third", "g")
    assert not fs.exists(attempt_url(output, "new"))


def test_a_driver_that_found_the_output_up_to_date_made_it(output: str) -> None:
    assert _report_of(submission(output, "late", "f")) == report("old", "f")


@pytest.mark.parametrize(("status", "error"), [(21, BadDataError), (1, JobFailedError), (99, JobFailedError)])
def test_a_failed_report_becomes_the_error_that_its_status_stands_for(status: int, error: type[Exception]) -> None:
    failed = msgspec.structs.replace(report("new", "g", "failed"), tasks=(TaskExit(task="driver", exit_code=status),))
    found = _failure(failed, _Ended(1, "application_1_0001", ()))
    assert type(found) is error
    assert found.what == "score: application_1_0001: the lamp is out"
    assert ("yarn logs" in found.mend) == (error is JobFailedError)
