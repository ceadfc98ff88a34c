"""Results of every group in Avro, as Photon saves them: ``<folder>/<metric>/<id>/part-*``, the id and the metric."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from jobs.game.files import write_parts
from photon.avro.container import Fields
from photon.avro.schemas import Schema
from photon.evaluation import Evaluator, Question
from photon.spark.evaluation import group_results
from yarnmill import fs

_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_]")


def write_group_results(rows: DataFrame, question: Question, folder: str) -> int:
    """Write the results of one measure's groups; return the number of groups, over all evaluators with an id."""
    written = 0
    for entity in question.entities:
        found = group_results(rows, entity, question).persist()
        evaluators = [one for one in question.evaluators if one.entity == entity]
        metrics = [name for name in found.columns if name not in ("measure", entity, "rows", "weight")]
        for evaluator, metric in zip(evaluators, metrics, strict=True):
            own = found.select(F.col(f"`{entity}`").cast("string").alias("id"), F.col(f"`{metric}`").alias("value"))
            name, _, _ = evaluator.name.partition(":")
            written += write_parts(own, fs.join(folder, name, entity), _schema(evaluator), _Records(evaluator))
        found.unpersist()
    return written


def _fields(evaluator: Evaluator) -> Sequence[str]:
    """Return the names of the two fields: what Avro does not take in a name becomes an underscore."""
    metric, _, entity = evaluator.name.partition(":")
    return tuple(_NO_NAME.sub("_", name) for name in (entity, metric))


def _schema(evaluator: Evaluator) -> Schema:
    entity, metric = _fields(evaluator)
    fields = [{"name": entity, "type": ["string", "null"]}, {"name": metric, "type": ["double", "null"]}]
    return {"type": "record", "name": "topLevelRecord", "fields": fields}


class _Records:
    """From rows of id and value to records under the evaluator's own names."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._fields = _fields(evaluator)

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[Fields]:
        entity, metric = self._fields
        for batch in batches:
            for row in batch.to_pylist():
                yield {entity: row["id"], metric: row["value"]}
