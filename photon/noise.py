"""Standard normal numbers of rows and of coefficients, by a hash of what they belong to.

A number depends on the seed, the draw, and the row's uid, or the entity and the column: not on the order of
rows, their partitions or the backend, which may each make the numbers of what they hold.
"""

import zlib
from typing import Final

import numpy as np

from photon.entities import EntityRows, Keys
from photon.rows import Floats, Longs
from photon.sampling import Hashes, uid_hashes

_TEXT_PRIME: Final = 0x100000001B3
_TO_UNIT: Final = 2.0**-53


def row_noise(uids: Longs, seed: int, draw: int) -> Floats:
    """Return the numbers of rows ``(rows,)``."""
    return _normal(uid_hashes(uids), _stream(seed, draw, "rows"))


def column_noise(columns: int, seed: int, draw: int, effect: str) -> Floats:
    """Return the numbers of a fixed effect's coefficients ``(columns,)``."""
    return _normal(uid_hashes(np.arange(columns)), _stream(seed, draw, effect))


def cell_noise(rows: EntityRows, seed: int, draw: int, effect: str) -> Floats:
    """Return the numbers of a random effect's coefficients ``(cells,)``."""
    entity = np.repeat(key_hashes(rows.entities), np.diff(rows.cell_ptr))
    return _normal(entity ^ uid_hashes(rows.cell_columns), _stream(seed, draw, effect))


def key_hashes(keys: Keys) -> Hashes:
    """Return 64 bits of each entity id; of text whatever the width of the array that it stands in."""
    if keys.dtype.kind != "U":
        return uid_hashes(keys.astype(np.int64))
    width = keys.dtype.itemsize // 4
    letters = np.ascontiguousarray(keys).view(np.uint32).reshape(len(keys), width).astype(np.uint64)
    total, power = np.zeros(len(keys), np.uint64), 1
    for place in range(width):
        power = power * _TEXT_PRIME % 2**64
        # What fills a text up to the width of its array is 0 and adds nothing.
        total += letters[:, place] * np.uint64(power)
    return uid_hashes(total.view(np.int64))


def _stream(seed: int, draw: int, name: str) -> np.uint64:
    words = np.array([seed, draw, zlib.crc32(name.encode())], np.int64)
    mixed = np.zeros(1, np.uint64)
    for word in words:
        mixed = uid_hashes((mixed ^ word.astype(np.uint64)).view(np.int64))
    return np.uint64(mixed[0])


def _normal(keys: Hashes, stream: np.uint64) -> Floats:
    """Return normal numbers by Box and Muller's formula, from two uniform ones a key."""
    first = uid_hashes((keys ^ stream).view(np.int64))
    second = uid_hashes(first.view(np.int64))
    length, turn = ((each >> np.uint64(11)).astype(np.float64) for each in (first, second))
    found: Floats = np.sqrt(-2.0 * np.log((length + 0.5) * _TO_UNIT)) * np.cos(2.0 * np.pi * turn * _TO_UNIT)
    return found
