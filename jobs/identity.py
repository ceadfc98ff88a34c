"""What decides a job's output, as one fingerprint: configuration, inputs and code."""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Final

from jobs.job import JobConfig
from jobs.shipped_code import code_version
from yarnmill.records import fingerprint
from yarnmill.report import identity_of

_LISTERS: Final = 8  # folders listed side by side
_DAY: Final = re.compile(r"^(?P<table>.*)/ds=(?P<day>\d{4}-\d{2}-\d{2})$")


def job_fingerprint(job: str, config: JobConfig, inputs: Sequence[str]) -> str:
    """Return the fingerprint of a run; where it runs and with how much memory decides nothing."""
    with ThreadPoolExecutor(_LISTERS) as pool:
        identities = list(pool.map(identity_of, inputs))
    return fingerprint([job, config, list(inputs), identities, code_version()])


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
