"""One behaviour suite over every backend of the blob store."""

import hashlib
import io
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest
from racing import Meeting

from yarnmill import fs
from yarnmill.blobs import Attributes, BlobStore, open_store
from yarnmill.blobs.ambry import AmbryBlobStore
from yarnmill.blobs.scrub import scrub
from yarnmill.errors import BadDataError, ConfigurationError, ConflictError, NotFoundError

LARGE_BYTES = 9 * 1024 * 1024


@pytest.fixture
def store(root: str) -> BlobStore:
    return open_store(f"{root}/blobs")


@pytest.fixture(
    params=[
        "file",
        pytest.param("hdfs", marks=pytest.mark.cluster),
        pytest.param("ambry", marks=pytest.mark.programs),
    ]
)
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """Return an empty store of each kind in turn; Ambry's client speaks to our own frontend."""
    if request.param == "ambry":
        return open_store(str(request.getfixturevalue("ambry")))
    folder = str(request.getfixturevalue("hdfs")) if request.param == "hdfs" else f"file://{tmp_path}"
    return open_store(f"{folder}/blobs")


def put_bytes(store: BlobStore, data: bytes) -> str:
    return store.put(io.BytesIO(data)).id


def url_of(store: BlobStore, blob_id: str) -> str:
    return fs.join(store.url, "blobs", blob_id[:2], blob_id)


def flip_bit(url: str, position: int = 0) -> None:
    data = bytearray(fs.read_bytes(url))
    data[position] ^= 1
    fs.write_bytes(url, bytes(data), overwrite=True)


@pytest.mark.parametrize("size", [0, 1, 1024, 1024 * 1024, 1024 * 1024 + 1, LARGE_BYTES])
def test_what_was_put_is_what_is_read(any_store: BlobStore, tmp_path: Path, size: int) -> None:
    data = secrets.token_bytes(size)
    info = any_store.put(io.BytesIO(data))
    digest = hashlib.sha256(data).hexdigest()
    assert (info.id, info.sha256, info.size_bytes) == (digest, digest, size)
    assert any_store.stat(info.id) == any_store.check(info.id) == info
    with any_store.open(info.id) as stream:
        assert stream.read() == data
    assert any_store.download(info.id, tmp_path / "copy") == info
    assert (tmp_path / "copy").read_bytes() == data
    assert any_store.read_part(info.id, size // 2, 3) == data[size // 2 :][:3]


def test_a_part_is_read_from_the_middle(any_store: BlobStore) -> None:
    blob_id = put_bytes(any_store, b"0123456789")
    assert [any_store.read_part(blob_id, start, 4) for start in (0, 3, 8, 10)] == [b"0123", b"3456", b"89", b""]
    with any_store.open(blob_id, 2, 5) as stream:
        assert stream.read() == b"234"
    with pytest.raises(NotFoundError, match="no blob"):
        any_store.read_part("0" * 64, 0, 1)


def test_the_same_bytes_are_one_blob(any_store: BlobStore) -> None:
    assert put_bytes(any_store, b"twice") == put_bytes(any_store, b"twice")
    assert len(list(any_store.ids())) == 1


def test_ids_are_listed_in_order(any_store: BlobStore) -> None:
    assert list(any_store.ids()) == []
    put = {put_bytes(any_store, str(number).encode()) for number in range(12)}
    assert list(any_store.ids()) == sorted(put)


def test_the_same_bytes_with_attributes_are_another_blob(any_store: BlobStore) -> None:
    plain = put_bytes(any_store, b"twice")
    said = Attributes(content_type="text/plain", owner="ana", user={"colour": "grün", "x": ""})
    first, second = (any_store.put(io.BytesIO(b"twice"), said) for _ in range(2))
    assert len({plain, first.id, second.id}) == 3
    assert any_store.stat(first.id) == first
    assert (first.attributes, first.sha256) == (said, plain)
    assert set(any_store.ids()) == {plain, first.id, second.id}


def test_an_unknown_blob_is_not_found(any_store: BlobStore, tmp_path: Path) -> None:
    blob_id = hashlib.sha256(b"nobody put this").hexdigest()
    assert not any_store.exists(blob_id)
    for call in (any_store.stat, any_store.open, any_store.check, lambda b: any_store.download(b, tmp_path / "x")):
        with pytest.raises(NotFoundError, match=blob_id):
            call(blob_id)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "text",
    ["", "abc", "../../../etc/passwd", "A" * 64, "a" * 63 + "/", "a" * 64 + "\n", "n-", "n-Li4vLi4vZXRj", "n-YS9iL2M="],
)
def test_no_text_of_a_user_reaches_a_file_name(any_store: BlobStore, text: str) -> None:
    for call in (any_store.exists, any_store.stat, any_store.open, any_store.check):
        with pytest.raises(ConfigurationError, match="no blob id"):
            call(text)


def test_download_overwrites_nothing(any_store: BlobStore, tmp_path: Path) -> None:
    blob_id = put_bytes(any_store, b"new")
    (tmp_path / "mine").write_bytes(b"old")
    with pytest.raises(ConflictError):
        any_store.download(blob_id, tmp_path / "mine")
    assert (tmp_path / "mine").read_bytes() == b"old"


@pytest.mark.parametrize("size", [100, LARGE_BYTES])
def test_a_flipped_bit_is_refused_kept_and_reported(store: BlobStore, tmp_path: Path, size: int) -> None:
    blob_id = put_bytes(store, b"\0" * size)
    sound = put_bytes(store, b"sound")
    flip_bit(url_of(store, blob_id), size - 1)
    kept = fs.read_bytes(url_of(store, blob_id))
    for call in (
        lambda b: store.open(b).read(),
        lambda b: store.read_part(b, size - 1, 1),
        store.check,
        lambda b: store.download(b, tmp_path / "x"),
    ):
        with pytest.raises(BadDataError, match=blob_id):
            call(blob_id)
    assert list(tmp_path.glob("**/x")) == []
    assert fs.read_bytes(url_of(store, blob_id)) == kept
    report = scrub(store)
    assert [damage.blob for damage in report.damaged] == [blob_id]
    assert report.blobs == 2
    store.check(sound)


def test_putting_bytes_over_their_damaged_blob_is_no_success(store: BlobStore) -> None:
    blob_id = put_bytes(store, b"precious")
    flip_bit(url_of(store, blob_id))
    with pytest.raises(BadDataError, match=blob_id):
        put_bytes(store, b"precious")


def test_a_cut_blob_is_refused(store: BlobStore) -> None:
    blob_id = put_bytes(store, b"x" * 1000)
    record = fs.read_bytes(url_of(store, blob_id))
    for cut in (record[:-1], record[1:], b""):
        fs.write_bytes(url_of(store, blob_id), cut, overwrite=True)
        with pytest.raises(BadDataError):
            store.open(blob_id)


def test_the_record_of_another_blob_is_refused(store: BlobStore) -> None:
    one, other = put_bytes(store, b"one"), put_bytes(store, b"other")
    fs.write_bytes(url_of(store, one), fs.read_bytes(url_of(store, other)), overwrite=True)
    with pytest.raises(BadDataError, match=f"the record of blob {other}"):
        store.open(one)


def test_the_scrubber_names_what_is_no_blob(store: BlobStore) -> None:
    put_bytes(store, b"sound")
    strays = [fs.join(store.url, *path) for path in (("blobs", "ab", "notes.txt"), ("names", "a", "c", "no-leaf"))]
    for stray in strays:
        fs.write_bytes(stray, b"hello")
    assert [damage.url for damage in scrub(store).damaged] == strays


def test_the_scrubber_finds_nothing_in_an_empty_store(store: BlobStore) -> None:
    report = scrub(store)
    assert (report.blobs, report.size_bytes, report.damaged) == (0, 0, ())


def test_concurrent_puts_of_the_same_bytes_are_the_same_blob(any_store: BlobStore) -> None:
    barrier = threading.Barrier(8)
    streams: list[IO[bytes]] = [Meeting(b"popular", barrier) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        infos = list(pool.map(any_store.put, streams))
    assert {info.id for info in infos} == {infos[0].id}
    assert list(any_store.ids()) == [infos[0].id]
    if not isinstance(any_store, AmbryBlobStore):
        assert fs.children(fs.join(any_store.url, "incoming")) == []


class _Broken(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        chunk = super().read(size)
        if not chunk:
            raise OSError("the source went away")
        return chunk


def test_a_put_whose_source_fails_leaves_nothing(any_store: BlobStore) -> None:
    with pytest.raises(OSError, match="went away"):
        any_store.put(_Broken(b"half"))
    assert list(any_store.ids()) == []
    if not isinstance(any_store, AmbryBlobStore):
        assert fs.children(fs.join(any_store.url, "incoming")) == []


WRITER = """
import sys
from yarnmill.blobs import open_store
print("ready", flush=True)
open_store(sys.argv[1]).put(sys.stdin.buffer)
print("done", flush=True)
"""


def _killed_put(url: str, data: bytes, sent: int) -> bool:
    """Put ``data`` in a process of its own and kill it with ``sent`` bytes written; return whether it was done."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)
    ) as writer:
        assert writer.stdin
        assert writer.stdout
        assert writer.stdout.readline() == b"ready\n"
        writer.stdin.write(data[:sent])
        writer.stdin.flush()
        if sent == len(data):
            writer.stdin.close()
        writer.send_signal(signal.SIGKILL)
        return writer.stdout.read() == b"done\n"


@pytest.mark.programs
@pytest.mark.parametrize("sent", [0, 1, 70_000, 3_000_000])
def test_a_killed_put_leaves_the_whole_blob_or_none(store: BlobStore, sent: int) -> None:
    data = secrets.token_bytes(3_000_000)
    blob_id = hashlib.sha256(data).hexdigest()
    done = _killed_put(store.url, data, sent)
    assert scrub(store).damaged == ()
    assert set(store.ids()) <= {blob_id}
    assert not done or store.exists(blob_id)
    assert put_bytes(store, data) == blob_id  # and the next put mends it
    store.check(blob_id)


def test_memory_does_not_grow_with_the_blob(root: str, peak_memory_of: Callable[[str], int]) -> None:
    small, large = (
        peak_memory_of(
            "import io\n"
            "from yarnmill.blobs import open_store\n"
            "class Zeros(io.RawIOBase):\n"
            f"    left = {size}\n"
            "    def read(self, size=-1):\n"
            "        taken = min(size, self.left); self.left -= taken\n"
            "        return b'0' * taken\n"
            f"store = open_store({root!r})\n"
            "info = store.put(Zeros())\n"
            "store.check(info.id)\n"
            "with store.open(info.id) as stream:\n"
            "    while stream.read(65536): pass\n"
        )
        for size in (16 << 20, 160 << 20)
    )
    assert large - small < 48 << 20
