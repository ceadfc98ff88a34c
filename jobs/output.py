"""A job's output folder: written under a hidden name beside its place, shown by a rename when it is whole.

A run of ``hdfs:///runs/a`` writes to ``hdfs:///runs/.a.<run id>``, its report last. Then the earlier output
is moved to ``.a.previous``, the new one into its place, and the earlier one deleted: at every moment one whole
output stands there or can be restored by :func:`restore`. A failed run leaves its report under the hidden
name and the earlier output as it was; the next run that succeeds clears it away. An output is a job's own if
it is empty or holds a report of the same job. Nothing else is ever moved or deleted. What a run keeps for the
run after it stands in ``.a.kept`` (:func:`kept_url`) until an output is shown.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from jobs.running import RUNNING_NAME, Running, is_alive, read_mark, running_here, write_mark
from yarnmill import fs
from yarnmill.errors import ConfigurationError, ConflictError, NotFoundError, YarnMillError
from yarnmill.report import REPORT_NAME, RunReport, read_report, write_report

_RUN_ID: Final = re.compile(r"[A-Za-z0-9_-]+")
_PREVIOUS: Final = "previous"
_KEPT: Final = "kept"
_SWAPS: Final = 3  # a reader may restore the earlier output between the two renames


def attempt_url(output: str, run_id: str) -> str:
    """Return the hidden folder beside ``output`` that a run writes to.

    Raises
    ------
    ConfigurationError
        If the run's id cannot be a part of a name.
    """
    if not _RUN_ID.fullmatch(run_id) or run_id in (_PREVIOUS, _KEPT):
        raise ConfigurationError(f"{run_id!r} cannot name a run", expected="letters, digits, - and _")
    return _beside(output, run_id)


def kept_url(folder: str, job: str) -> str:
    """Return the hidden folder beside an output where a run keeps what the run after it may go on from.

    It outlives runs that fail or are killed, and is cleared away when an output is published.

    Parameters
    ----------
    folder
        The output, or the hidden folder that a run of it writes to.
    job
        Whose output it is.
    """
    parent, slash, name = folder.rstrip("/").rpartition("/")
    attempt = re.fullmatch(rf"\.(?P<output>.+)\.{_RUN_ID.pattern}", name)
    kept = _beside(f"{parent}{slash}{attempt['output'] if attempt else name}", _KEPT)
    if read_mark(kept) is None:
        write_mark(kept, Running(job=job, run_id=_KEPT))
    return kept


def _beside(output: str, suffix: str) -> str:
    parent, slash, name = output.rstrip("/").rpartition("/")
    return f"{parent}{slash}.{name}.{suffix}"


def check_output(output: str, job: str) -> None:
    """Raise ConflictError if the folder holds what this job did not write."""
    try:
        names = {child.name for child in fs.children(output)}
    except NotFoundError:
        if fs.exists(output):
            raise ConflictError(f"{output}: a file", expected="a fresh folder", mend="name another output") from None
        return
    owner = _owner(output)
    if names and owner != job:
        raise ConflictError(
            f"{output}: holds {f'the output of {owner}' if owner else 'files of somebody else'}",
            expected=f"a fresh folder, or one that {job} wrote",
            mend="name another output",
        )


def _owner(folder: str) -> str:
    """Return the job whose mark or report stands in the folder; empty: nobody's."""
    mark = read_mark(folder)
    if mark is not None:
        return mark.job
    with suppress(NotFoundError):
        return read_report(folder).job
    return ""


def restore(output: str, job: str) -> None:
    """Put back the earlier output of a job that was stopped between moving it aside and putting the new one there."""
    previous = _beside(output, _PREVIOUS)
    if fs.exists(output) or _owner(previous) != job:
        return
    with suppress(NotFoundError, ConflictError):  # another run did it, or has put its own there
        fs.rename(previous, output)


def claim(output: str, job: str, run_id: str) -> str:
    """Return the fresh hidden folder, marked, that this run alone writes to.

    Raises
    ------
    ConflictError
        If the output is not the job's own, or another run of it is at work.
    """
    restore(output, job)
    check_output(output, job)
    folder, mark = attempt_url(output, run_id), running_here(job, run_id)
    earlier = read_mark(folder)
    if earlier is not None and is_alive(earlier, mark):
        raise ConflictError(f"{output}: {earlier.place} runs under the same id, {run_id}", mend="name another run id")
    if _owner(folder) == job:
        fs.delete(folder)
    elif fs.exists(folder):
        raise ConflictError(f"{folder}: holds files of somebody else", mend="name another run id")
    write_mark(folder, mark)
    # Marked first, looked around second: of two runs that start at once, at least one sees the other.
    for other in _attempts(output):
        found = read_mark(other)
        if other != folder and found is not None and is_alive(found, mark):
            fs.delete(folder)
            raise ConflictError(
                f"{output}: another run of {found.job} is at work there, {found.place}",
                expected="one run at a time",
                mend=f"wait for it; if it is dead, delete {other}",
            )
    return folder


def publish(output: str, report: RunReport) -> None:
    """Write the report of a run that succeeded, put its folder in the output's place, clear earlier attempts away.

    Raises
    ------
    ConflictError
        If somebody keeps putting something in its place; what stands there then is whole.
    """
    folder, previous = attempt_url(output, report.run_id), _beside(output, _PREVIOUS)
    write_report(folder, report)
    for _ in range(_SWAPS - 1):
        with suppress(ConflictError):
            _swap(folder, output, previous, report.job)
            break
    else:
        _swap(folder, output, previous, report.job)
    # It is done: what cannot be cleared away now, the next run clears away.
    with suppress(YarnMillError):
        fs.delete(fs.join(output, RUNNING_NAME))
        _clear(output, report)


def _swap(folder: str, output: str, previous: str, job: str) -> None:
    if fs.exists(output):
        check_output(output, job)
        if _owner(previous) == job:  # an output stands in its place, so nobody needs this one
            fs.delete(previous)
        fs.rename(output, previous)
    try:
        fs.rename(folder, output)
    except BaseException:
        restore(output, job)
        raise


def _clear(output: str, report: RunReport) -> None:
    asking = running_here(report.job, report.run_id)
    if _owner(_beside(output, _KEPT)) == report.job:
        fs.delete(_beside(output, _KEPT))
    for folder in (_beside(output, _PREVIOUS), *_attempts(output)):
        mark = read_mark(folder)
        if _owner(folder) == report.job and not (mark is not None and is_alive(mark, asking)):
            fs.delete(folder)


def abandon(output: str, report: RunReport) -> None:
    """Leave the report of a run that failed under the hidden name, and nothing else of it."""
    folder = attempt_url(output, report.run_id)
    write_report(folder, report)
    with suppress(YarnMillError):
        for child in fs.children(folder):
            if child.name != REPORT_NAME:
                fs.delete(child.url)


def _attempts(output: str) -> Iterator[str]:
    """Yield the hidden folders of all runs of this output."""
    parent, slash, name = output.rstrip("/").rpartition("/")
    pattern = re.compile(rf"\.{re.escape(name)}\.{_RUN_ID.pattern}")
    for child in fs.children(parent + slash or "."):
        if (
            child.is_folder
            and pattern.fullmatch(child.name)
            and child.name not in {f".{name}.{_PREVIOUS}", f".{name}.{_KEPT}"}
        ):
            yield f"{parent}{slash}{child.name}"
