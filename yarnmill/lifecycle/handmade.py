"""The report of an output that was made here, by a person, and by no run on a cluster."""

import datetime as dt
import getpass
from collections.abc import Mapping
from pathlib import Path

from yarnmill.report import RunReport, write_report


def write_handmade_report(  # noqa: PLR0913  # each by name
    folder: Path,
    *,
    what: str,
    identity: str,
    started: dt.datetime,
    how: str,
    parameters: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None,
) -> None:
    """Write the report of an output that is whole.

    Parameters
    ----------
    folder
        The output.
    what
        What was done; the person's name is put behind it.
    identity
        Fingerprint of the content: what is made again alike is the same run.
    started
        When it was begun.
    how
        What ended it, in one word.
    parameters, metrics
        As in :class:`yarnmill.report.RunReport`.
    """
    report = RunReport(
        job=f"{what} {getpass.getuser()}",
        run_id=identity[:32],
        fingerprint=identity,
        state="succeeded",
        started_at=started,
        finished_at=dt.datetime.now(dt.UTC),
        exit_reason=how,
        parameters=dict(parameters or {}),
        metrics=dict(metrics or {}),
    )
    write_report(str(folder), report)
