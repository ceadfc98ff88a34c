"""What is known of the values of one series: counts that can be added up in any order, over any number of workers."""

import math
from typing import Self

from yarnmill.records import Record


class Profile(Record, frozen=True, kw_only=True):
    """Counts over the rows of one series.

    Parameters
    ----------
    counts
        Rows by cell of a :class:`~yarnmill.drift.scale.Scale`. Numbers and texts that are known are in one cell each; a
        bag is in the cell of every term that it has, and in the last one if it has a term that is in no other.
    rows
        All rows.
    missing
        Numbers that are NaN; texts that are not there; bags without a term that is known.
    zeros
        Numbers that are 0; texts and bags that are empty.
    total, squares
        Sums of the numbers less the scale's centre, and of their squares; without those that are beyond all measure.
    """

    counts: tuple[int, ...]
    rows: int = 0
    missing: int = 0
    zeros: int = 0
    total: float = 0.0
    squares: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what nobody can have counted."""
        if not self.counts or min(self.counts) < 0 or not 0 <= max(self.missing, self.zeros) <= self.rows:
            raise ValueError(f"{self.counts} of {self.rows} rows, {self.missing} missing: no counts of a series")

    @property
    def known(self) -> int:
        """Rows whose value is known."""
        return self.rows - self.missing

    def merge(self, other: Self) -> Self:
        """Return the profile of the rows of both; ValueError if they were not counted by the same scale."""
        return type(self)(
            counts=tuple(one + more for one, more in zip(self.counts, other.counts, strict=True)),
            rows=self.rows + other.rows,
            missing=self.missing + other.missing,
            zeros=self.zeros + other.zeros,
            total=self.total + other.total,
            squares=self.squares + other.squares,
        )

    def mean(self, centre: float) -> float | None:
        """Return the mean of the numbers; None without any."""
        return centre + self.total / self.known if self.known else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the numbers; None without any."""
        if not self.known:
            return None
        return math.sqrt(max(self.squares / self.known - (self.total / self.known) ** 2, 0.0))
