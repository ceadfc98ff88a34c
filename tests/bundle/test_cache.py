"""The shared cache of bundles: bounded, never short of what somebody has open, whole whenever a process is killed."""

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from racing import said_until_killed

from yarnmill.blobs import BlobStore, open_store
from yarnmill.bundle.cache import hold, make_room, size_bytes
from yarnmill.bundle.example import Example, write_example
from yarnmill.bundle.manifest import Manifest
from yarnmill.bundle.pack import verify_bundle
from yarnmill.bundle.store import fetch_bundle, fetch_held, put_bundle

SIZE = 100_000
EXAMPLE = Example(inputs={"user_id": (7,), "global": ((0.5,) * 20,)}, outputs={"probability": (0.25,)})

PackModel = Callable[[Path], Manifest]


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return open_store((tmp_path / "blobs").as_uri())


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def bundles(store: BlobStore, tmp_path: Path, packer: PackModel) -> list[str]:
    """Return the ids of six bundles of one size."""
    ids = []
    for number in range(6):
        folder = tmp_path / f"model-{number}"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(random.Random(number).randbytes(SIZE))
        (folder / "weights.bin").write_bytes(random.Random(-number - 1).randbytes(SIZE))
        write_example(folder, EXAMPLE)
        ids.append(put_bundle(store, folder, packer(folder)))
    return ids


def names(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()}


def room_for(count: int) -> int:
    return count * (2 * SIZE + 4096)


def test_what_was_used_longest_ago_goes(store: BlobStore, bundles: list[str], cache: Path) -> None:
    first, second, third, fourth, *_ = bundles
    for one in (first, second, third, first):
        fetch_bundle(store, one, cache, limit_bytes=room_for(3))
    assert names(cache) == {first, second, third}
    fetch_bundle(store, fourth, cache, limit_bytes=room_for(3))
    assert names(cache) == {first, third, fourth}
    assert sum(size_bytes(path) for path in cache.iterdir()) <= room_for(3)
    fetch_bundle(store, second, cache)
    assert names(cache) == {first, second, third, fourth}


def test_a_bundle_larger_than_the_limit_is_there_alone(store: BlobStore, bundles: list[str], cache: Path) -> None:
    for one in bundles:
        verify_bundle(fetch_bundle(store, one, cache, limit_bytes=SIZE))
        assert names(cache) == {one}


HOLDER = """
import pathlib, sys
from yarnmill.bundle.cache import hold
held = hold(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.programs
def test_what_a_living_process_has_open_stays(store: BlobStore, bundles: list[str], cache: Path) -> None:
    mine, theirs, *others = bundles
    folder = fetch_bundle(store, theirs, cache)
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with (
        fetch_held(store, mine, cache),
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        for one in others:
            fetch_bundle(store, one, cache, limit_bytes=room_for(1))
        assert names(cache) == {mine, theirs, others[-1]}
        process.kill()
        process.wait()
        fetch_bundle(store, others[0], cache, limit_bytes=room_for(1))
        assert names(cache) == {mine, others[0]}
    fetch_bundle(store, others[1], cache, limit_bytes=room_for(1))
    assert names(cache) == {others[1]}


def test_leftovers_go_unless_somebody_has_them(store: BlobStore, bundles: list[str], cache: Path) -> None:
    for name in (".a.tmp", ".b.damaged", ".c.evicted", ".d.tmp"):
        (cache / name).mkdir(parents=True)
        (cache / name / "model.onnx").write_bytes(b"part")
    held = hold(cache / ".d.tmp")
    assert held is not None
    with held:
        fetch_bundle(store, bundles[0], cache)
        assert names(cache) == {".d.tmp", bundles[0]}
    make_room(cache, None, cache / bundles[0])
    assert names(cache) == {bundles[0]}


FETCHER = """
import pathlib, random, sys
from yarnmill.blobs import open_store
from yarnmill.bundle.store import fetch_held
store_url, cache, limit, *ids = sys.argv[1].split("|")
store, choose = open_store(store_url), random.Random(int(sys.argv[2]))
print("ready", flush=True)
while True:
    with fetch_held(store, choose.choice(ids), pathlib.Path(cache), limit_bytes=int(limit)) as held:
        sizes = [(held.folder / name).stat().st_size for name in ("model.onnx", "weights.bin")]
        print(held.folder.name, *sizes, flush=True)
"""


@pytest.mark.programs
def test_killed_at_any_moment_it_goes_on(store: BlobStore, bundles: list[str], cache: Path) -> None:
    limit = room_for(2)
    told = "|".join([store.url, str(cache), str(limit), *bundles])
    fetched = 0
    for seed in range(12):
        # A second process goes on while the first is killed: what it holds must be whole all the time.
        with subprocess.Popen(
            [sys.executable, "-c", FETCHER, told, str(100 + seed)], stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout
            assert other.stdout.readline() == "ready\n"
            lines = said_until_killed(FETCHER, told, seed, within_s=0.2)
            assert other.poll() is None
            other.kill()
            lines += [line.split() for line in other.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        fetched += len(lines)
        assert all(line[0] in bundles and line[1:] == [str(SIZE)] * 2 for line in lines)
        for path in cache.iterdir():
            if not path.name.startswith("."):
                verify_bundle(path)
    assert fetched > 12
    for one in bundles:  # more than there is room for: at least one is fetched, and whoever fetches tidies up
        verify_bundle(fetch_bundle(store, one, cache, limit_bytes=limit))
    assert all(not name.startswith(".") for name in names(cache))
    assert sum(size_bytes(path) for path in cache.iterdir()) <= limit


def test_no_descriptor_is_left(store: BlobStore, bundles: list[str], cache: Path) -> None:
    fetch_bundle(store, bundles[0], cache)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for one in bundles * 2:
        fetch_bundle(store, one, cache, limit_bytes=room_for(2))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
