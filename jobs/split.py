"""The split in time: the first rows of every entity train, the next validate, the last test.

A split at one date would leave most test rows to entities never seen in training.
"""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from yarnmill.errors import ConfigurationError
from yarnmill.records import Record


class TimeSplit(Record, frozen=True, kw_only=True):
    """Shares of each entity's rows, in order of time: ``train``, then ``validation``, the rest is the test."""

    by: str
    train: float = 0.7
    validation: float = 0.1

    def check(self, keys: tuple[str, ...]) -> None:
        """Raise ConfigurationError unless the shares leave a test and ``by`` is an entity key."""
        if self.by not in keys:
            raise ConfigurationError(f"split.by: {self.by!r} is no entity key", expected=f"one of {', '.join(keys)}")
        if self.train <= 0 or self.validation < 0 or self.train + self.validation >= 1:
            raise ConfigurationError(
                f"split: train {self.train} and validation {self.validation} leave nothing to test",
                expected="train above 0, validation 0 or more, together below 1",
            )


def with_split(frame: DataFrame, split: TimeSplit, *, event_time: str, uid: str) -> DataFrame:
    """Add the column ``split``; rows of one moment are ordered by ``uid``, so the split never varies."""
    of_entity = Window.partitionBy(split.by)
    place = F.row_number().over(of_entity.orderBy(event_time, uid))
    size = F.count(F.lit(1)).over(of_entity)
    named = F.when(place <= _rows(split.train, size), "train")
    named = named.when(place <= _rows(split.train + split.validation, size), "validation")
    return frame.withColumn("split", named.otherwise("test"))


def _rows(share: float, size: Column) -> Column:
    # Rounded first: 0.7 + 0.1 is a hair less than 0.8, and a hair must not move a row.
    return F.ceil(F.round(F.lit(share) * size, 6))
