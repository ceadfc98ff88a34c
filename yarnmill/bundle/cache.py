"""The folder of fetched bundles that all processes of a machine share: who has one open, and which goes first.

Whoever opens a bundle holds a shared lock (flock) on its folder; the kernel drops it with the process, however that
ends. Folders are moved (made visible, put aside, evicted) one at a time, under a lock on the cache's own folder. What
is not a bundle yet or any more has a hidden name, and is removed by whoever next finds that nobody holds it.
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from yarnmill.bundle.pack import read_manifest
from yarnmill.errors import YarnMillError

_LEFTOVERS: Final = (".tmp", ".damaged", ".evicted", ".fetching")


class HeldBundle:
    """A folder of the cache that nobody removes until it is released, or until this process ends.

    Parameters
    ----------
    folder
        The bundle's folder.
    descriptor
        The open folder, locked; -1: a folder that is in no cache, which nobody removes anyway.
    """

    def __init__(self, folder: Path, descriptor: int = -1) -> None:
        self.folder = folder
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the folder go; nothing happens the second time."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def hold(folder: Path) -> HeldBundle | None:
    """Hold a folder; None if there is none (any more)."""
    while True:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        held = HeldBundle(folder, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        except OSError:
            held.release()
            raise
        if _is_at(descriptor, folder):
            return held
        held.release()  # it was moved away between the two calls


def hold_fresh(cache: Path, name: str) -> HeldBundle:
    """Make a hidden folder in the cache to fetch a bundle into, and hold it."""
    while True:
        folder = cache / f".{name}.{secrets.token_hex(6)}.tmp"
        folder.mkdir(parents=True)
        held = hold(folder)
        if held is not None:  # else it was taken for a leftover before it was locked
            return held


@contextmanager
def fetching(cache: Path, name: str) -> Iterator[None]:
    """Let one at a time fetch a bundle: the workers of a machine want the same one at the same moment.

    Whoever has waited looks first whether it is there by now. Where folders cannot be locked, several fetch it.
    """
    folder = cache / f".{name}.fetching"
    descriptor = _alone_in(folder)
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()
        os.close(descriptor)


def _alone_in(folder: Path) -> int:
    """Make a folder and lock it for this caller alone; return it open."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with suppress(FileExistsError):  # exist_ok would look again, and it may be gone by then
            folder.mkdir()
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # removed between the two calls
            continue
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_at(descriptor, folder):
            return descriptor
        os.close(descriptor)


@contextmanager
def moving(cache: Path) -> Iterator[None]:
    """Let one process at a time move folders of the cache."""
    descriptor = os.open(cache, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def put_aside(folder: Path, ending: str) -> Path:
    """Give a folder a hidden name, within :func:`moving`; processes that have its files open keep them."""
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}{ending}")
    folder.rename(aside)
    return aside


def mark_used(folder: Path) -> None:
    """Note that a bundle was used just now."""
    with suppress(OSError):  # another user's folder: whoever owns it loses a little of the order
        os.utime(folder)


def make_room(cache: Path, limit_bytes: int | None, keep: Path) -> None:
    """Remove leftovers, and the bundles that were used longest ago until all take no more than a limit.

    What a living process holds stays, so what is held can be more than the limit.

    Parameters
    ----------
    cache
        The folder.
    limit_bytes
        Most that all bundles may take, those that are being fetched included; None: only leftovers go.
    keep
        A folder that stays.
    """
    for child in list(cache.iterdir()):
        if child.name.endswith(_LEFTOVERS) and child != keep:
            with _locked_if_free(child) as is_free:
                if is_free:
                    shutil.rmtree(child, ignore_errors=True)
    while limit_bytes is not None and (evicted := _evicted(cache, limit_bytes, keep)) is not None:
        shutil.rmtree(evicted, ignore_errors=True)


def _evicted(cache: Path, limit_bytes: int, keep: Path) -> Path | None:
    """Hide the bundle that was used longest ago of those that nobody holds, if there is too much."""
    with moving(cache):
        sizes = {child: size_bytes(child) for child in cache.iterdir() if child.is_dir()}
        if sum(sizes.values()) <= limit_bytes:
            return None
        shown = [child for child in sizes if not child.name.startswith(".") and child != keep]
        for folder in sorted(shown, key=lambda each: each.stat().st_mtime_ns):
            with _locked_if_free(folder) as is_free:
                if is_free:
                    return put_aside(folder, ".evicted")
    return None


def size_bytes(folder: Path) -> int:
    """Return how much a folder of the cache takes, or will take once it is fetched."""
    if folder.name.endswith((".damaged", ".evicted")):
        return 0  # somebody is removing it, or has it open and cannot be helped
    if folder.name.startswith("."):
        try:
            return sum(file.size_bytes for file in read_manifest(folder).files)
        except (OSError, YarnMillError):  # its manifest is not there yet
            return 0
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def _locked_if_free(folder: Path) -> Iterator[bool]:
    """Keep everybody from holding a folder within the block, if nobody holds it now; yield whether that is so."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield False
        return
    is_free = False
    try:
        with suppress(OSError):  # held by somebody; or by a file system that locks no folder
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_free = _is_at(descriptor, folder)
        yield is_free
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, folder: Path) -> bool:
    try:
        there = folder.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)
