"""``Range`` headers (RFC 9110): one range of bytes; what asks for anything else gets the whole, as it may."""

import re
from typing import Final

from yarnmill.blobs.http.refusals import RangeError

_RANGE: Final = re.compile(r"\s*bytes\s*=\s*([0-9]{0,19})\s*-\s*([0-9]{0,19})\s*", re.IGNORECASE)


def parse_range(text: str, size_bytes: int) -> tuple[int, int] | None:
    """Return the first byte that is asked for and the first one after, None for the whole.

    Raises
    ------
    RangeError
        If none of the bytes is there.
    """
    match = _RANGE.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size_bytes - int(last)), size_bytes
    else:
        start, stop = int(first), min(int(last) + 1, size_bytes) if last else size_bytes
        if last and int(last) < start:
            return None
    if start >= size_bytes:
        raise RangeError(f"Range: {text.strip()}, of {size_bytes} bytes", size_bytes)
    return start, stop
