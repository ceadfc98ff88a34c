"""What decides a job's output, as one fingerprint: configuration, inputs and code."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Final

from jobs.code import code_version
from jobs.job import JobConfig
from yarnmill import fs
from yarnmill.records import fingerprint
from yarnmill.report import REPORT_NAME

_LISTERS: Final = 8  # folders listed side by side
_SMALL_BYTES: Final = 1024 * 1024
_DAY: Final = re.compile(r"^(?P<table>.*)/ds=(?P<day>\d{4}-\d{2}-\d{2})$")


def job_fingerprint(job: str, config: JobConfig, inputs: Sequence[str]) -> str:
    """Return the fingerprint of a run; where it runs and with how much memory decides nothing."""
    with ThreadPoolExecutor(_LISTERS) as pool:
        identities = list(pool.map(identity_of, inputs))
    return fingerprint([job, config, list(inputs), identities, code_version()])


def identity_of(url: str) -> str:
    """Return what tells one content of ``url`` from another without reading it whole.

    A folder with a report is known by the report. Any other folder is known by the names and sizes of its
    files: writers of Parquet never use a name twice. A small file is known by its bytes.

    Raises
    ------
    NotFoundError
        If nothing stands there.
    """
    entry = fs.info(url)
    if not entry.is_folder:
        content = fs.read_bytes(url) if entry.size_bytes <= _SMALL_BYTES else b""
        return f"{entry.size_bytes} {hashlib.sha256(content).hexdigest()}"
    report = fs.join(url, REPORT_NAME)
    if fs.exists(report):
        return hashlib.sha256(fs.read_bytes(report)).hexdigest()
    return fingerprint([f"{file.url} {file.size_bytes}" for file in fs.walk_files(url)])


def render_inputs(inputs: Sequence[str]) -> tuple[str, ...]:
    """Return the inputs as a person reads them: runs of partitions of one table as ``ds=first..last``."""
    return tuple(_runs(inputs))


def _runs(inputs: Sequence[str]) -> Iterator[str]:
    for table, urls in groupby(inputs, key=_table_of):
        days = [match["day"] for url in urls if (match := _DAY.match(url))]
        if len(days) < 2:
            yield f"{table}/ds={days[0]}" if days else table
        else:
            yield f"{table}/ds={days[0]}..{days[-1]}"


def _table_of(url: str) -> str:
    match = _DAY.match(url)
    return match["table"] if match else url
