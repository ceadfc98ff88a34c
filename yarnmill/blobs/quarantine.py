"""Damaged blobs go out of the way, so that their bytes can be put again: to a folder where people can look at them.

A copy of a blob that is sound stays where it is and answers, wherever a damaged one lay beside it. Killed anywhere,
it is run again: what is set aside stands before what it was taken from goes.
"""

import secrets
from collections.abc import Iterable, Iterator

from yarnmill import fs
from yarnmill.blobs.filesystem import FileSystemBlobStore
from yarnmill.blobs.packing import is_sound, renew
from yarnmill.blobs.packs import Place, part_of
from yarnmill.errors import BadDataError, NotFoundError
from yarnmill.records import Record


class Quarantined(Record, frozen=True):
    """A damaged copy of a blob: where it lies, or lay, and where it was set aside ("" while that is only planned)."""

    blob: str
    url: str
    size_bytes: int
    aside: str = ""


def damaged_copies(store: FileSystemBlobStore, blob_ids: Iterable[str] | None = None) -> Iterator[Quarantined]:
    """Read blobs, all or some, and yield each copy that is damaged; nothing is changed."""
    for blob_id in store.ids() if blob_ids is None else blob_ids:
        try:
            store.check(blob_id)
        except NotFoundError:  # collected
            continue
        except BadDataError:
            for place in _copies(store, blob_id):
                if not is_sound(place, blob_id):
                    yield Quarantined(blob_id, place.url, place.size_bytes)


def quarantine(store: FileSystemBlobStore, found: Iterable[Quarantined]) -> Iterator[Quarantined]:
    """Set damaged copies aside and yield them as they are then.

    A pack is written anew without them, its other blobs as they are; one that somebody else wrote anew since they were
    found is left to the next run.
    """
    packed: dict[str, list[Quarantined]] = {}
    for one in found:
        if one.url == store.places.loose(one.blob):
            aside = _aside(store, one)
            fs.rename(one.url, aside)
            yield Quarantined(one.blob, one.url, one.size_bytes, aside)
        else:
            packed.setdefault(one.url, []).append(one)
    for pack in store.places.packs.all():
        gone = packed.get(pack.url, [])
        for one in gone:
            aside = _aside(store, one)
            fs.write_bytes(aside, part_of(pack.place_of(one.blob)))
            yield Quarantined(one.blob, one.url, one.size_bytes, aside)
        if gone:
            renew(store, pack, without=frozenset(one.blob for one in gone))


def _copies(store: FileSystemBlobStore, blob_id: str) -> Iterator[Place]:
    loose = store.places.loose(blob_id)
    if fs.exists(loose):
        yield Place(loose, 0, fs.info(loose).size_bytes)
    places = (pack.find(blob_id) for pack in store.places.packs.all())
    yield from (place for place in places if place is not None)


def _aside(store: FileSystemBlobStore, one: Quarantined) -> str:
    """Return where a copy goes: as the blob would lie in the store, with something that tells copies apart."""
    path = store.places.loose(one.blob).removeprefix(store.url).strip("/")
    return fs.join(store.url, "quarantine", f"{path}.{secrets.token_hex(4)}")
