"""Damaged blobs out of the way, on every backend: what was beside them stays, and their bytes can be put again."""

import io
from collections.abc import Callable

import pytest

from yarnmill import fs
from yarnmill.blobs import FileSystemBlobStore, parse_name
from yarnmill.blobs.packing import pack, packing
from yarnmill.blobs.quarantine import Quarantined, damaged_copies, quarantine
from yarnmill.blobs.scrub import scrub
from yarnmill.errors import BadDataError, NotFoundError
from yarnmill.units import Seconds

NAME = parse_name("ml/models/rank")
DATA = {"first": b"1" * 5000, "damaged": b"2" * 5000, "last": b"3" * 5000}


@pytest.fixture
def store(root: str) -> FileSystemBlobStore:
    return FileSystemBlobStore(f"{root}/blobs")


def filled(store: FileSystemBlobStore) -> dict[str, str]:
    """Put a blob of each text, and return their ids."""
    return {text: store.put(io.BytesIO(data)).id for text, data in DATA.items()}


def packed(store: FileSystemBlobStore) -> None:
    for plan in list(packing(store, Seconds(0.0), least=1)):
        pack(store, plan)


def spoil(url: str, position: int) -> None:
    """Change a byte of a file."""
    data = bytearray(fs.read_bytes(url))
    data[position] ^= 1
    fs.delete(url)
    fs.write_bytes(url, bytes(data))


def spoil_packed(store: FileSystemBlobStore, blob_id: str, where: Callable[[int], int]) -> None:
    place = store.places.packs.find(blob_id)
    assert place is not None
    spoil(place.url, place.start + where(place.size_bytes))


def set_aside(store: FileSystemBlobStore) -> list[Quarantined]:
    return list(quarantine(store, list(damaged_copies(store))))


def read(store: FileSystemBlobStore, blob_id: str) -> bytes:
    with store.open(blob_id) as stream:
        return stream.read()


@pytest.mark.parametrize("where", [lambda _: 17, lambda size: size - 3], ids=["content", "end"])
@pytest.mark.parametrize("in_pack", [True, False], ids=["packed", "loose"])
def test_the_same_bytes_can_be_put_again(
    store: FileSystemBlobStore, where: Callable[[int], int], *, in_pack: bool
) -> None:
    ids = filled(store)
    if in_pack:
        packed(store)
        spoil_packed(store, ids["damaged"], where)
    else:
        url = store.places.loose(ids["damaged"])
        spoil(url, where(fs.info(url).size_bytes))
    store = FileSystemBlobStore(store.url)
    with pytest.raises(BadDataError, match="yarnmill blobs quarantine"):
        store.put(io.BytesIO(DATA["damaged"]))
    (planned,) = damaged_copies(store)
    assert (planned.blob, planned.aside) == (ids["damaged"], "")
    (one,) = set_aside(store)
    assert fs.info(one.aside).size_bytes == one.size_bytes == planned.size_bytes
    with pytest.raises(NotFoundError):
        store.stat(ids["damaged"])
    assert scrub(store).damaged == ()
    assert store.put(io.BytesIO(DATA["damaged"])).id == ids["damaged"]
    assert {text: read(store, blob_id) for text, blob_id in ids.items()} == DATA
    assert set_aside(store) == []


def test_a_sound_copy_beside_a_damaged_one_answers(store: FileSystemBlobStore) -> None:
    blob_id = store.put(io.BytesIO(b"twice"), name=NAME).id
    loose = store.places.loose(blob_id)
    record = fs.read_bytes(loose)
    packed(store)
    fs.write_bytes(loose, record)  # as while it is packed
    spoil_packed(store, blob_id, lambda _: 2)
    (one,) = set_aside(store)
    assert one.url != loose
    assert read(store, blob_id) == b"twice"


def test_ended_before_the_pack_is_written_anew_it_is_run_again(store: FileSystemBlobStore) -> None:
    ids = filled(store)
    packed(store)
    spoil_packed(store, ids["damaged"], lambda _: 3)
    steps = quarantine(store, list(damaged_copies(store)))
    next(steps)
    del steps
    assert len(set_aside(store)) == 1
    assert scrub(store).damaged == ()
    assert read(store, ids["last"]) == DATA["last"]
