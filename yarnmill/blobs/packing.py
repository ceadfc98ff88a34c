"""Small blobs go into packs, and what was collected goes out of them.

A pack stands before the files that it takes the place of are removed, so at every moment each blob lies somewhere, for
a while twice. Nothing young is packed: whoever puts a name looks into the packs before and after, and a put does not
take so long.
"""

import io
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from yarnmill import fs
from yarnmill.blobs.filesystem import FileSystemBlobStore
from yarnmill.blobs.packs import Pack, PackWriter, Place, part_of
from yarnmill.blobs.record import RecordReader
from yarnmill.blobs.states import now_ms
from yarnmill.errors import BadDataError, ConflictError, NotFoundError
from yarnmill.units import Seconds

AGE: Final = Seconds(3600.0)
"""How old a blob is at least that is packed, if nobody says otherwise."""

SMALL_BYTES: Final = 8 * 1024 * 1024
"""Larger blobs have files of their own."""

PACK_BYTES: Final = 512 * 1024 * 1024
_FEW: Final = 16
_DEAD_SHARE: Final = 0.3


class Packed(NamedTuple):
    """Blobs that go, or went, into one pack: their ids and the bytes of their records."""

    ids: tuple[str, ...]
    size_bytes: int


def packing(store: FileSystemBlobStore, age: Seconds = AGE, least: int = _FEW) -> Iterator[Packed]:
    """Yield what can be packed.

    Parameters
    ----------
    store
        Where to look.
    age
        Only blobs that were put so long ago.
    least
        Fewer than so many stay as they are.
    """
    before, ids, size = now_ms() - int(age * 1000), list[str](), 0
    for file in store.places.loose_files():
        blob_id = store.places.id_at(file)
        if blob_id is None or file.size_bytes > SMALL_BYTES or fs.modified_at_ms(file.url) > before:
            continue
        if ids and size + file.size_bytes > PACK_BYTES:
            yield Packed(tuple(ids), size)
            ids, size = [], 0
        ids.append(blob_id)
        size += file.size_bytes
    if len(ids) >= least:
        yield Packed(tuple(ids), size)


def pack(store: FileSystemBlobStore, plan: Packed) -> Packed:
    """Pack what a plan says; return what was packed: damaged blobs stay, and what is not there any more."""
    places, done, size = store.places, list[str](), 0
    places.packs.refresh()
    with _new_pack(store) as writer:
        for blob_id in plan.ids:
            with suppress(NotFoundError, BadDataError):
                if (packed := places.packs.find(blob_id)) is not None:
                    _sound_record(packed, blob_id)  # by somebody who died before the file went
                else:
                    url = places.loose(blob_id)
                    record = _sound_record(Place(url, 0, fs.info(url).size_bytes), blob_id)
                    writer.add(blob_id, record)
                    size += len(record)
                done.append(blob_id)
    for blob_id in done:
        fs.delete(places.loose(blob_id))
    return Packed(tuple(done), size)


def worn(store: FileSystemBlobStore) -> Iterator[Pack]:
    """Yield the packs of which so much was collected that writing the rest anew pays."""
    is_collected = _collected(store)
    for each in store.places.packs.all():
        dead = sum(each.place_of(blob_id).size_bytes for blob_id in each.ids() if is_collected(blob_id))
        if dead > _DEAD_SHARE * each.size_bytes:
            yield each


def renew(store: FileSystemBlobStore, old: Pack, without: Collection[str] = ()) -> None:
    """Write a pack anew without what was collected and without some others; NotFoundError if somebody else did."""
    places, is_collected = store.places, _collected(store)
    # Of packs that share a blob the first by name keeps it, also while others write others anew.
    before = [each for each in places.packs.all() if each.url < old.url]
    ids = list(old.ids())
    dead = [blob_id for blob_id in ids if is_collected(blob_id)]
    gone = {*dead, *without, *(blob_id for blob_id in ids if any(_is_sound_in(each, blob_id) for each in before))}
    with _new_pack(store) as writer:
        for blob_id in ids:
            if blob_id not in gone:
                writer.add(blob_id, part_of(old.place_of(blob_id)))
    aside = fs.join(places.packs_aside, old.url.rpartition("/")[2])
    fs.rename(old.url, aside, overwrite=True)
    # From here on whoever puts the bytes of a dead blob once more sees that it is not there, or is seen here.
    moved, is_collected = Pack(aside), _collected(store)
    for blob_id in dead:
        if not is_collected(blob_id):
            _set_free(store, blob_id, part_of(moved.place_of(blob_id)))
    fs.delete(aside)
    places.packs.refresh()


@contextmanager
def _new_pack(store: FileSystemBlobStore) -> Iterator[PackWriter]:
    """Write a pack that stands when the block ends well; none if nothing is in it."""
    name = secrets.token_hex(16)
    fresh = fs.join(store.places.incoming, name)
    with fs.open_fresh(fresh) as target:
        writer = PackWriter(target)
        yield writer
        writer.finish()
    if writer.is_empty:
        fs.delete(fresh)
    else:
        fs.rename(fresh, fs.join(store.places.packs.url, name))
        store.places.packs.refresh()


def _sound_record(place: Place, blob_id: str) -> bytes:
    record = part_of(place)
    reader = RecordReader(io.BytesIO(record), len(record), f"blob {blob_id} at {place.url}")
    for _ in reader.whole():
        pass
    if reader.known.id != blob_id:
        raise BadDataError(f"{place.url}: the record of blob {reader.known.id}")
    return record


def _is_sound_in(pack: Pack, blob_id: str) -> bool:
    place = pack.find(blob_id)
    return place is not None and is_sound(place, blob_id)


def is_sound(place: Place, blob_id: str) -> bool:
    """Return whether a blob lies somewhere, whole and as it was put."""
    try:
        with fs.open_read(place.url) as stream, fs.translated(place.url):
            reader = RecordReader(stream, place.stop, f"blob {blob_id} at {place.url}")
            for _ in reader.whole():
                pass
            return reader.start == place.start and reader.known.id == blob_id
    except (NotFoundError, BadDataError):
        return False


def _set_free(store: FileSystemBlobStore, blob_id: str, record: bytes) -> None:
    fresh = fs.join(store.places.incoming, secrets.token_hex(16))
    with fs.open_fresh(fresh) as target:
        target.write(record)
    try:
        fs.rename(fresh, store.places.loose(blob_id))
    except ConflictError:  # its bytes were put once more
        fs.delete(fresh)


def _collected(store: FileSystemBlobStore) -> Callable[[str], bool]:
    """Return a function that tells whether a blob was collected; only those that anything happened to are looked at."""
    changed = store.states.changed()
    return lambda blob_id: store.states.key(blob_id) in changed and store.states.of(blob_id).collected_at_ms is not None
