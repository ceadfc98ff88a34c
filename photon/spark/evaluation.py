"""Distributed evaluation: the sums of :mod:`photon.evaluation` over partitions.

Each partition first collapses its rows to one record a distinct score, so a score that a billion rows share
is as many records as there are partitions. The records are range-partitioned by score; each range
sums what needs nothing from outside it, and then, told what lies above it, the rest. The driver sees one
small record a partition and pass. No row is collected and nothing is sorted at one place. Rows of a group meet
in one partition.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from photon.evaluation.evaluation import (
    CurveSums,
    Evaluation,
    PointSums,
    Question,
    RangeSums,
    answer,
    curve_sums,
    point_sums,
    range_sums,
)
from photon.evaluation.evaluators import Evaluator
from photon.evaluation.groups import GroupMean, group_table
from photon.evaluation.ranking import NOTHING_ABOVE, Above, Scored, Ties, above_each, add_ties, collapse, joined
from photon.spark.worker import settle_worker

Batches = Iterable[pa.RecordBatch]
SumT = TypeVar("SumT")

_SUMS: Final = "measure string, lowest double, payload binary"
_TIES: Final = "measure string, score double, weight double, positives double, labels double"


def evaluate(rows: DataFrame, question: Question) -> list[Evaluation]:
    """Return the evaluation of each measure, ordered by name.

    Parameters
    ----------
    rows
        ``measure`` (string: what the row counts for), ``score``, ``label``, ``weight`` (double; null: 1), and
        one column an id that evaluators of the question name. A row without an id is in no group of it; one
        without a label judges nothing, as if its weight were 0.
    question
        What to evaluate.

    Raises
    ------
    BadDataError
        If a score is not finite.
    """
    kept = _weighted(rows).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        points = _points(kept, question)
        usable = not any(one.unusable for one in points.values())
        ranges, curves = _ranked(kept, question) if question.is_ranked and usable else ({}, {})
        groups = [_group_means(kept, entity, question) for entity in question.entities] if usable else []
    finally:
        kept.unpersist()
    return [
        answer(
            measure,
            question,
            points[measure],
            ranges.get(measure, ()),
            curves.get(measure, ()),
            {key: mean for found in groups for key, mean in found.get(measure, {}).items()},
        )
        for measure in sorted(points)
    ]


def group_results(rows: DataFrame, entity: str, question: Question) -> DataFrame:
    """Return the metrics within each group of an id: ``measure``, the id, ``rows``, ``weight``, one column a metric.

    A metric is null where the group has no answer. Parameters are those of :func:`evaluate`.
    """
    return _group_table(_weighted(rows), entity, question)


def _weighted(rows: DataFrame) -> DataFrame:
    label, nothing = F.nanvl(F.col("label").cast("double"), F.lit(None).cast("double")), F.lit(0.0)
    weight = F.when(label.isNull(), nothing).otherwise(F.coalesce(F.col("weight").cast("double"), F.lit(1.0)))
    return rows.withColumns({"weight": weight, "label": F.coalesce(label, nothing)})


# ---- sums over rows -------------------------------------------------------------------------------------------------


def _points(rows: DataFrame, question: Question) -> dict[str, PointSums]:
    def add(batches: Batches) -> Iterator[pa.RecordBatch]:
        settle_worker()
        totals: dict[str, PointSums] = {}
        for measure, table in _by_measure(batches):
            own = point_sums(_scored(table), question)
            totals[measure] = totals[measure] + own if measure in totals else own
        for measure, sums in totals.items():
            yield _sent(measure, 0.0, sums)

    found: dict[str, PointSums] = {}
    for measure, _, sums in _received(rows.select(*_USED).mapInArrow(add, _SUMS), PointSums):
        found[measure] = found[measure] + sums if measure in found else sums
    return found


_USED: Final = ("measure", "score", "label", "weight")


# ---- ranges of scores -----------------------------------------------------------------------------------------------


def _ranked(
    rows: DataFrame, question: Question
) -> tuple[dict[str, Sequence[RangeSums]], dict[str, Sequence[CurveSums]]]:
    partitions = rows.rdd.getNumPartitions()
    collapsed = rows.select(*_USED).mapInArrow(_collapse, _TIES)
    ranged = collapsed.repartitionByRange(partitions, "measure", "score").persist(StorageLevel.MEMORY_AND_DISK)
    try:
        ranges = _in_order(_over_ranges(ranged, lambda _measure, ties: range_sums(ties)), RangeSums)
        if not question.needs_curve:
            return _sums_only(ranges), {}
        above = {measure: _above(own) for measure, own in ranges.items()}
        curves = _in_order(_over_ranges(ranged, _Curve(above, question)), CurveSums)
        return _sums_only(ranges), _sums_only(curves)
    finally:
        ranged.unpersist()


def _collapse(batches: Batches) -> Iterator[pa.RecordBatch]:
    settle_worker()
    ties: dict[str, list[Ties]] = {}
    for measure, table in _by_measure(batches):
        add_ties(ties.setdefault(measure, []), collapse(_scored(table)))
    for measure, parts in ties.items():
        own = joined(parts)
        names = pa.array([measure] * len(own.scores), pa.string())
        columns = [names, *(pa.array(each) for each in (own.scores, own.weights, own.positives, own.labels))]
        yield pa.RecordBatch.from_arrays(columns, names=["measure", "score", "weight", "positives", "labels"])


def _over_ranges(ranged: DataFrame, sums_of_range: Callable[[str, Ties], object]) -> DataFrame:
    def add(batches: Batches) -> Iterator[pa.RecordBatch]:
        settle_worker()
        whole: dict[str, list[Ties]] = {}
        for measure, table in _by_measure(batches):
            columns = (_numbers(table, name) for name in ("score", "weight", "positives", "labels"))
            whole.setdefault(measure, []).append(Ties(*columns))
        for measure, parts in whole.items():
            ties = joined(parts)
            yield _sent(measure, float(ties.scores[0]), sums_of_range(measure, ties))

    return ranged.mapInArrow(add, _SUMS)


class _Curve:
    """The second pass over a range, which it knows by its lowest score; a value that travels to the workers."""

    def __init__(self, above: dict[str, dict[float, Above]], question: Question) -> None:
        self._above, self._question = above, question
        self._total = {measure: _total(own) for measure, own in above.items()}

    def __call__(self, measure: str, ties: Ties) -> CurveSums:
        return curve_sums(ties, self._above[measure][float(ties.scores[0])], self._total[measure], self._question)


def _above(ranges: Sequence[tuple[float, RangeSums]]) -> dict[float, Above]:
    """Return what lies above each range by its lowest score, and under -inf the sums of all."""
    own = [sums.own for _, sums in ranges]
    places = [lowest for lowest, _ in ranges]
    return dict(zip(places, above_each(own), strict=True)) | {-np.inf: sum(own, NOTHING_ABOVE)}


def _total(above: dict[float, Above]) -> Above:
    return above[-np.inf]


def _in_order(sums: DataFrame, kind: type[SumT]) -> dict[str, list[tuple[float, SumT]]]:
    """Return the ranges of each measure from the lowest scores up."""
    found: dict[str, list[tuple[float, SumT]]] = {}
    for measure, lowest, one in sorted(_received(sums, kind), key=lambda each: each[1]):
        found.setdefault(measure, []).append((lowest, one))
    return found


def _sums_only(found: dict[str, list[tuple[float, SumT]]]) -> dict[str, Sequence[SumT]]:
    return {measure: [one for _, one in ranges] for measure, ranges in found.items()}


# ---- groups ---------------------------------------------------------------------------------------------------------


def _column(evaluator: Evaluator) -> str:
    return Evaluator(evaluator.metric, evaluator.k).label


def _group_table(rows: DataFrame, entity: str, question: Question) -> DataFrame:
    own = question.within(entity)
    names = [_column(one) for one in own]

    def count(batches: Batches) -> Iterator[pa.RecordBatch]:
        settle_worker()
        for measure, table in _by_measure(_whole(batches)):
            # Codes instead of ids: ids may be text, and only equality matters here.
            ids = table.column(entity).combine_chunks().dictionary_encode()
            found = group_table(ids.indices.to_numpy(), _scored(table), own, task=question.task, kind=question.kind)
            yield pa.RecordBatch.from_arrays(
                [
                    pa.array([measure] * len(found.keys), pa.string()),
                    ids.dictionary.take(pa.array(found.keys)),
                    pa.array(found.rows),
                    pa.array(found.weights),
                    *(pa.array(column, from_pandas=True) for column in found.values.T),  # NaN becomes null
                ],
                names=["measure", entity, "rows", "weight", *names],
            )

    kind = rows.schema[entity].dataType.simpleString()
    schema = f"measure string, `{entity}` {kind}, rows long, weight double"
    together = rows.select(*_USED, entity).where(F.col(entity).isNotNull())
    # As many partitions as the rows have: one group's rows meet, and hardly more than its share of all.
    together = together.repartition(rows.rdd.getNumPartitions(), "measure", entity)
    return together.mapInArrow(count, ", ".join([schema, *(f"`{name}` double" for name in names)]))


def _group_means(rows: DataFrame, entity: str, question: Question) -> dict[str, dict[Evaluator, GroupMean]]:
    own = question.within(entity)
    sums = [
        each
        for i, one in enumerate(own)
        for each in (F.sum(f"`{_column(one)}`").alias(f"total_{i}"), F.count(f"`{_column(one)}`").alias(f"groups_{i}"))
    ]
    table = _group_table(rows, entity, question)
    found: dict[str, dict[Evaluator, GroupMean]] = {}
    for row in table.groupBy("measure").agg(F.count(F.lit(1)).alias("all"), *sums).collect():
        found[row["measure"]] = {
            one: GroupMean(row[f"total_{i}"] or 0.0, row[f"groups_{i}"], row["all"] - row[f"groups_{i}"])
            for i, one in enumerate(own)
        }
    return found


# ---- between Arrow and NumPy ----------------------------------------------------------------------------------------


def _whole(batches: Batches) -> Iterator[pa.RecordBatch]:
    """Yield all rows of a partition as one batch: what needs groups whole."""
    kept = [batch for batch in batches if batch.num_rows]
    if kept:
        yield from pa.Table.from_batches(kept).combine_chunks().to_batches()


def _by_measure(batches: Batches) -> Iterator[tuple[str, pa.Table]]:
    for batch in batches:
        if batch.num_rows:
            table = pa.Table.from_batches([batch])
            measures = table.column("measure")
            for measure in measures.unique().to_pylist():
                yield measure, table.filter(pa.compute.equal(measures, measure))


def _scored(table: pa.Table) -> Scored:
    return Scored(*(_numbers(table, name) for name in ("score", "label", "weight")))


def _numbers(table: pa.Table, name: str) -> npt.NDArray[Any]:
    return table.column(name).to_numpy()  # type: ignore[no-any-return]  # pyarrow ships no types


def _sent(measure: str, lowest: float, sums: object) -> pa.RecordBatch:
    record = {"measure": measure, "lowest": lowest, "payload": msgspec.msgpack.encode(sums)}
    return pa.RecordBatch.from_pylist([record])


def _received(sums: DataFrame, kind: type[SumT]) -> Iterator[tuple[str, float, SumT]]:
    for row in sums.collect():
        yield row.measure, row.lowest, msgspec.msgpack.decode(bytes(row.payload), type=kind)
