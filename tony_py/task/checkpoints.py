"""Checkpoints: each is a file or a folder named by its step, there whole or not at all.

A checkpoint is written under a hidden name of its own and gets its name by one rename that never replaces
anything. So whatever bears a step's name is complete, the newest is the one with the largest step, and of
two ranks that save the same step by mistake one wins and the other changes nothing.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from .files import Content, Store, open_store, stored
from .progress import report

_NAME = re.compile(r"^step-(\d{10,})$")
_FRESH = re.compile(r"^\.step-\d+\.(\d+)\.[0-9a-f]+\.tmp$")
_TRIES = 3
_PAUSE_S = 1.0


class Checkpoint:
    """A complete checkpoint.

    Parameters
    ----------
    step
        The step after which it was saved.
    store, name
        Where it stands.
    is_folder
        Whether a folder was saved.
    """

    def __init__(self, step: int, store: Store, name: str, *, is_folder: bool) -> None:
        self.step = step
        self.is_folder = is_folder
        self._store = store
        self._name = name

    def __repr__(self) -> str:
        return f"Checkpoint(step={self.step}, url={self._store.url}/{self._name})"

    def read(self) -> bytes:
        """Return the bytes that were saved."""
        if self.is_folder:
            raise IsADirectoryError(f"{self}: a folder was saved; copy_to() brings it back")
        return b"".join(self._store.read(self._name))

    def copy_to(self, path: str | os.PathLike[str]) -> Path:
        """Copy what was saved to a local path and return it: a file to a file, a folder's files into a folder."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.is_folder:
            target.mkdir(exist_ok=True)
            self._store.get(self._name, target)
        else:
            self._store.copy_file(self._name, target)
        return target


class Checkpoints:
    """The checkpoints in one folder.

    Parameters
    ----------
    url
        ``hdfs://…`` or a local folder.
    keep
        How many of the newest stay.
    generation
        Which run of the programs this is: what an earlier one left half written is cleared away.
    """

    def __init__(self, url: str, *, keep: int = 3, generation: int = 0, store: Store | None = None) -> None:
        if keep < 1:
            raise ValueError(f"keep={keep}: at least one checkpoint has to stay")
        self._keep = keep
        self._generation = generation
        self._store = store or open_store(url)

    def save(self, step: int, content: Content) -> None:
        """Save bytes, a local file or a local folder as the state after ``step``.

        A step that is saved already stays as it is. Trouble with the file system is overcome by trying again,
        for some seconds.

        Raises
        ------
        OSError
            If it could not be saved: the checkpoints are as they were before.
        """
        if step < 0:
            raise ValueError(f"step {step}: steps count from 0")
        for attempt in range(1, _TRIES + 1):
            try:
                found = self._save_once(step, content)
                break
            except FileNotFoundError:  # what is to be saved is not there
                raise
            except OSError:
                if attempt == _TRIES:
                    raise
                time.sleep(_PAUSE_S * attempt)
        with suppress(OSError):  # the next save tries it again
            self._clear(step, found)

    def _save_once(self, step: int, content: Content) -> list[str]:
        """Save unless it is saved already; return what stands there."""
        name = f"step-{step:010d}"
        found = list(self._store.entries())
        if name in found:
            return found
        fresh = f".{name}.{self._generation}.{secrets.token_hex(6)}.tmp"
        won = False
        try:
            stored(self._store, fresh, content)
            won = self._store.publish(fresh, name)
        finally:
            if not won:
                with suppress(OSError):
                    self._store.delete(fresh)
        return [*found, name]

    def _clear(self, step: int, found: list[str]) -> None:
        """Delete what is older than the newest, and what died half written; never what came after ``step``."""
        older = sorted(each for each in self._steps(found) if each <= step)[: -self._keep]
        gone = [*(f"step-{each:010d}" for each in older), *filter(self._is_dead, found)]
        if gone:
            self._store.delete(*gone)

    def _is_dead(self, name: str) -> bool:
        match = _FRESH.match(name)
        return match is not None and int(match[1]) < self._generation

    def all(self) -> list[Checkpoint]:
        """Return all complete checkpoints, the newest last."""
        entries = self._store.entries()
        names = {step: f"step-{step:010d}" for step in self._steps(entries)}
        return [Checkpoint(step, self._store, names[step], is_folder=entries[names[step]]) for step in sorted(names)]

    def latest(self) -> Checkpoint | None:
        """Return the newest complete checkpoint, or None."""
        return next(reversed(self.all()), None)

    @staticmethod
    def _steps(names: Iterable[str]) -> list[int]:
        return [int(match[1]) for match in map(_NAME.match, names) if match]


def save_checkpoint(step: int, content: Content, *, keep: int = 3) -> None:
    """Save bytes, a local file or a local folder as the application's state after ``step``, and report it.

    One rank saves, usually the first. The newest ``keep`` checkpoints stay; a step that is saved already stays as
    it is.

    Raises
    ------
    OSError
        If it could not be saved: earlier checkpoints are untouched.
    """
    _of_this_application(keep).save(step, content)
    report(checkpoint=step)


def latest_checkpoint() -> Checkpoint | None:
    """Return the newest complete checkpoint of this application, or None in a fresh run."""
    return _of_this_application().latest()


def load_checkpoint() -> bytes | None:
    """Return the bytes of the newest complete checkpoint of this application, or None in a fresh run."""
    latest = latest_checkpoint()
    return latest.read() if latest else None


_opened: dict[str, Store] = {}


def _of_this_application(keep: int = 3) -> Checkpoints:
    url = os.environ.get("TONY_CHECKPOINT_DIR", "")
    if not url:
        raise OSError(
            "TONY_CHECKPOINT_DIR is not set: this program was not started by tony_py; "
            "to try it out, export TONY_CHECKPOINT_DIR=/some/folder"
        )
    generation = int(os.environ.get("TONY_GENERATION", "0"))
    if url not in _opened:
        _opened[url] = open_store(url)
    return Checkpoints(url, keep=keep, generation=generation, store=_opened[url])
