"""A fitted formula on the rows of a Spark DataFrame: scores, and the likelier class."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it
from pyspark.sql.types import DoubleType, StructField, StructType

from photon.entities import Keys
from photon.fitted import FittedModel
from photon.loss import RowLoss, loss_of
from photon.model import RandomEffect
from photon.spark.encoded import ScoredRows
from photon.spark.kept import SparkFitted
from photon.spark.parts import CONTRIBUTIONS, MARGIN, KnownModel, Rim
from photon.spark.scoring import with_margins

PREDICTION = "prediction"
PREDICTED = "predicted"


def score_on_spark(fitted: FittedModel, rows: DataFrame) -> DataFrame:
    """Return rows with ``contribution_<effect>``, ``margin`` and ``prediction`` (``E[y]``) added.

    The random effects of a model that was fitted on Spark meet their rows by entity (:mod:`photon.spark.scoring`), and
    rows come in another order. A model of this process goes to every executor whole, and rows stay where they are.
    """
    effects = tuple((one.formula, one.encoding) for one in fitted.record.effects)
    order = tuple(one.name for one, _ in effects)
    joined = fitted.joined() if isinstance(fitted, SparkFitted) else ()
    known = fitted.known if isinstance(fitted, SparkFitted) else fitted.model
    kinds: dict[str, Keys] = {one.entity: one.entities[:1] for one in known.effects if isinstance(one, RandomEffect)}
    kinds |= fitted.key_kinds() if isinstance(fitted, SparkFitted) else {}
    passed = tuple(f"passed {place}" for place in range(len(rows.columns)))
    added = [*(f"contribution_{name}" for name in order), MARGIN, PREDICTION]
    rim = Rim(
        passed=passed,
        known=KnownModel(
            rows.sparkSession.sparkContext.broadcast(known),
            {one.name: len(encoding.columns) for one, encoding in effects},
        ),
        read=ScoredRows(fitted.record.offset, effects, kinds, passed),
        write=_Named(tuple(rows.columns), tuple(added), order, loss_of(fitted.record.task)),
        schema=StructType([*rows.schema.fields, *(StructField(name, DoubleType()) for name in added)]),
    )
    partitions = int(rows.sparkSession.conf.get("spark.sql.shuffle.partitions") or "4")
    return with_margins(rows, order, joined, rim, partitions)


def predict_on_spark(fitted: FittedModel, rows: DataFrame) -> DataFrame:
    """Return rows with ``predicted`` added: the likelier class for the logistic task, else ``E[y]``."""
    scored, classes = score_on_spark(fitted, rows), fitted.record.classes
    found = F.col(PREDICTION)
    if classes:
        found = F.when(F.col(MARGIN) > 0.0, F.lit(classes[1])).otherwise(F.lit(classes[0]))
    own = [F.col("`" + name.replace("`", "``") + "`") for name in rows.columns]
    return scored.select(*own, found.alias(PREDICTED))


@dataclass(frozen=True, slots=True)
class _Named:
    """Gives scored rows the names that they go out with."""

    passed: tuple[str, ...]
    added: tuple[str, ...]
    order: tuple[str, ...]
    loss: RowLoss

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            margin, parts = batch.column(MARGIN), batch.column(CONTRIBUTIONS)
            mean = self.loss.mean(margin.to_numpy().astype(np.float64, copy=False))
            arrays = [*batch.columns[: len(self.passed)], *(parts.field(name) for name in self.order)]
            yield pa.RecordBatch.from_arrays([*arrays, margin, pa.array(mean)], names=[*self.passed, *self.added])
