"""What leaves the blocks: checks of the rows, rows to evaluate, rows of coefficients."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from photon.checks import Checks, Fault, feature_faults, id_faults, row_faults
from photon.entities import has_no_id
from photon.loss import RowLoss
from photon.model import RandomEffect
from photon.rows import Floats
from photon.spark.arrow_rows import id_array
from photon.spark.backend import gather
from photon.spark.blocks import Block, Keyed


@dataclass(frozen=True, slots=True)
class RoleRows:
    """What the rows of one role are."""

    role: int
    rows: int
    weight: float
    label_sum: float

    @property
    def mean_label(self) -> float:
        """Weighted mean of the labels; NaN without rows."""
        return self.label_sum / self.weight if self.weight > 0.0 else float("nan")


@dataclass(frozen=True, slots=True)
class Measure:
    """Something to evaluate: the rows of a role under the fitted model, or under a fixed effect alone."""

    name: str
    role: int
    fixed_alone: Floats | None = None


def inspector(
    shard: str, loss: RowLoss, checks: Checks, *, features_alone: bool
) -> Callable[[Iterable[Keyed]], Iterator[RoleRows | Fault]]:
    """Return what yields the roles in a partition's block and all that is wrong there.

    ``features_alone`` where the blocks of another coordinate hold the same rows.
    """

    def inspect(records: Iterable[Keyed]) -> Iterator[RoleRows | Fault]:
        block = gather(records).block
        if not features_alone:
            yield from rows_of_roles(block)
            yield from row_faults(block.uids, block.examples, loss, checks)
        yield from feature_faults(block.uids, block.examples.rows, shard, checks)

    return inspect


def id_inspector(entity: str, checks: Checks) -> Callable[[Iterable[Keyed]], Iterator[Fault]]:
    """Return what yields the rows in a partition's block of a random effect that have no id of its entity."""

    def inspect(records: Iterable[Keyed]) -> Iterator[Fault]:
        block = gather(records).block
        missing = np.repeat(has_no_id(block.rows.entities), np.diff(block.rows.row_ptr))
        yield from id_faults(block.uids, missing, entity, checks)

    return inspect


def rows_of_roles(block: Block) -> Iterator[RoleRows]:
    """Yield what each role in a block is."""
    for role in np.unique(block.roles):
        own = block.roles == role
        weights, labels = block.examples.weights[own], block.examples.labels[own]
        yield RoleRows(int(role), int(own.sum()), float(weights.sum()), float(weights @ labels))


def summed_roles(found: Sequence[RoleRows], roles: int) -> tuple[RoleRows, ...]:
    """Return the sums by role."""
    return tuple(_summed(role, [rows for rows in found if rows.role == role]) for role in range(roles))


def _summed(role: int, found: Sequence[RoleRows]) -> RoleRows:
    return RoleRows(
        role=role,
        rows=sum(one.rows for one in found),
        weight=sum(one.weight for one in found),
        label_sum=sum(one.label_sum for one in found),
    )


def measured_rows(block: Block, margins: Floats, measure: Measure, names: Sequence[str]) -> pa.Table:
    """Return the rows of one measure: score, label, weight and the carried ids."""
    own = np.flatnonzero(block.roles == measure.role)
    examples = block.examples
    if measure.fixed_alone is not None:
        margins = examples.rows.dot(measure.fixed_alone) + examples.offsets
    columns = {
        "measure": pa.array([measure.name] * len(own), pa.string()),
        # -0.0 sorts before 0.0 in Spark and would be torn from its ties.
        "score": pa.array(margins[own] + 0.0),
        "label": pa.array(examples.labels[own]),
        "weight": pa.array(examples.weights[own]),
    }
    return pa.table(columns | {name: id_array(ids[own]) for name, ids in zip(names, block.carried, strict=True)})


_ENTITIES_A_TABLE: Final = 1 << 16
"""Entities that leave a partition together: what the JVM takes of Python at once is held there as one array."""


def coefficient_tables(effect: RandomEffect) -> Iterator[pa.Table]:
    """Yield the rows of :func:`coefficient_rows` a part at a time; nothing where there are none."""
    for part in coefficient_rows(effect).to_batches(max_chunksize=_ENTITIES_A_TABLE):
        if part.num_rows:
            yield pa.Table.from_batches([part])


def coefficient_rows(effect: RandomEffect) -> pa.Table:
    """Return the entities that have coefficients, ascending, with their columns, values and, if there are, variances.

    A coefficient of 0 is left out, unless its variance says how sure that is.
    """
    kept = np.flatnonzero(effect.coefficients) if effect.variances is None else np.arange(len(effect.cells))
    entity, columns = np.divmod(effect.cells[kept], max(1, effect.columns))
    present, lengths = np.unique(entity, return_counts=True)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())

    def lists(values: pa.Array) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, values)

    table = {
        "entity": id_array(effect.entities[present]),
        "indices": lists(pa.array(columns, pa.int32())),
        "values": lists(pa.array(effect.coefficients[kept])),
    }
    if effect.variances is not None:
        table["variances"] = lists(pa.array(effect.variances[kept]))
    return pa.table(table)
