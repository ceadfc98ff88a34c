"""What becomes of blobs, on every backend: deleted, restored, given an end, collected; and killed in the middle."""

import hashlib
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from racing import said_until_killed
from waiting import eventually

from yarnmill import fs
from yarnmill.blobs import Attributes, BlobName, FileSystemBlobStore, parse_name
from yarnmill.blobs import collect as collecting
from yarnmill.blobs.collect import Garbage, collect, garbage
from yarnmill.blobs.scrub import scrub
from yarnmill.blobs.states import now_ms
from yarnmill.errors import BadDataError, ConflictError, GoneError, NotFoundError
from yarnmill.units import Seconds

HOUR_MS = 3_600_000
AT_ONCE = Seconds(0.0)


@pytest.fixture
def store(root: str) -> FileSystemBlobStore:
    return FileSystemBlobStore(f"{root}/blobs")


def put(store: FileSystemBlobStore, data: bytes = b"x", attributes: Attributes | None = None) -> str:
    return store.put(io.BytesIO(data), attributes).id


def read(store: FileSystemBlobStore, blob_id: str) -> bytes:
    with store.open(blob_id) as stream:
        return stream.read()


def collected(store: FileSystemBlobStore, kept: Seconds = AT_ONCE) -> list[str]:
    return [one.blob for one in list(garbage(store, kept)) if collect(store, one)]


def test_what_is_known_of_a_blob_outlives_it_until_it_is_collected(store: FileSystemBlobStore) -> None:
    said = Attributes(service="s", account="a", container="c", private=False, expires_at_ms=now_ms() - 1)
    expired, deleted = put(store, attributes=said), put(store)
    store.delete(deleted)
    for blob_id, attributes in ((expired, said), (deleted, None)):
        with pytest.raises(GoneError):
            store.stat(blob_id)
        assert store.stat(blob_id, ended=True).attributes == attributes
    assert set(collected(store)) == {expired, deleted}
    for blob_id in (expired, deleted):
        with pytest.raises(GoneError, match="collected"):
            store.stat(blob_id, ended=True)


def test_a_deleted_blob_is_gone_until_it_is_restored(store: FileSystemBlobStore, tmp_path: Path) -> None:
    blob_id, other = put(store), put(store, b"other")
    store.delete(blob_id)
    store.delete(blob_id)
    for call in (store.stat, store.open, store.delete, lambda b: store.download(b, tmp_path / "x")):
        if call != store.delete:
            with pytest.raises(GoneError, match="was deleted"):
                call(blob_id)
    assert not store.exists(blob_id)
    assert set(store.ids()) == {blob_id, other}  # its bytes are there, and looked after
    assert scrub(store).blobs == 2
    assert read(store, other) == b"other"
    assert store.undelete(blob_id).id == blob_id
    assert store.undelete(blob_id).id == blob_id
    assert read(store, blob_id) == b"x"


def test_nothing_becomes_of_what_is_not_there(store: FileSystemBlobStore) -> None:
    for act in (store.delete, store.undelete, lambda b: store.update_ttl(b, None)):
        with pytest.raises(NotFoundError, match="no blob"):
            act("0" * 64)
    assert not fs.exists(fs.join(store.url, "states"))


def test_a_blob_is_gone_at_its_end(store: FileSystemBlobStore) -> None:
    blob_id = put(store, b"x", Attributes(expires_at_ms=now_ms() + 200))
    assert eventually(lambda: not store.exists(blob_id))
    for call in (store.stat, store.open, store.undelete, lambda b: store.update_ttl(b, None)):
        with pytest.raises(GoneError, match="expired"):
            call(blob_id)


def test_an_end_can_be_moved_while_it_is_to_come(store: FileSystemBlobStore) -> None:
    soon = now_ms() + HOUR_MS
    blob_id = put(store, b"x", Attributes(expires_at_ms=soon))
    assert store.stat(blob_id).expires_at_ms == soon
    assert store.update_ttl(blob_id, None).expires_at_ms is None
    assert store.update_ttl(blob_id, soon + 1).expires_at_ms == soon + 1
    for end in (soon + 1, None):
        store.update_ttl(blob_id, end)
        store.delete(blob_id)
        assert store.undelete(blob_id).expires_at_ms == store.stat(blob_id).expires_at_ms == end
    info = store.stat(blob_id)
    assert info.attributes is not None
    assert info.attributes.expires_at_ms == soon  # what its owner said stays
    store.update_ttl(blob_id, now_ms() - 1)
    assert not store.exists(blob_id)


def test_bytes_that_are_put_once_more_are_there_again(store: FileSystemBlobStore) -> None:
    for end in (store.delete, lambda b: store.update_ttl(b, now_ms() - 1)):
        blob_id = put(store)
        end(blob_id)
        assert not store.exists(blob_id)
        assert put(store) == blob_id
        assert read(store, blob_id) == b"x"
    store.delete(blob_id)
    assert collected(store) == [blob_id]
    assert put(store) == blob_id
    assert read(store, blob_id) == b"x"


def test_only_what_ended_long_ago_is_collected(store: FileSystemBlobStore) -> None:
    live, deleted, expired = (put(store, data, Attributes()) for data in (b"live", b"deleted", b"expired"))
    store.delete(deleted)
    store.update_ttl(expired, now_ms() - 1)
    assert list(garbage(store, Seconds(60.0))) == []
    plan = {one.blob: one for one in garbage(store, AT_ONCE)}
    assert {blob: one.reason for blob, one in plan.items()} == {deleted: "deleted", expired: "expired"}
    assert read(store, live) == b"live"
    assert {one.url for one in plan.values()} == {store.places.loose(deleted), store.places.loose(expired)}
    assert set(collected(store)) == {deleted, expired}
    assert list(store.ids()) == [live]
    for blob_id in (deleted, expired):
        with pytest.raises(GoneError, match="collected"):
            store.stat(blob_id)
        with pytest.raises(GoneError, match="collected"):
            store.undelete(blob_id)
    assert collected(store) == []


@pytest.mark.parametrize("name", [None, parse_name("ml/models/m")])
def test_what_has_expired_is_collected_also_if_its_put_died_when_it_was_there(
    store: FileSystemBlobStore, name: BlobName | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = fs.rename

    def move_and_die(*places: str) -> None:
        move(*places)
        raise SystemExit

    monkeypatch.setattr(fs, "rename", move_and_die)  # the real move; no kill -9 would hit just behind it
    with pytest.raises(SystemExit):
        store.put(io.BytesIO(b"x"), Attributes(expires_at_ms=now_ms() - 1), name=name)
    monkeypatch.setattr(fs, "rename", move)
    (blob_id,) = store.ids()
    assert collected(store) == [blob_id]
    assert list(store.ids()) == []


def test_what_was_restored_since_the_plan_stays(store: FileSystemBlobStore) -> None:
    blob_id = put(store)
    store.delete(blob_id)
    (one,) = garbage(store, AT_ONCE)
    store.undelete(blob_id)
    assert not collect(store, one)
    assert read(store, blob_id) == b"x"
    assert fs.children(store.places.incoming) == []


def test_a_collected_name_is_not_to_be_had(store: FileSystemBlobStore) -> None:
    name = parse_name("ml/models/m")
    for number, end in enumerate((store.delete, lambda b: store.update_ttl(b, now_ms() - 1))):
        name = parse_name(f"ml/models/{number}")
        end(store.put(io.BytesIO(b"x"), name=name).id)
        assert collected(store) == [name.id]
        with pytest.raises(ConflictError, match="keeps it for ever"):
            store.put(io.BytesIO(b"x"), name=name)
    assert list(store.names("ml", "models")) == []


def test_what_a_dead_put_left_is_collected_after_a_day(store: FileSystemBlobStore) -> None:
    leftover = fs.join(store.places.incoming, "abc")
    fs.write_bytes(leftover, b"half")
    assert list(garbage(store, AT_ONCE)) == []
    old = Garbage(blob="abc", url=leftover, reason="dead put", since_ms=0, size_bytes=4)
    assert collect(store, old)
    assert fs.children(store.places.incoming) == []


def test_who_loses_a_name_does_not_give_it_an_end(store: FileSystemBlobStore) -> None:
    name = parse_name("ml/models/m")
    info = store.put(io.BytesIO(b"x"), name=name)
    with pytest.raises(ConflictError):
        store.put(io.BytesIO(b"y"), Attributes(expires_at_ms=1), name=name)
    assert store.stat(name.id) == info


def test_what_a_dead_collector_moved_away_is_collected_or_comes_back(
    store: FileSystemBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted, restored = put(store, b"deleted"), put(store, b"restored")
    for blob_id in (deleted, restored):
        seen = store.states.of(blob_id)
        store.states.add(blob_id, "deleted", seen)
        fs.rename(store.places.loose(blob_id), store.places.aside(blob_id))
    store.states.add(restored, "restored", store.states.of(restored))  # by somebody who had seen it before it went
    monkeypatch.setattr(collecting, "_DEAD_PUT_MS", -HOUR_MS)  # as if a day had gone by
    assert collected(store) == [deleted]
    assert read(store, restored) == b"restored"
    assert fs.children(store.places.incoming) == []


def test_a_damaged_blob_is_not_collected(store: FileSystemBlobStore) -> None:
    blob_id = put(store)
    store.delete(blob_id)
    fs.write_bytes(store.places.loose(blob_id), b"damaged", overwrite=True)
    assert list(garbage(store, AT_ONCE)) == []
    assert [damage.blob for damage in scrub(store).damaged] == [blob_id]


def test_a_change_of_another_kind_is_told_and_not_taken_for_life(store: FileSystemBlobStore) -> None:
    blob_id = put(store)
    store.delete(blob_id)
    fs.write_bytes(fs.join(store.states.folder(blob_id), "00000009-lost-1"), b"")
    with pytest.raises(BadDataError, match="no change of a blob"):
        store.stat(blob_id)


PROGRAM = """
import io, itertools, random, sys
from yarnmill.blobs import FileSystemBlobStore, parse_name
from yarnmill.blobs.collect import collect, garbage
from yarnmill.errors import YarnMillError
from yarnmill.units import Seconds
store, chance = FileSystemBlobStore(sys.argv[1]), random.Random(int(sys.argv[2]))
print("ready", flush=True)
for number in itertools.count():
    data = str(chance.randrange(6)).encode()
    try:
        blob_id = store.put(io.BytesIO(data)).id
        print("put", blob_id, flush=True)
        name = parse_name(f"a/b/{sys.argv[2]}/{number}")
        store.put(io.BytesIO(data * 100_000), name=name)
        print("put", name.id, flush=True)
        if chance.random() < 0.5:
            gone = chance.choice([blob_id, name.id])
            print("ending", gone, flush=True)
            store.delete(gone)
        for one in garbage(store, Seconds(0.0)):
            collect(store, one)
    except YarnMillError as error:
        print("refused", error, flush=True)
"""


@pytest.mark.programs
def test_killed_anywhere_nothing_that_was_put_is_lost_and_nothing_is_half(tmp_path: Path) -> None:
    store = FileSystemBlobStore(f"file://{tmp_path}")
    kept, ended = set[str](), set[str]()
    for seed in range(12):
        for word, blob_id, *_ in said_until_killed(PROGRAM, store.url, seed, 0.3):
            if word == "put":
                kept.add(blob_id)
                ended.discard(blob_id)
            elif word == "ending":
                ended.add(blob_id)
        assert scrub(store).damaged == ()
        for blob_id in kept - ended:
            store.check(blob_id)
            assert store.exists(blob_id)
    assert len(kept) > 12


@pytest.mark.programs
def test_putting_restoring_and_collecting_at_once_loses_nothing(tmp_path: Path) -> None:
    store, data = FileSystemBlobStore(f"file://{tmp_path}"), b"popular"
    collector = [sys.executable, "-c", COLLECTOR, store.url]
    with subprocess.Popen(collector, stdin=subprocess.PIPE) as program:
        for _ in range(150):
            blob_id = put(store, data)
            assert read(store, blob_id) == data
            store.delete(blob_id)
        assert program.stdin
        program.stdin.close()
    assert put(store, data) == hashlib.sha256(data).hexdigest()


COLLECTOR = """
import select, sys
from yarnmill.blobs import FileSystemBlobStore
from yarnmill.blobs.collect import collect, garbage
from yarnmill.units import Seconds
store = FileSystemBlobStore(sys.argv[1])
while not select.select([sys.stdin], [], [], 0)[0]:
    for one in garbage(store, Seconds(0.0)):
        collect(store, one)
"""


class Life(RuleBasedStateMachine):
    """A store beside a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.store = FileSystemBlobStore(f"file://{self._folder.name}")
        self.live: dict[str, bytes] = {}
        self.dead: dict[str, bytes] = {}
        self.collected: set[str] = set()

    blobs = Bundle("blobs")

    @rule(target=blobs, data=st.binary(max_size=3), plain=st.booleans())
    def put(self, data: bytes, plain: bool) -> str:  # noqa: FBT001  # hypothesis' own
        blob_id = put(self.store, data, None if plain else Attributes())
        self.dead.pop(blob_id, None)
        self.collected.discard(blob_id)
        self.live[blob_id] = data
        return blob_id

    @rule(target=blobs, data=st.binary(max_size=3), name=st.sampled_from(["a", "a/b", "c"]))
    def put_named(self, data: bytes, name: str) -> str:
        known = parse_name(f"x/y/{name}")
        if known.id in self.live.keys() | self.dead.keys() | self.collected:
            with pytest.raises(ConflictError):
                self.store.put(io.BytesIO(data), name=known)
        else:
            self.live[self.store.put(io.BytesIO(data), name=known).id] = data
        return known.id

    @rule(blob_id=blobs)
    def delete(self, blob_id: str) -> None:
        self.store.delete(blob_id)
        if blob_id in self.live:
            self.dead[blob_id] = self.live.pop(blob_id)

    @rule(blob_id=blobs)
    def undelete(self, blob_id: str) -> None:
        if blob_id in self.collected:
            with pytest.raises(GoneError):
                self.store.undelete(blob_id)
            return
        self.store.undelete(blob_id)
        if blob_id in self.dead:
            self.live[blob_id] = self.dead.pop(blob_id)

    @rule(blob_id=consumes(blobs), end=st.sampled_from([None, 1]))
    def end(self, blob_id: str, end: int | None) -> None:
        if blob_id in self.live:
            self.store.update_ttl(blob_id, end)
            if end is not None:
                del self.live[blob_id]
                self.collected.update(blob_id for blob_id in collected(self.store))
                self.dead.clear()
        else:
            with pytest.raises(GoneError):
                self.store.update_ttl(blob_id, end)

    @rule()
    def collect(self) -> None:
        assert set(collected(self.store)) == set(self.dead)
        self.collected |= self.dead.keys()
        self.dead.clear()

    @invariant()
    def the_store_is_the_dictionary(self) -> None:
        assert {blob_id: read(self.store, blob_id) for blob_id in self.live} == self.live
        assert set(self.store.ids()) == self.live.keys() | self.dead.keys()
        for blob_id in self.dead.keys() | self.collected:
            with pytest.raises(GoneError):
                self.store.open(blob_id)

    def teardown(self) -> None:
        assert scrub(self.store).damaged == ()
        self._folder.cleanup()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
