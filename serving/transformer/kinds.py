"""What columns are while a transformer works: NumPy arrays, of one row or of all, and their kinds known beforehand.

An array of one row stands for all rows, as NumPy has it: what a request says once is looked up and reckoned once.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]
"""``(rows,)`` or ``(1,)``: float64 (NaN: missing), int64, bool, or objects for texts (None: missing) and bags; ``(rows,
width)`` float64 for a vector."""

KindName = Literal["number", "integer", "boolean", "text", "bag", "vector"]


class Kind(NamedTuple):
    """The kind of a column; ``width`` is that of a vector."""

    name: KindName
    width: int = 1

    @property
    def is_numeric(self) -> bool:
        """Whether arithmetic is for it."""
        return self.name in {"number", "integer", "boolean"}

    def __str__(self) -> str:
        return f"a vector of {self.width}" if self.name == "vector" else f"a {self.name}"


NUMBER = Kind("number")
INTEGER = Kind("integer")
BOOLEAN = Kind("boolean")
TEXT = Kind("text")
BAG = Kind("bag")

Columns = dict[str, Values]
Kinds = Mapping[str, Kind]
Computed = Callable[[Mapping[str, Values]], Values]
"""Makes a column of those that stand already."""


def numbers(values: Values) -> npt.NDArray[np.float64]:
    """Return a numeric column as float64."""
    return values.astype(np.float64, copy=False)
