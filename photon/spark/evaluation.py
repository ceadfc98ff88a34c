"""Distributed evaluation: weighted AUC, exact over ties, and mean loss, of all rows and within each entity.

Rows are range-partitioned by score, so ties stay together; each partition counts its own pairs and
the driver adds one small record a partition (:class:`photon.evaluation.PairCounts`). No row is
collected and nothing is sorted at one place.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark import StorageLevel, TaskContext
from pyspark.sql import DataFrame

from photon.evaluation import EntityMean, PairCounts, entity_auc, entity_mean, in_order, pair_counts
from photon.loss import loss_of
from photon.rows import Floats

ScoreKind = Literal["margin", "probability"]

_SMALLEST: Final = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good the scores of one measure are.

    Parameters
    ----------
    measure
        What was measured, as the rows name it.
    rows, weight
        Number of rows and sum of their weights.
    auc
        Weighted AUC; NaN where one class is missing.
    mean_loss
        Weighted mean of the row loss: the log loss, for the logistic task.
    entity_auc
        Entity key and the plain mean of the AUCs of its entities that have both classes.
    entity_loss
        Entity key and the plain mean of the mean losses of its entities.
    """

    measure: str
    rows: int
    weight: float
    auc: float
    mean_loss: float
    entity_auc: tuple[tuple[str, EntityMean], ...]
    entity_loss: tuple[tuple[str, EntityMean], ...]


@dataclass(frozen=True, slots=True)
class _PerEntity:
    auc: EntityMean
    loss: EntityMean

    def __add__(self, other: "_PerEntity") -> "_PerEntity":
        return _PerEntity(self.auc + other.auc, self.loss + other.loss)


_NO_ENTITY: Final = _PerEntity(EntityMean(0.0, 0), EntityMean(0.0, 0))


@dataclass(frozen=True, slots=True)
class _Range:
    measure: str
    partition: int
    rows: int
    weight: float
    loss: float
    counts: PairCounts


def evaluate(
    rows: DataFrame, *, entities: Sequence[str] = (), task: str = "logistic", kind: ScoreKind = "margin"
) -> list[Evaluation]:
    """Return the evaluation of each measure, ordered by name.

    Parameters
    ----------
    rows
        ``measure`` (string: what the row counts for), ``score``, ``label``, ``weight`` (double), and one
        column an entity key of ``entities``.
    entities
        Keys within whose entities AUC and loss are taken as well.
    task
        The task whose row loss is averaged.
    kind
        Whether scores are margins or probabilities (these only for the logistic task).
    """
    kept = rows.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        ranges = _ranges(kept, task, kind)
        by_entity = {key: _by_entity(kept, key, task, kind) for key in entities}
    finally:
        kept.unpersist()
    return [_evaluation(measure, ranges, by_entity) for measure in sorted({one.measure for one in ranges})]


def _evaluation(measure: str, ranges: list[_Range], by_entity: dict[str, dict[str, _PerEntity]]) -> Evaluation:
    own = sorted((one for one in ranges if one.measure == measure), key=lambda one: one.partition)
    weight = sum(one.weight for one in own)
    return Evaluation(
        measure=measure,
        rows=sum(one.rows for one in own),
        weight=weight,
        auc=in_order([one.counts for one in own]).auc,
        mean_loss=sum(one.loss for one in own) / weight if weight > 0.0 else float("nan"),
        entity_auc=tuple((key, found.get(measure, _NO_ENTITY).auc) for key, found in by_entity.items()),
        entity_loss=tuple((key, found.get(measure, _NO_ENTITY).loss) for key, found in by_entity.items()),
    )


def _ranges(rows: DataFrame, task: str, kind: ScoreKind) -> list[_Range]:
    partitions = rows.rdd.getNumPartitions()

    def count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        partition = _partition_id()
        for measure, table in _by_measure(batches):
            scores, labels, weights = (_numbers(table, name) for name in ("score", "label", "weight"))
            counts = pair_counts(scores, labels, weights)
            loss = float(np.dot(weights, _row_losses(scores, labels, task, kind)))
            yield pa.RecordBatch.from_pylist(
                [
                    {
                        "measure": measure,
                        "partition": partition,
                        "rows": table.num_rows,
                        "weight": float(weights.sum()),
                        "loss": loss,
                        "positives": counts.positives,
                        "negatives": counts.negatives,
                        "ordered": counts.ordered,
                    }
                ]
            )

    schema = (
        "measure string, partition long, rows long, weight double, loss double, "
        "positives double, negatives double, ordered double"
    )
    ranged = rows.repartitionByRange(partitions, "measure", "score").mapInArrow(count, schema)
    return [
        _Range(
            row.measure,
            row.partition,
            row.rows,
            row.weight,
            row.loss,
            PairCounts(row.positives, row.negatives, row.ordered),
        )
        for row in ranged.collect()
    ]


def _partition_id() -> int:
    context = TaskContext.get()
    return context.partitionId() if context is not None else 0


def _by_measure(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, pa.Table]]:
    whole = [batch for batch in batches if batch.num_rows]
    if not whole:
        return
    table = pa.Table.from_batches(whole)
    for measure in table.column("measure").unique().to_pylist():
        yield measure, table.filter(pa.compute.equal(table.column("measure"), measure))


def _numbers(table: pa.Table, name: str) -> npt.NDArray[Any]:
    return table.column(name).to_numpy()  # type: ignore[no-any-return]  # pyarrow ships no types


def _row_losses(scores: Floats, labels: Floats, task: str, kind: ScoreKind) -> Floats:
    if kind == "margin":
        losses: Floats = loss_of(task).value(scores, labels)
        return losses
    # A float32 model may say exactly 0 or 1; its loss is then large, not infinite.
    return -np.log(np.maximum(np.where(labels > 0.5, scores, 1.0 - scores), _SMALLEST))


def _by_entity(rows: DataFrame, key: str, task: str, kind: ScoreKind) -> dict[str, _PerEntity]:
    def count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for measure, table in _by_measure(batches):
            # Codes instead of ids: ids may be text, and only equality matters here.
            keys = table.column(key).combine_chunks().dictionary_encode().indices.to_numpy()
            scores, labels, weights = (_numbers(table, name) for name in ("score", "label", "weight"))
            auc = entity_auc(keys, scores, labels, weights)
            loss = entity_mean(keys, _row_losses(scores, labels, task, kind), weights)
            yield pa.RecordBatch.from_pylist(
                [
                    {
                        "measure": measure,
                        "auc": auc.total,
                        "auc_entities": auc.entities,
                        "loss": loss.total,
                        "loss_entities": loss.entities,
                    }
                ]
            )

    schema = "measure string, auc double, auc_entities long, loss double, loss_entities long"
    together = rows.repartition(rows.rdd.getNumPartitions(), "measure", key)
    totals: dict[str, _PerEntity] = {}
    for row in together.mapInArrow(count, schema).collect():
        part = _PerEntity(EntityMean(row.auc, row.auc_entities), EntityMean(row.loss, row.loss_entities))
        totals[row.measure] = totals.get(row.measure, _NO_ENTITY) + part
    return totals
