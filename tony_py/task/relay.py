"""Bytes carried both ways between two connections."""

from __future__ import annotations

import asyncio

CHUNK_BYTES = 1 << 16
_CLOSE_S = 5.0


class Ends:
    """A connection: what comes from it and what goes to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer


async def relay(one: Ends, other: Ends) -> None:
    """Carry bytes both ways until one side hangs up; then hang up on the other. Both are closed on return."""
    ways = [asyncio.ensure_future(_carry(one, other)), asyncio.ensure_future(_carry(other, one))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        for ends in (one, other):
            ends.writer.transport.abort()
        raise
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        await asyncio.gather(hang_up(one), hang_up(other))


async def hang_up(ends: Ends) -> None:
    """Send what is left and close the connection; by force where its other side does not take part in that."""
    ends.writer.close()
    try:
        await asyncio.wait_for(ends.writer.wait_closed(), _CLOSE_S)
    except (OSError, asyncio.TimeoutError):  # noqa: UP041  # not the same in 3.8
        pass  # it is closed either way
    finally:
        ends.writer.transport.abort()


async def _carry(source: Ends, target: Ends) -> None:
    while True:
        data = await source.reader.read(CHUNK_BYTES)
        if not data:
            return
        target.writer.write(data)
        await target.writer.drain()
