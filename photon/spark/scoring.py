"""Scores of rows under models too large for one executor: rows and coefficients meet by their entity.

Three passes and two shuffles, whatever the number of effects::

    rows          each batch stays together as a block; of each joined effect its ids and vectors go to the partitions
                  of the entities, and the block itself, with the parts of all other effects, waits at its home
    coefficients  those of an entity go to the same partition
    entities      a partition holds the coefficients of one effect at a time; rows stream past them, so an entity with
                  a million rows takes no more memory than one with ten; (place in the block, part) goes home
    home          the parts are added to their block

All that moves is Arrow or NumPy bytes, a record a batch and partition. An entity or a column without a coefficient,
a null id and a null vector count 0.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it
from pyspark.sql.types import DoubleType, StructField, StructType

from photon.spark.meeting import ROUTED, SCORED, assembler, coefficient_sender, row_sender, scorer
from photon.spark.parts import CONTRIBUTIONS, MARGIN, Mapper, Rim, scored_batch, unchanged
from photon.spark.worker import settle_worker


@dataclass(frozen=True, slots=True)
class JoinedEffect:
    """A random effect whose coefficients stay in the executors.

    Parameters
    ----------
    name, shard, entity, columns
        As in :class:`photon.model.RandomEffect`.
    coefficients
        What ``read`` makes rows of ``entity``, ``indices`` and ``values`` of, in the executors; an entity may have
        several rows, a pair of entity and index stands once.
    read
        See ``coefficients``.
    """

    name: str
    shard: str
    entity: str
    columns: int
    coefficients: DataFrame
    read: Mapper = unchanged


def with_margins(
    rows: DataFrame, order: Sequence[str], joined: Sequence[JoinedEffect], rim: Rim, partitions: int
) -> DataFrame:
    """Return rows with ``margin``, the offset and the sum of all effects, and ``contributions``, a struct of the parts.

    Parameters
    ----------
    rows
        What ``rim.read`` makes rows of.
    order
        Names of all effects, in the order in which their parts are added.
    joined
        The effects that rows meet in a shuffle.
    rim
        How rows come in and go out.
    partitions
        Into how many the shuffles go.
    """
    schema = rim.schema or scored_schema(rows.select(*rim.passed).schema, order)
    if not joined:
        return rows.mapInArrow(_at_once(rim, tuple(order)), schema)
    keys = tuple((one.entity, one.shard) for one in joined)
    routed = [rows.mapInArrow(row_sender(rim, keys, partitions), ROUTED)]
    routed += [
        one.coefficients.mapInArrow(coefficient_sender(one.read, place, partitions), ROUTED)
        for place, one in enumerate(joined)
    ]
    met = reduce(DataFrame.union, routed).repartitionById(partitions, F.col("partition"))
    names = tuple((one.name, one.columns) for one in joined)
    scored = met.sortWithinPartitions("effect", "rank").mapInArrow(scorer(names), SCORED)
    home = scored.repartitionById(partitions, F.col("partition")).sortWithinPartitions("block", "effect")
    return home.mapInArrow(assembler(rim, tuple(one.name for one in joined), tuple(order)), schema)


def scored_schema(passed: StructType, order: Sequence[str]) -> StructType:
    """Return the columns of scored rows before anybody writes them otherwise."""
    parts = StructType([StructField(name, DoubleType()) for name in order])
    return StructType([*passed.fields, StructField(MARGIN, DoubleType()), StructField(CONTRIBUTIONS, parts)])


def _at_once(rim: Rim, order: tuple[str, ...]) -> Mapper:
    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        settle_worker()
        yield from rim.write(
            scored_batch(batch, rim.known(batch), order, rim.passed) for batch in rim.read(batches) if batch.num_rows
        )

    return score
