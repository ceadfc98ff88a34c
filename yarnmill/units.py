"""Quantities with a fixed unit: parsed once at the edge, plain numbers inside.

A configuration may say ``memory: 2 GiB`` or ``timeout: 10 min``; what the code sees is an integer of
mebibytes or a float of seconds, and the attribute's name carries the unit (``memory_mib``).
"""

import datetime as dt
import re
from typing import Final, Self

from yarnmill.errors import ConfigurationError

_QUANTITY: Final = re.compile(r"^\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-z]*)\s*$")
_MEBIBYTES: Final = {"mib": 1, "gib": 1024, "tib": 1024 * 1024, "mb": 1, "gb": 1024, "m": 1, "g": 1024, "": 1}
_YEAR_10000_MS: Final = 253_402_300_800_000
"""No calendar of Python goes so far, and a program may have given a blob such an end."""

_MOST_SECONDS: Final = 1000 * 365 * 86400.0
"""A thousand years: what is added to the time of day has to have a date."""

_SECONDS: Final = {"us": 1e-6, "ms": 0.001, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}


def _scaled(text: str, units: dict[str, int] | dict[str, float], example: str) -> float:
    match = _QUANTITY.match(text)
    if match is None or match["unit"].lower() not in units:
        raise ConfigurationError(
            f"{text!r} is not a quantity",
            expected=f"a number with one of the units {', '.join(u for u in units if u)}, such as {example!r}",
        )
    return float(match["number"]) * units[match["unit"].lower()]


class Mebibytes(int):
    """An amount of memory in MiB (2**20 bytes), as YARN counts it."""

    @classmethod
    def parse(cls, value: str | float) -> Self:
        """Return ``value`` as MiB; a bare number is MiB already.

        Raises
        ------
        ConfigurationError
            If the text has no known unit or the amount is not a whole, positive number of MiB.
        """
        mebibytes = _scaled(value, _MEBIBYTES, "2 GiB") if isinstance(value, str) else float(value)
        if mebibytes <= 0 or mebibytes != int(mebibytes):
            raise ConfigurationError(f"{value!r} is no amount of memory", expected="a positive whole number of MiB")
        return cls(mebibytes)


class Seconds(float):
    """A duration in seconds."""

    @classmethod
    def parse(cls, value: str | float) -> Self:
        """Return ``value`` as seconds; a bare number is seconds already.

        Raises
        ------
        ConfigurationError
            If the text has no known unit or the duration is negative or over a thousand years.
        """
        seconds = _scaled(value, _SECONDS, "10 min") if isinstance(value, str) else float(value)
        if not 0 <= seconds <= _MOST_SECONDS:
            raise ConfigurationError(f"{value!r} is no duration", expected="0 s to 1000 years, as 365000 d")
        return cls(seconds)


def render_bytes(size: int) -> str:
    """Return a byte count as a person reads it: ``1536`` → ``'1.5 KiB'``."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def render_seconds(seconds: float) -> str:
    """Return a duration as a person reads it: ``75.2`` → ``'1 min 15 s'``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def render_time(at_ms: int) -> str:
    """Return a moment (milliseconds since 1970) as a person reads it: ``0`` → ``'1970-01-01 00:00:00 UTC'``."""
    if at_ms >= _YEAR_10000_MS:
        return "after the year 9999"
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
