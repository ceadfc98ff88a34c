"""Checks of rows before a fit: labels that fit the task, weights, offsets and features that can be meant.

Every check is one vectorised pass over rows that are in memory anyway. What is found is counted and named by
the rows' uids (the smallest few), and adds up over blocks of rows wherever they live. A missing weight is 1
and a missing offset 0, long before this; here both are numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from photon.loss import RowLoss
from photon.rows import Examples, Longs, SparseRows
from yarnmill.errors import BadDataError

Checks = Literal["full", "sample", "off"]
"""All rows; one of ten, chosen by a hash of the uid, so always the same ones; none."""

Kind = Literal["label", "weight", "offset", "uid", "id", "feature", "column", "twice"]
Mask = npt.NDArray[np.bool_]

_NAMED: Final = 5
_SAMPLED: Final = 10


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a fault is called, what was expected instead, and what mends it."""

    what: str
    expected: str
    mend: str


_RULES: Final[dict[Kind, _Rule]] = {
    "label": _Rule("a label that the task cannot have", "", "correct the response, or choose the task that it fits"),
    "weight": _Rule("a weight that is negative or not finite", "0 or more, or none", "correct or drop the weight"),
    "offset": _Rule("an offset that is not finite", "a number, or none", "correct or drop the offset"),
    "uid": _Rule("a uid that another row has too", "unique uids", "drop the doubles, or number the rows anew"),
    "id": _Rule("no id", "an id in every row", "leave these rows out, or give them an id"),
    "feature": _Rule("a feature that is not finite", "finite features", "correct the feature, or leave it out"),
    "column": _Rule("a feature outside its shard", "columns of the index map", "index with the shard's own map"),
    "twice": _Rule("a feature (name, term) that stands twice", "each once a row", "sum the doubles, or drop one"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault: the number of rows that have it and the smallest of their uids.

    ``shard`` is that of the features, or the entity whose id is missing; empty for what is a matter of neither.
    """

    kind: Kind
    rows: int
    uids: tuple[int, ...]
    shard: str = ""

    def __add__(self, other: "Fault") -> "Fault":
        uids = sorted({*self.uids, *other.uids})[:_NAMED]
        return Fault(self.kind, self.rows + other.rows, tuple(uids), self.shard)

    def __str__(self) -> str:
        """Return the fault in words, such as ``2 rows with an offset that is not finite (uids 7, 9)``."""
        place = (f" of {self.shard}" if self.kind == "id" else f" in shard {self.shard}") if self.shard else ""
        named = f"uid{'s' * (len(self.uids) > 1)} {', '.join(str(uid) for uid in self.uids)}"
        more = ", …" if self.rows > len(self.uids) else ""
        return f"{self.rows} rows with {_RULES[self.kind].what}{place} ({named}{more})"


def row_faults(uids: Longs, examples: Examples, loss: RowLoss, checks: Checks) -> list[Fault]:
    """Return what is wrong with labels, weights, offsets and uids."""
    own = _chosen(uids, checks)
    uids, weights = uids[own], examples.weights[own]
    wrong: dict[Kind, Mask] = {
        "label": ~loss.is_label(examples.labels[own]),
        "weight": ~(np.isfinite(weights) & (weights >= 0.0)),
        "offset": ~np.isfinite(examples.offsets[own]),
        "uid": _is_double(uids),
    }
    return [fault for kind, rows in wrong.items() for fault in _fault(kind, uids[rows])]


def id_faults(uids: Longs, missing: Mask, entity: str, checks: Checks) -> list[Fault]:
    """Return the rows of a random effect that are of no entity."""
    own = _chosen(uids, checks)
    return list(_fault("id", uids[own][missing[own]], entity))


def feature_faults(uids: Longs, rows: SparseRows, shard: str, checks: Checks) -> list[Fault]:
    """Return what is wrong with the features of one shard."""
    own = _chosen(uids, checks)
    if len(own) < len(uids):
        uids, rows = uids[own], rows.take(own)
    row_of = rows.row_of
    wrong: dict[Kind, Longs] = {
        "feature": row_of[~np.isfinite(rows.values)],
        "column": row_of[(rows.indices < 0) | (rows.indices >= rows.columns)],
        "twice": _rows_with_doubles(rows, row_of),
    }
    return [fault for kind, places in wrong.items() for fault in _fault(kind, uids[np.unique(places)], shard)]


def _chosen(uids: Longs, checks: Checks) -> Longs:
    if checks == "off":
        return np.zeros(0, np.int64)
    if checks == "full":
        return np.arange(len(uids))
    # Fibonacci hashing: neighbouring uids fall far apart.
    mixed = (uids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    return np.flatnonzero(mixed % np.uint64(_SAMPLED) == 0)


def _fault(kind: Kind, uids: Longs, shard: str = "") -> Iterator[Fault]:
    if len(uids):
        smallest = np.unique(uids)[:_NAMED]
        yield Fault(kind, len(uids), tuple(smallest.tolist()), shard)


def _is_double(uids: Longs) -> Mask:
    """Return whether each uid stood before: of two equal ones, the second."""
    order = np.argsort(uids, kind="stable")
    ordered = uids[order]
    double = np.zeros(len(uids), np.bool_)
    double[order[1:]] = ordered[1:] == ordered[:-1]
    return double


def _rows_with_doubles(rows: SparseRows, row_of: Longs) -> Longs:
    # Columns ascend as a rule, and then nothing has to be sorted.
    is_same_row = row_of[1:] == row_of[:-1]
    suspect = np.unique(row_of[1:][is_same_row & (rows.indices[1:] <= rows.indices[:-1])])
    if not len(suspect):
        return suspect
    own = np.isin(row_of, suspect)
    keys = np.sort((row_of[own] << np.int64(32)) + rows.indices[own].astype(np.int64))
    doubles: Longs = keys[1:][keys[1:] == keys[:-1]] >> np.int64(32)
    return doubles


def refuse(faults: Sequence[Fault], loss: RowLoss) -> None:
    """Raise BadDataError, with rows, counts and what mends it, if there is any fault."""
    total: dict[tuple[Kind, str], Fault] = {}
    for fault in faults:
        key = (fault.kind, fault.shard)
        total[key] = total[key] + fault if key in total else fault
    if not total:
        return
    found = sorted(total.values(), key=lambda fault: (list(_RULES).index(fault.kind), fault.shard))
    kinds = list(dict.fromkeys(fault.kind for fault in found))
    expected = [
        f"labels that are {loss.label_expected}" if kind == "label" else _RULES[kind].expected for kind in kinds
    ]
    raise BadDataError(
        "; ".join(str(fault) for fault in found),
        expected=f"{'; '.join(expected)} (task {loss.task})",
        mend="; ".join(_RULES[kind].mend for kind in kinds),
    )


def check_rows(
    shards: Mapping[str, SparseRows],
    examples: Examples,
    loss: RowLoss,
    checks: Checks = "full",
    uids: Longs | None = None,
) -> None:
    """Check rows in memory.

    Parameters
    ----------
    shards
        The rows' features by shard.
    examples
        Their labels, weights and offsets; its features are not looked at.
    loss
        The task.
    checks
        All rows, a sample of them, or none.
    uids
        ``(rows,)`` what rows are called; unset: their positions.

    Raises
    ------
    BadDataError
        If anything is wrong: what, in how many rows, which ones, and what mends it.
    """
    if checks == "off":
        return
    uids = np.arange(len(examples.labels)) if uids is None else uids
    faults = row_faults(uids, examples, loss, checks)
    for shard, rows in shards.items():
        faults += feature_faults(uids, rows, shard, checks)
    refuse(faults, loss)
