"""Which partition an entity goes to, found in Python, and rows cut by it: equal wherever it is computed."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from photon.rows import Ints

_Hashes = npt.NDArray[np.uint64]
_ODD: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
"""Multipliers of SplitMix64's last step (G. Steele, D. Lea, C. Flood, OOPSLA 2014)."""

_BASE: Final = np.uint64(0x9E3779B97F4A7C15)


def partition_of(ids: pa.Array, partitions: int) -> Ints:
    """Return the partition of each id, integers or text, none of them null."""
    mixed = _mixed(_of_integers(ids) if pa.types.is_integer(ids.type) else _of_text(ids))
    return (mixed % np.uint64(partitions)).astype(np.int32)


def cut(batch: pa.RecordBatch, partition: Ints) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the rows of each partition, in their order."""
    order = np.argsort(partition, kind="stable")
    ordered, own = batch.take(pa.array(order)), partition[order]
    starts = np.flatnonzero(np.diff(own, prepend=-1))
    for start, stop in zip(starts, np.append(starts[1:], len(own)), strict=True):
        yield int(own[start]), ordered.slice(int(start), int(stop - start))


def _of_integers(ids: pa.Array) -> _Hashes:
    numbers: npt.NDArray[np.int64] = ids.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    return numbers.view(np.uint64)


def _of_text(ids: pa.Array) -> _Hashes:
    """Return ``Σⱼ byteⱼ·baseʲ`` modulo 2⁶⁴ of each text: whole columns at a time, whatever the lengths."""
    text = ids.cast(pa.large_binary())
    _, offsets_buffer, data = text.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[text.offset : text.offset + len(text) + 1]
    first, last = (int(offsets[0]), int(offsets[-1])) if len(offsets) else (0, 0)
    codes = np.frombuffer(data, np.uint8)[first:last].astype(np.uint64) if last > first else np.zeros(0, np.uint64)
    lengths = np.diff(offsets)
    place = np.arange(len(codes)) - np.repeat(offsets[:-1] - first, lengths)
    powers = np.cumprod(np.full(int(lengths.max(initial=0)) + 1, _BASE))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum((codes + np.uint64(1)) * powers[place])])
    found: _Hashes = sums[offsets[1:] - first] - sums[offsets[:-1] - first]
    return found


def _mixed(hashes: _Hashes) -> _Hashes:
    mixed = hashes + _BASE
    for shift, odd in zip((30, 27), _ODD, strict=True):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * odd
    return mixed ^ (mixed >> np.uint64(31))
