"""Keys that come with a request, in the form in which the sorted keys of a mapped file are searched."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from photon.entities import Keys
from yarnmill.flavours.predictor import Column

_BYTES_OF_CHARACTER: Final = 4  # in NumPy's fixed-width text


def text_width(keys: Keys) -> int:
    """Return the length of the longest text that an array has room for, 0 for integers."""
    return keys.dtype.itemsize // _BYTES_OF_CHARACTER if keys.dtype.kind == "U" else 0


def text_widths(named: Iterable[tuple[str, Keys]]) -> dict[str, int]:
    """Return the length of the longest text under each name, 0 for integers."""
    widths: dict[str, int] = {}
    for name, keys in named:
        widths[name] = max(widths.get(name, 0), text_width(keys))
    return widths


def fixed_width(texts: Sequence[str], longest: int) -> Keys:
    """Return text as an array no wider than tells it from all known keys.

    NumPy gives every element the width of the longest one: a single huge key among many in a request would
    take all memory. One character more than any known key has is enough to be none of them.
    """
    return np.array(texts, dtype=f"U{longest + 1}")


def wanted_keys(column: Column, longest: int) -> Keys:
    """Return the keys of a request: integers as they are, text as :func:`fixed_width`."""
    keys = np.asarray(column)
    return keys if keys.dtype.kind in "iu" else fixed_width(keys.tolist(), longest)
