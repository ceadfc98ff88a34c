"""The scrubber: reads every blob of a store and names whatever is not what it should be."""

from collections.abc import Callable

from yarnmill.blobs.store import BlobStore, Damage
from yarnmill.errors import BadDataError, NotFoundError
from yarnmill.records import Record


class ScrubReport(Record, frozen=True):
    """What a walk over a whole store saw."""

    store: str
    blobs: int
    size_bytes: int
    damaged: tuple[Damage, ...]


def scrub(store: BlobStore, on_blob: Callable[[str], None] = lambda _id: None) -> ScrubReport:
    """Check every blob of ``store``, the deleted ones too, and report all damage; nothing is changed.

    Parameters
    ----------
    store
        The store to walk. Blobs that arrive or are collected meanwhile may or may not be seen.
    on_blob
        Called with the id of each blob after it was read, sound or not: for progress.
    """
    damaged = list(store.strays())
    blobs = size_bytes = 0
    for blob_id in store.ids():
        try:
            size_bytes += store.check(blob_id).size_bytes
        except NotFoundError:  # collected
            continue
        except BadDataError as problem:
            damaged.append(Damage(blob=blob_id, url=store.url, problem=problem.what, size_bytes=0))
        blobs += 1
        on_blob(blob_id)
    return ScrubReport(store=store.url, blobs=blobs, size_bytes=size_bytes, damaged=tuple(damaged))
