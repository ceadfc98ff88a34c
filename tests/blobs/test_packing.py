"""Small blobs in packs, on every backend: nothing that is seen of a blob changes when it is packed."""

import io
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest
from racing import said_until_killed

from yarnmill import fs
from yarnmill.blobs import Attributes, FileSystemBlobStore, parse_name
from yarnmill.blobs.collect import collect, garbage
from yarnmill.blobs.packing import SMALL_BYTES, Packed, pack, packing, renew, worn
from yarnmill.blobs.scrub import scrub
from yarnmill.errors import BadDataError, ConflictError, GoneError, NotFoundError
from yarnmill.units import Seconds

AT_ONCE = Seconds(0.0)


@pytest.fixture
def store(root: str) -> FileSystemBlobStore:
    return FileSystemBlobStore(f"{root}/blobs")


def fresh(store: FileSystemBlobStore) -> FileSystemBlobStore:
    """Return the store as another process sees it."""
    return FileSystemBlobStore(store.url)


def read(store: FileSystemBlobStore, blob_id: str) -> bytes:
    with store.open(blob_id) as stream:
        return stream.read()


def fill(store: FileSystemBlobStore) -> dict[str, bytes]:
    """Put blobs of every kind."""
    found = {}
    for number in range(3):
        data = secrets.token_bytes(number * 1000)
        found[store.put(io.BytesIO(data)).id] = data
        found[store.put(io.BytesIO(data), Attributes(owner="ana")).id] = data
        found[store.put(io.BytesIO(data), name=parse_name(f"ml/models/m{number}/v")).id] = data
    return found


def packed(store: FileSystemBlobStore) -> list[Packed]:
    return [pack(store, plan) for plan in packing(store, AT_ONCE, least=1)]


def collected(store: FileSystemBlobStore) -> list[str]:
    return [one.blob for one in list(garbage(store, AT_ONCE)) if collect(store, one)]


def loose(store: FileSystemBlobStore) -> list[str]:
    return [file.name for file in store.places.loose_files()]


def test_a_packed_blob_is_what_it_was(store: FileSystemBlobStore, tmp_path: Path) -> None:
    blobs = fill(store)
    before = {blob_id: store.stat(blob_id) for blob_id in blobs}
    names = list(store.names("ml", "models"))
    (done,) = packed(store)
    assert set(done.ids) == blobs.keys()
    assert loose(store) == []
    assert len(fs.children(store.places.packs.url)) == 1
    for seen in (store, fresh(store)):
        assert {blob_id: read(seen, blob_id) for blob_id in blobs} == blobs
        assert {blob_id: seen.stat(blob_id) for blob_id in blobs} == before
        assert set(seen.ids()) == blobs.keys()
        assert list(seen.names("ml", "models")) == names
        assert [name.name for name in seen.names("ml", "models", "m2", "m2/u")] == ["m2/v"]
        assert list(seen.names("ml", "models", "m2", "m2/v")) == list(seen.names("ml", "model")) == []
        with pytest.raises(NotFoundError):
            seen.stat("0" * 64)
    blob_id = max(blobs, key=lambda each: len(blobs[each]))
    assert store.read_part(blob_id, 1000, 5) == blobs[blob_id][1000:1005]
    store.download(blob_id, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == blobs[blob_id]
    report = scrub(store)
    assert (report.damaged, report.blobs) == ((), len(blobs))


def test_what_is_packed_is_not_put_twice(store: FileSystemBlobStore) -> None:
    blobs = fill(store)
    packed(store)
    for seen in (store, fresh(store)):
        for blob_id, data in blobs.items():
            if len(blob_id) == 64:
                assert seen.put(io.BytesIO(data)).id == blob_id
    with pytest.raises(ConflictError, match="keeps it for ever"):
        fresh(store).put(io.BytesIO(b"other"), name=parse_name("ml/models/m1/v"))
    assert loose(store) == []


def test_a_name_that_was_packed_while_it_was_put_again_is_not_had_twice(store: FileSystemBlobStore) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if not self.tell():
                other = fresh(store)
                other.put(io.BytesIO(b"first"), name=parse_name("ml/models/m"))
                packed(other)
            return super().read(size)

    with pytest.raises(ConflictError):
        store.put(Slow(b"second"), name=parse_name("ml/models/m"))
    assert read(store, parse_name("ml/models/m").id) == b"first"
    assert loose(store) == []


def test_only_what_is_old_and_small_is_packed_and_not_a_few(store: FileSystemBlobStore) -> None:
    large = store.put(io.BytesIO(b"\0" * (SMALL_BYTES + 1))).id
    small = store.put(io.BytesIO(b"x")).id
    assert list(packing(store)) == []
    assert list(packing(store, AT_ONCE)) == []
    (plan,) = packing(store, AT_ONCE, least=1)
    assert plan.ids == (small,)
    assert loose(store) == sorted([large, small])


def test_packed_blobs_end_and_come_back_and_leave_their_pack(store: FileSystemBlobStore) -> None:
    blobs = fill(store)
    packed(store)
    spared, *dead = list(blobs)[3:]
    for blob_id in (*dead, spared):
        store.delete(blob_id)
    fresh(store).undelete(spared)
    assert set(collected(store)) == set(dead)
    for blob_id in dead:
        with pytest.raises(GoneError):
            fresh(store).open(blob_id)
    (old,) = worn(store)
    renew(store, old)
    assert list(worn(store)) == []
    alive = {blob_id: data for blob_id, data in blobs.items() if blob_id not in dead}
    for seen in (store, fresh(store)):
        assert set(seen.ids()) == alive.keys()
        assert {blob_id: read(seen, blob_id) for blob_id in alive} == alive
        with pytest.raises(GoneError):
            seen.open(dead[0])
    with pytest.raises(NotFoundError):
        renew(fresh(store), old)
    again = next(blob_id for blob_id in dead if len(blob_id) == 64)
    assert store.put(io.BytesIO(blobs[again])).id == again
    assert read(fresh(store), again) == blobs[again]
    assert scrub(store).damaged == ()


def test_what_is_put_once_more_while_its_pack_is_renewed_is_there(
    store: FileSystemBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = fill(store)
    packed(store)
    again = next(blob_id for blob_id in blobs if len(blob_id) == 64)
    for blob_id in blobs:
        store.delete(blob_id)
    collected(store)
    (old,) = worn(store)
    rename = fs.rename

    def put_first(source: str, target: str, *, overwrite: bool = False) -> None:
        if "/packs/" in source:  # the moment before the pack goes
            assert fresh(store).put(io.BytesIO(blobs[again])).id == again
        rename(source, target, overwrite=overwrite)

    monkeypatch.setattr(fs, "rename", put_first)
    renew(store, old)
    assert read(store, again) == blobs[again]
    assert set(fresh(store).ids()) == {again}


def test_a_renewal_that_died_has_hidden_nothing(tmp_path: Path) -> None:
    store = FileSystemBlobStore(f"file://{tmp_path}")
    blobs = fill(store)
    packed(store)
    (file,) = fs.children(store.places.packs.url)
    fs.rename(file.url, fs.join(store.places.packs_aside, file.name))
    assert {blob_id: read(fresh(store), blob_id) for blob_id in blobs} == blobs


@pytest.mark.parametrize("where", [10, -10, -200])
def test_a_flipped_bit_in_a_pack_is_found(tmp_path: Path, where: int) -> None:
    store = FileSystemBlobStore(f"file://{tmp_path}")
    blobs = fill(store)
    packed(store)
    (file,) = fs.children(store.places.packs.url)
    data = bytearray(fs.read_bytes(file.url))
    data[where] ^= 1
    fs.write_bytes(file.url, bytes(data), overwrite=True)
    seen = fresh(store)
    if where > 0:
        assert len(scrub(seen).damaged) == 1
        return
    with pytest.raises(BadDataError, match=r"pack .* is damaged"):
        seen.stat(next(iter(blobs)))
    assert [damage.url for damage in scrub(seen).damaged] == [file.url]
    other = seen.put(io.BytesIO(b"all others are well")).id
    assert read(seen, other) == b"all others are well"
    with pytest.raises(BadDataError, match=r"pack .* is damaged"):  # the name may be had there
        seen.put(io.BytesIO(b"x"), name=parse_name("ml/models/new"))


def test_a_damaged_blob_is_not_packed(tmp_path: Path) -> None:
    store = FileSystemBlobStore(f"file://{tmp_path}")
    blobs = fill(store)
    blob_id = next(iter(blobs))
    url = store.places.loose(blob_id)
    fs.write_bytes(url, b"\1" + fs.read_bytes(url)[1:], overwrite=True)
    packed(store)
    assert loose(store) == [blob_id]
    assert [damage.blob for damage in scrub(store).damaged] == [blob_id]


def test_a_file_beside_its_packed_copy_goes_only_if_the_copy_is_sound(tmp_path: Path) -> None:
    store = FileSystemBlobStore(f"file://{tmp_path}")
    ids = [store.put(io.BytesIO(data)).id for data in (b"one", b"two")]
    kept = {blob_id: fs.read_bytes(store.places.loose(blob_id)) for blob_id in ids}
    packed(store)
    for blob_id, record in kept.items():  # as if the packer had died before it removed them
        fs.write_bytes(store.places.loose(blob_id), record)
    (file,) = fs.children(store.places.packs.url)
    data = bytearray(fs.read_bytes(file.url))
    data[store.places.packs.all()[0].place_of(ids[0]).start] ^= 1
    fs.write_bytes(file.url, bytes(data), overwrite=True)
    packed(fresh(store))
    assert loose(store) == [ids[0]]


PROGRAM = """
import io, random, sys
from yarnmill.blobs import FileSystemBlobStore, parse_name
from yarnmill.blobs.collect import collect, garbage
from yarnmill.blobs.packing import pack, packing, renew, worn
from yarnmill.units import Seconds
store, chance, now = FileSystemBlobStore(sys.argv[1]), random.Random(int(sys.argv[2])), Seconds(0.0)
print("ready", flush=True)
for number in range(1000):
    for part in range(4):
        name = parse_name(f"a/b/{sys.argv[2]}/{number}/{part}")
        store.put(io.BytesIO(name.id.encode()), name=name)
        print("put", name.id, flush=True)
        if chance.random() < 0.5:
            print("ending", name.id, flush=True)
            store.delete(name.id)
    for one in garbage(store, now):
        collect(store, one)
    for plan in packing(store, now, least=1):
        pack(store, plan)
    for old in worn(store):
        renew(store, old)
"""


@pytest.mark.programs
def test_killed_anywhere_while_it_packs_nothing_is_lost(tmp_path: Path) -> None:
    store = FileSystemBlobStore(f"file://{tmp_path}")
    kept, ended = set[str](), set[str]()
    for seed in range(12):
        said = said_until_killed(PROGRAM, store.url, seed, 0.4)
        kept |= {blob_id for word, blob_id in said if word == "put"}
        ended |= {blob_id for word, blob_id in said if word == "ending"}
        seen = fresh(store)
        assert scrub(seen).damaged == ()
        for blob_id in kept - ended:
            assert read(seen, blob_id) == blob_id.encode()
    assert len(kept) > 12


@pytest.mark.programs
def test_readers_notice_nothing_of_packing_and_renewing(tmp_path: Path) -> None:
    store = FileSystemBlobStore(f"file://{tmp_path}")
    blobs = fill(store)
    command = [sys.executable, "-c", PROGRAM, store.url, "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        assert program.stdout.readline() == "ready\n"
        end = time.monotonic() + 3.0
        while time.monotonic() < end:
            for blob_id, data in blobs.items():
                assert read(store, blob_id) == data
        program.kill()
        program.stdout.read()
    assert set(loose(store)) & set(blobs) == set()
