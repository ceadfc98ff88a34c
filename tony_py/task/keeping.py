"""The files of a notebook session kept beyond their container: a version whenever something has changed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from .checkpoints import Checkpoints

MOST_BYTES = 512 << 20
"""Notebooks are text; what is larger is data and belongs elsewhere."""

_LEFT_OUT = (".ipynb_checkpoints", "__pycache__")
_VERSIONS = 5


class Keeper:
    """Keeps the files below a folder as checkpoints of another one.

    Parameters
    ----------
    root
        Where people work; links in it are not followed.
    url
        Where versions are kept; empty: nowhere.
    log
        Takes a line.
    """

    def __init__(self, root: Path, url: str, log: Callable[[str], None]) -> None:
        self._root = root
        self._versions = Checkpoints(url, keep=_VERSIONS) if url else None
        self._log = log
        self._seen: dict[str, tuple[int, int]] = {}

    def restore(self) -> None:
        """Bring the newest version back."""
        newest = self._versions.latest() if self._versions else None
        if newest is not None:
            newest.copy_to(self._root)
            self._log(f"the files of version {newest.step} are back")
        self._seen = self._look()

    def save(self) -> None:
        """Keep a version, if anything has changed; trouble is told and tried again the next time."""
        if self._versions is None:
            return
        found = self._look()
        if found == self._seen or not found:
            return
        size = sum(size for size, _ in found.values())
        if size > MOST_BYTES:
            self._log(f"{size >> 20} MiB of files are not kept: at most {MOST_BYTES >> 20} are; put data on HDFS")
            return
        try:
            newest = self._versions.latest()
            with tempfile.TemporaryDirectory() as name:
                for below in found:
                    target = Path(name, below)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(self._root / below, target)
                self._versions.save(newest.step + 1 if newest else 1, Path(name))
        except OSError as problem:
            self._log(f"the files could not be kept: {problem}")
            return
        self._seen = found

    def _look(self) -> dict[str, tuple[int, int]]:
        found = {}
        for path in sorted(self._root.rglob("*")):
            below = path.relative_to(self._root)
            if path.is_symlink() or any(part in _LEFT_OUT for part in below.parts) or not path.is_file():
                continue
            status = path.stat()
            found[str(below)] = (status.st_size, status.st_mtime_ns)
        return found
