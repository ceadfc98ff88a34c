"""CRC-32C and CRC-64/NVME, which some S3 clients send by default and no library here computes.

A CRC's register after some bytes is linear in the register before and in the bytes, over the field of two elements. So
the bytes are cut into many stretches that NumPy goes through at once, eight bytes a step, and what they give is folded
pairwise: the register of the left one is moved on by as many zero bytes as the right one has. "Moved on by 2**k zero
bytes" is a table of 8 x 256 entries, one row for each byte of the register, and the one for 2**(k+1) is that applied to
itself.
"""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

Registers = npt.NDArray[np.uint64]

_CRC32C: Final = 0x82F63B78
_CRC64NVME: Final = 0x9A6C9329AC4BC9B5

_STRETCHES: Final = 4096
_STRETCH_LOG: Final = 6
"""Stretches are of 2**6 bytes: together as many as are read at once."""

_BLOCK: Final = _STRETCHES << _STRETCH_LOG
_WORD_LOG: Final = 3
_ROWS: Final = 8


class _Crc:
    """A CRC under way, given its polynomial with the lowest power first, and its width in bytes."""

    def __init__(self, polynomial: int, width: int) -> None:
        self._tables, self._width = _tables(polynomial), width
        self._all = (1 << 8 * width) - 1
        self._register = self._all

    def update(self, data: bytes) -> None:
        """Add bytes."""
        for start in range(0, len(data), _BLOCK):
            block = data[start : start + _BLOCK]
            self._register = self._moved(self._register, len(block)) ^ self._of(block)

    def digest(self) -> bytes:
        """Return the CRC of all bytes so far, the highest byte first."""
        return (self._register ^ self._all).to_bytes(self._width, "big")

    def _of(self, block: bytes) -> int:
        """Return the register after a block and before it zero."""
        # Zero bytes before the first do nothing to a register of zero.
        words = np.frombuffer(block.rjust(_BLOCK, b"\0"), "<u8").reshape(_STRETCHES, -1)
        registers = np.zeros(_STRETCHES, np.uint64)
        for column in np.ascontiguousarray(words.T):
            registers = _applied(self._tables[_WORD_LOG], registers ^ column)
        log = _STRETCH_LOG
        while len(registers) > 1:
            registers = _applied(self._tables[log], registers[0::2]) ^ registers[1::2]
            log += 1
        return int(registers[0])

    def _moved(self, register: int, zeros: int) -> int:
        moved = np.array([register], np.uint64)
        for log in range(zeros.bit_length()):
            if zeros >> log & 1:
                moved = _applied(self._tables[log], moved)
        return int(moved[0])


class Crc32C(_Crc):
    """CRC-32C (Castagnoli)."""

    def __init__(self) -> None:
        super().__init__(_CRC32C, 4)


class Crc64Nvme(_Crc):
    """CRC-64/NVME."""

    def __init__(self) -> None:
        super().__init__(_CRC64NVME, 8)


def _applied(table: Registers, registers: Registers) -> Registers:
    """Return registers after what a table stands for."""
    octets = np.ascontiguousarray(registers).view(np.uint8).reshape(-1, _ROWS)
    moved: Registers = table[0].take(octets[:, 0])
    for row in range(1, _ROWS):
        moved ^= table[row].take(octets[:, row])
    return moved


@cache
def _tables(polynomial: int) -> list[Registers]:
    """Return the tables of 1, 2, 4 … zero bytes up to a block."""
    octets = np.arange(256, dtype=np.uint64)
    first = octets
    for _ in range(8):
        first = (first >> np.uint64(1)) ^ np.where(first & np.uint64(1), np.uint64(polynomial), np.uint64(0))
    # The lowest byte goes through the polynomial, each of the others becomes the one below.
    table = np.stack([first, *(octets << np.uint64(8 * row) for row in range(_ROWS - 1))])
    tables = [table]
    while 1 << len(tables) <= _BLOCK:
        table = _applied(table, table.reshape(-1)).reshape(_ROWS, -1)
        tables.append(table)
    return tables
