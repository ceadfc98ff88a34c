"""What waits to be written: as a request left it, nothing rendered, for its thread has better things to do."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from serving.dialect import Outputs
from yarnmill.flavours.predictor import Column

Arm = Literal["main", "experiment", "mirror", "named"]
"""See :data:`yarnmill.predictions.SCHEMAS`."""

_BASE_BYTES: Final = 1024
"""What an entry takes however little it holds: with it the bound on bytes is one on requests as well."""

_ARRAY_BYTES: Final = 128
_OBJECT_BYTES: Final = 64
_TERM_BYTES: Final = 128
"""What an array takes without its numbers, a short text or an empty bag, and a term of a bag with its number."""


class Entry(Protocol):
    """What one request leaves: when, how many rows, and about how many bytes it takes while it waits."""

    @property
    def time_s(self) -> float:
        """Seconds since 1970."""

    @property
    def rows(self) -> int:
        """Rows of the table."""

    @property
    def held_bytes(self) -> int:
        """About what it takes."""


class Asking(NamedTuple):
    """Who asked, and how the version that answers was chosen."""

    session_id: str
    unit: str | None
    arm: Arm
    body_bytes: int


class Prediction(NamedTuple):
    """One answered request."""

    time_s: float
    rows: int
    held_bytes: int
    asking: Asking
    model: str
    version: int
    latency_s: float
    features: Mapping[str, Column]
    outputs: Outputs
    sources: tuple[str, ...] = ()


class Label(NamedTuple):
    """What came of one row; ``time_us`` is since 1970, None if its sender does not say."""

    session_id: str
    row_id: int
    label: float
    time_us: int | None


class Labels(NamedTuple):
    """The labels of one request."""

    time_s: float
    rows: int
    held_bytes: int
    model: str
    labels: tuple[Label, ...]


def prediction_bytes(features: Mapping[str, Column], outputs: Outputs, body_bytes: int) -> int:
    """Return about what a request and its answer hold; columns may be views of the body, and keep it."""
    held = _BASE_BYTES + body_bytes
    for column in features.values():
        if isinstance(column, np.ndarray):
            held += _array_bytes(column)
        else:
            held += _OBJECT_BYTES * len(column) + _TERM_BYTES * sum(map(len, column))
    return held + sum(map(_array_bytes, outputs.values()))


def _array_bytes(values: npt.NDArray[np.generic]) -> int:
    of_objects = values.size * _OBJECT_BYTES if values.dtype.kind == "O" else 0
    return _ARRAY_BYTES + values.nbytes + of_objects


def labels_bytes(labels: tuple[Label, ...]) -> int:
    """Return about what labels hold: a tuple, a text and three numbers each."""
    return _BASE_BYTES + 384 * len(labels)
