"""The platform's own error behind what Spark raises: one of a Python worker arrives as text in a Java exception."""

import re
from typing import Final

from yarnmill import errors
from yarnmill.errors import YarnMillError

# The last lines of a Python traceback: the error's class, what it says, and what follows up to Java's own frames.
_RAISED: Final = re.compile(
    r"^(?:Caused by: .*?: )?yarnmill\.errors\.(?P<name>\w+): (?P<what>.*)(?P<rest>(?:\n(?:expected|to mend it): .*)*)",
    re.MULTILINE,
)
_PART: Final = re.compile(r"^(?P<part>expected|to mend it): (?P<text>.*)$", re.MULTILINE)


def own_cause(error: BaseException) -> YarnMillError | None:
    """Return the platform's error that an exception is, or that it tells of; None if there is none."""
    if isinstance(error, YarnMillError):
        return error
    for match in _RAISED.finditer(str(error)):
        kind = getattr(errors, match["name"], None)
        if isinstance(kind, type) and issubclass(kind, YarnMillError):
            parts = {part["part"]: part["text"] for part in _PART.finditer(match["rest"])}
            return kind(match["what"], expected=parts.get("expected", ""), mend=parts.get("to mend it", ""))
    return None
