"""Two score tables of the same rows, read for a gate: uniformly sampled, joined by uid, compared with an interval.

A score table is what ``jobs/score`` writes for a model: Parquet with uid, response, weight, ids, score and bundle_id.
Both are read a batch at a time; of each only the rows whose uids have the smallest hashes stay, so memory is bounded
however long the tables are, and both samples are of the same rows.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.util import hash_array

from photon.evaluation import Question, Scored, parse_evaluator
from photon.evaluation.paired import paired_difference
from yarnmill import fs
from yarnmill.errors import BadDataError, NotFoundError
from yarnmill.records import Record
from yarnmill.registry.gates import GateRule, Interval

ROWS: Final = 200_000
"""Rows that are compared at most: an interval of the AUC is then some 0.002 wide."""
_COLUMNS: Final = ("uid", "response", "weight", "score", "bundle_id")


class ScoreTables(Record, frozen=True, kw_only=True):
    """Where the scores of the version that is judged lie, and those of the one that serves."""

    candidate: str
    serving: str


def differences(
    tables: ScoreTables, rules: Sequence[GateRule], candidate: str, serving: str, *, rows: int = ROWS
) -> dict[GateRule, Interval]:
    """Return by rule how much the candidate's metric differs from the serving version's, on rows that both scored.

    Parameters
    ----------
    tables
        Folders of Parquet.
    rules
        Metrics as evaluators are spelled (``AUC``, ``LOGISTIC_LOSS``, …), with confidence and what is drawn together.
    candidate, serving
        Ids of the bundles whose scores they must be.
    rows
        How many rows are compared at most.

    Raises
    ------
    NotFoundError
        If a folder has no Parquet.
    BadDataError
        If a table lacks a column, is of another bundle, or both share no row.
    """
    entities = tuple(dict.fromkeys(rule.together for rule in rules if rule.together is not None))
    mine, theirs = (
        _sample(url, bundle, entities, rows)
        for url, bundle in ((tables.candidate, candidate), (tables.serving, serving))
    )
    uids, left, right = np.intersect1d(mine["uid"], theirs["uid"], assume_unique=True, return_indices=True)
    if not len(uids):
        raise BadDataError(
            f"{tables.candidate} and {tables.serving} share no uid", expected="scores of the same rows by both versions"
        )
    if not np.array_equal(mine["response"][left], theirs["response"][right]):
        raise BadDataError(
            f"{tables.candidate} and {tables.serving}: the same uid has other responses",
            expected="scores of the same rows by both versions",
        )
    scored = Scored(mine["score"][left], mine["response"][left], mine["weight"][left])
    found = {}
    for rule in rules:
        evaluator = parse_evaluator(rule.metric, source="gate")
        together = None if rule.together is None else mine[rule.together][left]
        paired = paired_difference(
            scored,
            theirs["score"][right],
            Question((evaluator,), kind="probability"),
            together=together,
            confidence=rule.confidence,
        )
        found[rule] = Interval(difference=paired.difference, low=paired.low, high=paired.high, rows=len(uids))
    return found


Sample = dict[str, npt.NDArray[Any]]


def _sample(url: str, bundle_id: str, entities: Sequence[str], rows: int) -> Sample:
    """Return the rows of a table whose uids have the smallest hashes, at most ``rows`` of them."""
    kept: list[Sample] = []
    below: np.uint64 | None = None
    count = 0
    for batch in _batches(url, entities):
        others = set(batch.column("bundle_id").unique().to_pylist()) - {bundle_id}
        if others:
            raise BadDataError(
                f"{url}: scores of bundle {min(others)[:12]}",
                expected=f"of {bundle_id[:12]}, the version's own",
                mend="score the rows with this version",
            )
        kept.append(_columns(batch, entities, below))
        count += len(kept[-1]["hash"])
        if count > 2 * rows:
            kept, count = [_smallest(kept, rows)], rows
            below = kept[0]["hash"][-1]
    if not kept:
        raise NotFoundError(f"{url}: no scores there", expected="the folder that jobs/score wrote for a model")
    return _smallest(kept, rows)


def _smallest(parts: Sequence[Sample], rows: int) -> Sample:
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(whole["hash"], kind="stable")[:rows]
    return {name: values[order] for name, values in whole.items()}


def _columns(batch: pa.RecordBatch, entities: Sequence[str], below: np.uint64 | None) -> Sample:
    """Return the rows whose hashes are below one; of the others, nearly all of a long table, only the uids are read."""
    uids = batch.column("uid").cast(pa.string()).to_numpy(zero_copy_only=False)
    hashes = hash_array(uids, categorize=False)
    if below is not None:
        wanted = np.flatnonzero(hashes < below)
        batch, uids, hashes = batch.take(pa.array(wanted)), uids[wanted], hashes[wanted]
    columns = {"uid": uids.astype(str), "hash": hashes}
    for name in ("response", "weight", "score"):
        columns[name] = batch.column(name).to_numpy(zero_copy_only=False).astype(np.float64)
    for entity in entities:
        ids = batch.column("ids").field(entity).to_numpy(zero_copy_only=False)
        columns[entity] = ids.astype(str) if ids.dtype == object else ids
    return columns


def _batches(url: str, entities: Sequence[str]) -> Iterator[pa.RecordBatch]:
    wanted = [*_COLUMNS, *(["ids"] if entities else [])]
    for child in fs.children(url):
        if not child.name.endswith(".parquet"):
            continue
        with fs.open_read(child.url) as stream, pq.ParquetFile(stream) as file:
            lacking = set(wanted) - set(file.schema_arrow.names)
            if lacking:
                raise BadDataError(
                    f"{child.url}: no column {', '.join(sorted(lacking))}", expected="a table of jobs/score"
                )
            yield from file.iter_batches(columns=wanted)
