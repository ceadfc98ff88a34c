"""What takes up room for nothing, and its removal: blobs deleted or expired for some time, puts that died.

First the plan, which changes nothing; then the act. A blob is moved out of sight before it goes: if it was restored,
or its bytes were put once more in between, it comes back. One in a pack stays there until the pack is written anew
(:mod:`yarnmill.blobs.packing`).
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final, Literal

from yarnmill import fs
from yarnmill.blobs.filesystem import FileSystemBlobStore
from yarnmill.blobs.places import ASIDE
from yarnmill.blobs.record import RecordReader
from yarnmill.blobs.states import now_ms
from yarnmill.errors import BadDataError, NotFoundError
from yarnmill.records import Record
from yarnmill.units import Seconds

KEPT: Final = Seconds(7 * 86_400.0)
"""How long what was deleted can be restored, if nobody says otherwise."""

_DEAD_PUT_MS: Final = 86_400_000

Reason = Literal["deleted", "expired", "dead put"]


class Garbage(Record, frozen=True):
    """One thing to remove: its id or name, where it lies, why and since when (milliseconds since 1970)."""

    blob: str
    url: str
    reason: Reason
    since_ms: int
    size_bytes: int


def garbage(store: FileSystemBlobStore, kept: Seconds = KEPT) -> Iterator[Garbage]:
    """Yield what can go.

    Parameters
    ----------
    store
        Where to look. Damaged blobs are left for the scrubber to report.
    kept
        What was deleted or expired less long ago stays.
    """
    now = now_ms()
    before = now - int(kept * 1000)
    changed = store.states.changed()
    for blob_id in store.ids():
        if store.states.key(blob_id) not in changed:
            continue
        with suppress(NotFoundError, BadDataError):
            ends = store.ended(blob_id)
            if ends is not None and ends.since_ms <= before:
                yield Garbage(
                    blob=blob_id,
                    url=ends.place.url,
                    reason=ends.reason,
                    since_ms=ends.since_ms,
                    size_bytes=ends.place.size_bytes,
                )
    with suppress(NotFoundError):
        for file in fs.children(store.places.incoming):
            if file.name.startswith(ASIDE):  # as old as the blob, which may have been restored since
                yield from _left_aside(store, file, before)
                continue
            since = now if file.is_folder else fs.modified_at_ms(file.url)
            if since <= now - _DEAD_PUT_MS:
                size = file.size_bytes
                yield Garbage(blob=file.name, url=file.url, reason="dead put", since_ms=since, size_bytes=size)


def _left_aside(store: FileSystemBlobStore, file: fs.FileInfo, before: int) -> Iterator[Garbage]:
    """Yield a blob that a dead collector moved out of sight, unless it was restored: then a reader brings it back."""
    with suppress(NotFoundError, BadDataError), fs.open_read(file.url) as stream:
        blob_id = RecordReader(stream, file.size_bytes, file.url).known.id
        since = store.states.of(blob_id).deleted_at_ms
        if since is not None and since <= before:
            yield Garbage(blob=blob_id, url=file.url, reason="deleted", since_ms=since, size_bytes=file.size_bytes)


def collect(store: FileSystemBlobStore, one: Garbage) -> bool:
    """Remove one thing of a plan; return False if it is garbage no longer."""
    if one.reason == "dead put":
        fs.delete(one.url)
        return True
    if one.reason == "expired":
        # Whatever happens to this process, its name is not to be had again.
        store.states.add(one.blob, "deleted", store.states.of(one.blob))
    places = store.places
    aside = places.aside(one.blob)
    if one.url == places.loose(one.blob):
        try:
            fs.rename(one.url, aside, overwrite=True)
        except NotFoundError:
            return False
    # From here on whoever restores it, or puts its bytes once more, sees that it is not there, or is seen here.
    state = store.states.of(one.blob)
    if not state.has_ended:
        places.bring_back(one.blob)
        return False
    store.states.add(one.blob, "collected", state)
    fs.delete(aside)
    return True
