"""Named blobs, on every backend: a name is had once, for ever, by one writer; containers list their names in order."""

import io
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from racing import Meeting

from yarnmill.blobs import (
    Attributes,
    BlobInfo,
    BlobName,
    BlobStore,
    FileSystemBlobStore,
    open_store,
    parse_name,
)
from yarnmill.blobs.ids import is_blob_id, name_of, unescaped
from yarnmill.blobs.packing import pack, packing
from yarnmill.blobs.scrub import scrub
from yarnmill.errors import ConfigurationError, ConflictError, GoneError
from yarnmill.units import Seconds


@pytest.fixture
def store(root: str) -> BlobStore:
    return open_store(f"{root}/blobs")


def put(store: BlobStore, name: str, data: bytes = b"x") -> BlobInfo:
    return store.put(io.BytesIO(data), Attributes(owner="ana"), name=parse_name(f"ml/models/{name}"))


def read(store: BlobStore, blob_id: str) -> bytes:
    with store.open(blob_id) as stream:
        return stream.read()


parts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@given(name=st.lists(parts, min_size=1, max_size=4).map("/".join).filter(bool))
def test_a_name_is_its_id_and_its_path(name: str) -> None:
    known = parse_name(f"a.c-1/c_2/{name}")
    assert known == BlobName(account="a.c-1", container="c_2", name=name)
    assert is_blob_id(known.id)
    assert name_of(known.id) == known
    *folders, leaf = (unescaped(part) for part in known.path[2:])
    assert "/".join([*(part for part, _ in folders), leaf[0]]) == name
    assert [is_leaf for _, is_leaf in (*folders, leaf)] == [False] * len(folders) + [True]
    for part in known.path:
        assert part not in {"", ".", ".."}
        assert not set(part) & set("/\0#?;:\\")
        assert not part.startswith(".")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a/b",
        "a/b/",
        "../b/c",
        "a/../c",
        ".a/b/c",
        "a/b c/d",
        "a/b/\0",
        "a/b/\udcff",
        "a/b/" + "x" * 1025,
        "a/b/" + "é" * 90,
    ],
)
def test_what_cannot_be_a_name_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name of a blob"):
        parse_name(text)


def test_a_named_blob_is_read_by_its_id(store: BlobStore) -> None:
    info = put(store, "rank/1", b"weights")
    assert info.id == parse_name("ml/models/rank/1").id
    assert store.stat(info.id) == info
    assert read(store, info.id) == b"weights"
    assert list(store.ids()) == [info.id]
    assert scrub(store).damaged == ()


@pytest.mark.parametrize("data", [b"other", b"first"])
def test_a_name_is_never_had_again(store: BlobStore, data: bytes) -> None:
    info = put(store, "m", b"first")
    source = io.BytesIO(data)
    with pytest.raises(ConflictError, match="ml/models/m"):
        store.put(source, name=parse_name("ml/models/m"))
    assert source.tell() == 0  # refused before it was read
    store.delete(info.id)
    with pytest.raises(ConflictError, match="keeps it for ever"):
        put(store, "m", data)
    store.undelete(info.id)
    assert read(store, info.id) == b"first"


def test_names_that_are_folders_of_others_do_not_meet(store: BlobStore) -> None:
    names = ["a", "a/b", "a/", "a//b", "a=", "a/b=", ".a", "A", "%", "a b", "a%20b", "a/../b"]
    for name in names:
        put(store, name, name.encode())
    for name in names:
        assert read(store, parse_name(f"ml/models/{name}").id) == name.encode()
    assert [found.name for found in store.names("ml", "models")] == sorted(names)
    assert scrub(store).damaged == ()
    assert scrub(store).blobs == len(names)


def test_names_are_listed_by_prefix_and_in_pages(store: BlobStore) -> None:
    names = sorted(f"{folder}{number}" for folder in ("", "m/", "m/n/", "m-") for number in range(2))
    for name in names:
        put(store, name)
    store.put(io.BytesIO(b"y"), name=parse_name("ml/others/m/0"))
    for prefix in ("", "m", "m/", "m/n", "m/n/", "m/n/1", "q", "m/n/1/"):
        expected = [name for name in names if name.startswith(prefix)]
        assert [found.name for found in store.names("ml", "models", prefix)] == expected
        for after in ("", "m", "m/", "m/1", "m/n/0", "zz"):
            page = [found.name for found in store.names("ml", "models", prefix, after)]
            assert page == [name for name in expected if name > after]
    assert list(store.names("ml", "nothing")) == []
    with pytest.raises(ConfigurationError):
        list(store.names("..", "models"))


def test_containers_are_those_that_names_are_in_packed_or_not(root: str) -> None:
    store, wanted = FileSystemBlobStore(f"{root}/blobs"), ["a", "a-b", "a.c", "a0", "ab", "b"]
    assert store.containers("ml") == []
    for number, container in enumerate([*wanted, "a", "b"]):
        store.put(io.BytesIO(b"x"), name=parse_name(f"ml/{container}/\U0010ffff/{number}"))
    store.put(io.BytesIO(b"x"), name=parse_name("ml2/other/n"))
    assert store.containers("ml") == wanted
    for plan in list(packing(store, Seconds(0.0), least=1)):
        pack(store, plan)
    assert store.places.packs.containers("ml") == set(wanted)
    assert (store.containers("ml"), store.containers("ml2"), store.containers("m")) == (wanted, ["other"], [])
    store.put(io.BytesIO(b"x"), name=parse_name("ml/new/n"))
    assert store.containers("ml") == [*wanted, "new"]


def test_of_writers_of_one_name_one_wins(store: BlobStore) -> None:
    barrier, name = threading.Barrier(8), parse_name("ml/models/wanted")

    def write(number: int) -> str:
        try:
            return store.put(Meeting(str(number).encode(), barrier), name=name).sha256
        except ConflictError:
            return ""

    with ThreadPoolExecutor(8) as pool:
        winners = [digest for digest in pool.map(write, range(8)) if digest]
    assert winners == [store.check(name.id).sha256]


PROGRAM = """
import io, sys
from yarnmill.blobs import open_store, parse_name
from yarnmill.errors import ConflictError
store, won = open_store(sys.argv[1]), []
sys.stdin.readline()
for number in range(10):
    try:
        store.put(io.BytesIO(sys.argv[2].encode()), name=parse_name(f"ml/models/{number}"))
        won.append(number)
    except ConflictError:
        pass
print(*won)
"""


@pytest.mark.programs
def test_processes_that_want_the_same_names_share_them_out(store: BlobStore) -> None:
    command = [sys.executable, "-c", PROGRAM, store.url]
    racers = [
        subprocess.Popen([*command, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for n in range(4)
    ]
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [racer.communicate()[0].split() for racer in racers]
    assert sorted(number for names in won for number in names) == [str(number) for number in range(10)]
    for number, names in enumerate(won):
        for name in names:
            assert read(store, parse_name(f"ml/models/{name}").id) == str(number).encode()


def test_a_name_whose_blob_is_gone_says_so(store: BlobStore) -> None:
    info = put(store, "m")
    store.delete(info.id)
    with pytest.raises(GoneError, match="was deleted"):
        store.open(info.id)
    assert [found.name for found in store.names("ml", "models")] == ["m"]
