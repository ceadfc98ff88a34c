"""The backfill: the whole history into HDFS, one partition a calendar month, each visible whole or not at all.

The history has 3,840 days with ratings over 21 years. A partition a day would be 11,520 files of a few
rows; so the load is by month and ``ds`` is the month's last day. Event times stay exact to the second.
"""

import calendar
import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.resources import files
from itertools import groupby
from typing import NamedTuple

import pyarrow as pa

from yarnmill import fs
from yarnmill.errors import YarnMillError
from yarnmill.movielens.history import POSITIVE_FROM, Moment, Rating, replay
from yarnmill.movielens.source import read_ratings, source_version
from yarnmill.partitions import arrow_schema, is_written, write_partition
from yarnmill.records import fingerprint
from yarnmill.report import RunReport, find_finished, write_report
from yarnmill.tables import (
    FeatureTable,
    ObservationTable,
    complete_partitions,
    parse_feature_table,
    parse_observation_table,
    table_url,
    write_definition,
)

NAMESPACE = "movielens"
_WRITERS = 48  # a small HDFS file costs its writer 0.4 s of waiting for the DataNode's report, and hardly any work
_LAYOUT_VERSION = 1  # raised by hand when the code here writes other rows from the same source


class Tables(NamedTuple):
    """The three definitions."""

    ratings: ObservationTable
    users: FeatureTable
    films: FeatureTable


class _Counts(NamedTuple):
    written: int
    rows: int


def load_definitions() -> Tables:
    """Return the shipped definitions of ``conf/movielens/tables``."""
    folder = files("conf") / "movielens" / "tables"
    text = {name: (folder / f"{name}.yaml").read_text() for name in ("ratings", "user_activity", "film_activity")}
    source = "conf/movielens/tables/{}.yaml"
    return Tables(
        ratings=parse_observation_table(text["ratings"], source=source.format("ratings")),
        users=parse_feature_table(text["user_activity"], source=source.format("user_activity")),
        films=parse_feature_table(text["film_activity"], source=source.format("film_activity")),
    )


def load(root: str, progress: Callable[[str], None]) -> tuple[RunReport, bool]:
    """Bring the history below ``root`` unless it is there already.

    Parameters
    ----------
    root
        URL of the tables' root.
    progress
        Is told, now and then, how far it is.

    Returns
    -------
    tuple
        The report, and whether anything was written: an unchanged rerun writes nothing.
    """
    tables = load_definitions()
    source = source_version()
    identity = fingerprint([source, _LAYOUT_VERSION, *tables])
    output = fs.join(root, NAMESPACE)
    done = find_finished(output, identity)
    if done is not None and _is_whole(root, tables, done):
        return done, False
    started = dt.datetime.now(dt.UTC)
    for table in tables:
        write_definition(root, table)
    counts = _write_months(root, tables, read_ratings(), identity, progress)
    report = RunReport(
        job="demo_movielens",
        run_id=identity[:12],
        fingerprint=identity,
        state="succeeded",
        started_at=started,
        finished_at=dt.datetime.now(dt.UTC),
        exit_reason="",
        inputs=(source,),
        outputs=tuple(table_url(root, table) for table in tables),
        counts=counts,
    )
    write_report(output, report)
    return report, True


def _is_whole(root: str, tables: Tables, report: RunReport) -> bool:
    """Return whether all partitions still stand: somebody may have deleted some, or broken one."""
    try:
        return all(
            len(complete_partitions(root, table)) == report.counts[f"partitions_{table.name}"] for table in tables
        )
    except YarnMillError:
        return False


def _write_months(
    root: str, tables: Tables, ratings: Iterable[Rating], identity: str, progress: Callable[[str], None]
) -> dict[str, int]:
    counts = {f"{what}_{table.name}": 0 for table in tables for what in ("partitions", "rows")} | {"written": 0}
    with ThreadPoolExecutor(_WRITERS) as pool:
        pending: list[tuple[str, Future[_Counts]]] = []
        for number, (day, moments) in enumerate(_by_month(replay(ratings)), start=1):
            for table, rows in _rows_of(moments, tables):
                pending.append((table.name, pool.submit(_write_missing, root, table, day, rows, identity)))
            if number % 12 == 0:  # a year at a time: bounds what waits in memory, and reports errors early
                _gather(pending, counts)
                progress(f"movielens: {day.year} loaded, {counts['rows_ratings']:,} ratings")
        _gather(pending, counts)
    return counts


def _gather(pending: list[tuple[str, Future[_Counts]]], counts: dict[str, int]) -> None:
    for table, future in pending:
        result = future.result()
        counts["written"] += result.written
        counts[f"partitions_{table}"] += 1
        counts[f"rows_{table}"] += result.rows
    pending.clear()


def _write_missing(
    root: str, table: FeatureTable | ObservationTable, day: dt.date, rows: pa.Table, identity: str
) -> _Counts:
    if is_written(root, table, day, identity):
        return _Counts(written=0, rows=rows.num_rows)
    write_partition(root, table, day, rows, identity)
    return _Counts(written=1, rows=rows.num_rows)


def _by_month(moments: Iterable[Moment]) -> Iterator[tuple[dt.date, list[Moment]]]:
    for day, group in groupby(moments, key=lambda moment: _last_day(moment.ratings[0].event_time)):
        yield day, list(group)


def _last_day(moment: dt.datetime) -> dt.date:
    return dt.date(moment.year, moment.month, calendar.monthrange(moment.year, moment.month)[1])


def _rows_of(moments: Sequence[Moment], tables: Tables) -> tuple[tuple[FeatureTable | ObservationTable, pa.Table], ...]:
    observed = [
        (
            rating.uid,
            rating.user_id,
            rating.film_id,
            rating.event_time,
            float(rating.rating >= POSITIVE_FROM),
            rating.rating,
        )
        for moment in moments
        for rating in moment.ratings
    ]
    return (
        (tables.ratings, _arrow(observed, arrow_schema(tables.ratings).append(pa.field("rating", pa.float64())))),
        (tables.users, _arrow([row for moment in moments for row in moment.users], arrow_schema(tables.users))),
        (tables.films, _arrow([row for moment in moments for row in moment.films], arrow_schema(tables.films))),
    )


def _arrow(rows: Sequence[Sequence[object]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True)
    arrays = [
        pa.array([list(value.items()) if isinstance(value, dict) else value for value in column], type=field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
