"""The scrubber: reads every blob of a store and names whatever is not what it should be."""

from collections.abc import Callable

from yarnmill.blobs.store import BlobInfo, BlobStore, Damage
from yarnmill.errors import BadDataError
from yarnmill.records import Record


class ScrubReport(Record, frozen=True):
    """What a walk over a whole store saw."""

    store: str
    blobs: int
    size_bytes: int
    damaged: tuple[Damage, ...]


def scrub(store: BlobStore, on_blob: Callable[[BlobInfo], None] = lambda _info: None) -> ScrubReport:
    """Check every blob of ``store`` and report all damage; nothing is changed.

    Parameters
    ----------
    store
        The store to walk. Blobs that arrive meanwhile may or may not be seen.
    on_blob
        Called after each blob, sound or not: for progress.
    """
    damaged = list(store.strays())
    blobs = size_bytes = 0
    for blob_id in store.ids():
        info = store.stat(blob_id)
        try:
            store.check(blob_id)
        except BadDataError as problem:
            damaged.append(Damage(blob=blob_id, url=store.url, problem=problem.what, size_bytes=info.size_bytes))
        blobs += 1
        size_bytes += info.size_bytes
        on_blob(info)
    return ScrubReport(store=store.url, blobs=blobs, size_bytes=size_bytes, damaged=tuple(damaged))
