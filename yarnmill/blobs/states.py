"""What became of a blob after it was put: deleted, restored, given another end.

The bytes are never touched. Each change is an empty file ``<number>-<what>-<when>[-<end>]`` in a folder of the
blob's own, made by one act; the blob's state is what they add up to, in their order. A blob that nothing happened to
has no folder; one that is put with an end has one all the same, with a change that says nothing.
"""

import hashlib
import time
from typing import Final, Literal, NamedTuple

from yarnmill import fs
from yarnmill.errors import BadDataError, NotFoundError

_NEVER: Final = "never"
_NOTHING: Final = "00000000-put-0"
"""Comes before all changes, and says what is so without it."""

What = Literal["collected", "deleted", "expires", "put", "restored"]


class State(NamedTuple):
    """What became of a blob; times in milliseconds since 1970.

    ``deleted_at_ms`` and ``collected_at_ms`` are None where that did not happen; ``has_end`` says whether
    ``expires_at_ms`` takes the place of the one that it was put with.
    """

    changes: int = 0
    deleted_at_ms: int | None = None
    collected_at_ms: int | None = None
    has_end: bool = False
    expires_at_ms: int | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the blob was deleted and not restored, or collected and not put again."""
        return self.deleted_at_ms is not None or self.collected_at_ms is not None


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class States:
    """The states of all blobs of a store, below a folder."""

    def __init__(self, url: str) -> None:
        self._url = url

    def of(self, blob_id: str) -> State:
        """Return what became of a blob."""
        try:
            files = fs.children(self.folder(blob_id))
        except NotFoundError:
            return State()
        state = State()
        for file in files:  # by name, so by number
            state = _changed(state, file)
        return state

    def add(self, blob_id: str, what: What, after: State, expires_at_ms: int | None = None) -> State:
        """Add a change to those that somebody has seen, and return what all add up to.

        Of changes that were made after the same one, whoever is first by name counts least: a blob that is collected
        and put once more at the same moment is there.
        """
        end = () if what != "expires" else (_NEVER if expires_at_ms is None else str(expires_at_ms),)
        name = "-".join((f"{after.changes + 1:08}", what, str(now_ms()), *end))
        fs.create_empty(fs.join(self.folder(blob_id), name))
        return self.of(blob_id)

    def mark(self, blob_id: str) -> None:
        """Let a blob be one of :meth:`changed`, which changes nothing of it, whether it is there or not."""
        fs.create_empty(fs.join(self.folder(blob_id), _NOTHING))

    def folder(self, blob_id: str) -> str:
        """Return where the changes of a blob lie."""
        key = self.key(blob_id)
        return fs.join(self._url, key[:2], key)

    @staticmethod
    def key(blob_id: str) -> str:
        """Return what the changes of a blob are found by."""
        return hashlib.sha256(blob_id.encode()).hexdigest()[:32]

    def changed(self) -> set[str]:
        """Return the keys of all blobs that anything happened to, or that were put with an end."""
        try:
            folders = fs.children(self._url)
        except NotFoundError:
            return set()
        return {child.name for folder in folders for child in fs.children(folder.url)}


def _changed(state: State, file: fs.FileInfo) -> State:
    number, what, when, *end = (*file.name.split("-"), "", "")
    try:
        state, at_ms = state._replace(changes=int(number)), int(when)
        if what == "deleted":
            return state._replace(deleted_at_ms=at_ms)
        if what == "restored":
            return state._replace(deleted_at_ms=None)
        if what == "put":
            return state._replace(deleted_at_ms=None, collected_at_ms=None)
        if what == "collected":
            return state._replace(collected_at_ms=at_ms)
        if what == "expires":
            return state._replace(has_end=True, expires_at_ms=None if end[0] == _NEVER else int(end[0]))
    except ValueError:
        pass
    raise BadDataError(f"{file.url}: no change of a blob has this name", mend="move it away")
