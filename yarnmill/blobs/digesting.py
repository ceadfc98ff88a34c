"""The SHA-256 of a content on its way, found in a thread beside, for it takes longer than the way itself."""

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

_BESIDE_BYTES: Final = 256 * 1024
"""A thread is not worth its while for a piece smaller than this."""

_BEHIND: Final = 4
"""So many pieces may be on their way that are not hashed yet."""


class Digesting:
    """A SHA-256 that runs after the pieces of a content, a few of them behind at most."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: deque[Future[None]] = deque()

    def update(self, piece: bytes) -> None:
        """Take the next piece, which must not change any more."""
        if self._pool is None and len(piece) < _BESIDE_BYTES:
            self._digest.update(piece)
            return
        self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="SHA-256")
        if len(self._waiting) == _BEHIND:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._digest.update, piece))

    def finish(self) -> str:
        """Return the digest (hex) of all pieces."""
        while self._waiting:
            self._waiting.popleft().result()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        return self._digest.hexdigest()
