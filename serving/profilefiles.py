"""The counts of several workers: a file each in a folder that all share, replaced whole.

A worker that is gone leaves its last counts: they are true, and count until their time is over. So they outlive a
restart of the tier, too. All tiers of one home share the folder, as they do the cache of bundles.
"""

import datetime as dt
import functools
import logging
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from yarnmill import fs
from yarnmill.drift.counts import VersionCounts
from yarnmill.drift.profile import Profile
from yarnmill.drift.reference import Reference, merge_profiles
from yarnmill.errors import BadDataError
from yarnmill.records import Record, compact_json, parse_json

_ENDING: Final = ".json"
_log = logging.getLogger(__name__)


class VersionKey(NamedTuple):
    """What counts belong to: the bundle too, since a registry that is made anew numbers from 1 again."""

    model: str
    version: int
    bundle_id: str


class Window(Record, frozen=True, kw_only=True):
    """The counts of some time: its beginning in seconds since 1970, and a profile a series."""

    start_s: float
    profiles: tuple[Profile, ...]


class Counted(Record, frozen=True, kw_only=True):
    """The counts of one version by window of time."""

    model: str
    version: int
    bundle_id: str
    windows: tuple[Window, ...] = ()

    @property
    def key(self) -> VersionKey:
        """What they belong to."""
        return VersionKey(self.model, self.version, self.bundle_id)

    def beside(self, reference: Reference | None) -> VersionCounts:
        """Return the counts of all windows together, with the reference that they are to be compared with."""
        starts = [one.start_s for one in self.windows]
        return VersionCounts(
            version=self.version,
            bundle_id=self.bundle_id,
            reference=reference,
            profiles=functools.reduce(merge_profiles, (one.profiles for one in self.windows)) if starts else (),
            since=dt.datetime.fromtimestamp(min(starts), dt.UTC) if starts else None,
        )

    def more(self, start_s: float, profiles: tuple[Profile, ...]) -> "Counted":
        """Return them with more of one window."""
        windows = {one.start_s: one.profiles for one in self.windows}
        merged = merge_profiles(windows[start_s], profiles) if start_s in windows else profiles
        windows[start_s] = merged
        kept = tuple(Window(start_s=start, profiles=each) for start, each in sorted(windows.items()))
        return Counted(model=self.model, version=self.version, bundle_id=self.bundle_id, windows=kept)

    def merge(self, other: "Counted") -> "Counted":
        """Return them with all of another worker's."""
        merged = self
        for window in other.windows:
            merged = merged.more(window.start_s, window.profiles)
        return merged

    def since(self, start_s: float) -> "Counted":
        """Return them without the windows that began earlier."""
        kept = tuple(one for one in self.windows if one.start_s >= start_s)
        return Counted(model=self.model, version=self.version, bundle_id=self.bundle_id, windows=kept)


class _Content(Record, frozen=True, kw_only=True):
    counted: tuple[Counted, ...]


class ProfileFiles:
    """One worker's file, and those of the others.

    Parameters
    ----------
    folder
        What all share.
    stale_s
        Age at which a file that nobody has written since is removed.
    """

    def __init__(self, folder: Path, stale_s: float) -> None:
        self._folder = folder
        self._stale_s = stale_s
        # Process ids come again, after a restart of a container with the same ones.
        self._own = folder / f"{os.getpid()}-{secrets.token_hex(4)}{_ENDING}"

    def save(self, counted: Sequence[Counted]) -> None:
        """Replace this worker's file, and remove what is stale; errors as :func:`yarnmill.fs.write_bytes`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        fs.write_bytes(self._own, compact_json(_Content(counted=tuple(counted))), overwrite=True)
        for path in self._others():
            with suppress(OSError):  # another worker was quicker
                if path.stat().st_mtime < time.time() - self._stale_s:
                    path.unlink()

    def of_others(self) -> Iterator[Counted]:
        """Yield what all other workers have written."""
        for path in self._others():
            try:
                content = parse_json(path.read_bytes(), _Content, source=str(path))
            except FileNotFoundError:
                continue
            except BadDataError as problem:  # written by another version of the platform: it lives an hour or two
                _log.warning("%s", problem.what)
                continue
            yield from content.counted

    def _others(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return sorted(path for path in self._folder.glob(f"[!.]*{_ENDING}") if path != self._own)
