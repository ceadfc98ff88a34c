"""What leaves the blocks: checks of the rows, rows to evaluate, rows of coefficients."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from photon.entities import EntityRows, Keys
from photon.loss import loss_of
from photon.rows import Floats
from photon.spark.blocks import Block
from yarnmill.errors import BadDataError


@dataclass(frozen=True, slots=True)
class RoleRows:
    """What the rows of one role are, and what is wrong with them (kind and number of rows)."""

    role: int
    rows: int
    weight: float
    label_sum: float
    bad: tuple[tuple[str, int], ...] = ()

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


def rows_of_roles(block: Block, task: str) -> Iterator[RoleRows]:
    """Yield counts and faults of each role in a block of the fixed effect."""
    examples = block.examples
    faults = _faults(block, task)
    for role in np.unique(block.roles):
        own = block.roles == role
        bad = tuple((name, int(np.sum(wrong[own]))) for name, wrong in faults if np.any(wrong[own]))
        weights, labels = examples.weights[own], examples.labels[own]
        yield RoleRows(int(role), int(own.sum()), float(weights.sum()), float(weights @ labels), bad)


def _faults(block: Block, task: str) -> list[tuple[str, np.ndarray]]:
    examples, features = block.examples, block.examples.rows
    wrong_entry = ~np.isfinite(features.values) | (features.indices < 0) | (features.indices >= features.columns)
    return [
        ("a label that the task cannot have", ~loss_of(task).is_label(examples.labels)),
        ("a weight that is negative or not finite", ~(np.isfinite(examples.weights) & (examples.weights >= 0.0))),
        ("an offset that is not finite", ~np.isfinite(examples.offsets)),
        (
            "a feature that is not finite or not in its shard",
            np.bincount(features.row_of[wrong_entry], minlength=len(features)) > 0,
        ),
        ("a uid that another row has too", np.concatenate([[False], np.diff(block.uids) == 0])[: len(block.uids)]),
    ]


def checked_rows(found: Sequence[RoleRows], roles: int, task: str) -> tuple[RoleRows, ...]:
    """Return the sums by role; BadDataError, with the number of rows of each fault, if there is any."""
    problems: dict[str, int] = {}
    for name, count in (fault for rows in found for fault in rows.bad):
        problems[name] = problems.get(name, 0) + count
    if problems:
        raise BadDataError(
            "; ".join(f"{count} rows with {name}" for name, count in sorted(problems.items())),
            expected=f"labels that are {loss_of(task).label_expected}, weights ≥ 0, finite numbers, unique uids",
            mend="correct the table the rows come from and build the training set again",
        )
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
    return pa.table(columns | {name: _ids(ids[own]) for name, ids in zip(names, block.carried, strict=True)})


def coefficient_rows(rows: EntityRows, coefficients: Floats) -> pa.Table:
    """Return the entities that have a coefficient other than 0, ascending, with their columns and values."""
    kept = np.flatnonzero(coefficients)
    entity = np.searchsorted(rows.cell_ptr, kept, side="right") - 1
    present, lengths = np.unique(entity, return_counts=True)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    indices = pa.array(rows.cell_columns[kept], pa.int32())
    return pa.table(
        {
            "entity": _ids(rows.entities[present]),
            "indices": pa.ListArray.from_arrays(offsets, indices),
            "values": pa.ListArray.from_arrays(offsets, pa.array(coefficients[kept])),
        }
    )


def _ids(ids: Keys) -> pa.Array:
    return pa.array(ids.tolist(), pa.string()) if ids.dtype.kind == "U" else pa.array(ids, pa.int64())
