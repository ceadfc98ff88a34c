"""Sessions: what a client calls requests that belong together, and which of them are logged."""

import os
import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

SESSION_HEADER: Final = "X-Session-Id"
"""Names the session of a request; labels find its rows by it."""

ID_PATTERN: Final = "[!-~]{1,128}"
EXPECTED_ID: Final = "a session id: 1 to 128 printable characters of ASCII without a blank"

_SESSION_KEY: Final = "HTTP_X_SESSION_ID"
_ID: Final = re.compile(ID_PATTERN)
_PERSON: Final = b"prediction log"
"""Sets this draw apart from those of experiments: else a version's units would be logged or not together."""


def session_of(environ: "WSGIEnvironment") -> str:
    """Return the session that a request names, or a new one."""
    given = environ.get(_SESSION_KEY)
    return given if given is not None and is_session_id(given) else os.urandom(16).hex()


def is_session_id(text: str) -> bool:
    """Return whether a text can name a session."""
    return _ID.fullmatch(text) is not None


class Sample:
    """The sessions that are logged: the same in every process, at any time, and more of them when the share grows.

    Parameters
    ----------
    share
        From 0, none, to 1, all.
    """

    def __init__(self, share: float) -> None:
        self._bound = round(share * 2**64)
        self._is_all = share == 1

    def keeps(self, session_id: str) -> bool:
        """Return whether a session is logged."""
        if self._is_all:  # as most are: a hash for each request would be wasted
            return True
        digest = blake2b(session_id.encode(), digest_size=8, person=_PERSON).digest()
        return int.from_bytes(digest, "little") < self._bound
