"""Bytes carried both ways between two connections."""

from __future__ import annotations

import asyncio

CHUNK_BYTES = 1 << 16


class Ends:
    """A connection: what comes from it and what goes to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer


async def relay(one: Ends, other: Ends) -> None:
    """Carry bytes both ways until one side hangs up; then hang up on the other."""
    ways = [asyncio.ensure_future(_carry(one, other)), asyncio.ensure_future(_carry(other, one))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for ends in (one, other):
            ends.writer.close()


async def _carry(source: Ends, target: Ends) -> None:
    while True:
        data = await source.reader.read(CHUNK_BYTES)
        if not data:
            return
        target.writer.write(data)
        await target.writer.drain()
