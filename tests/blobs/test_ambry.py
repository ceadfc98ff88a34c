"""What is special to blobs that Ambry keeps, asked of our own frontend: names, ends, damage, refusals."""

import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from racing import Meeting
from trained import REPORT, write_output

from yarnmill.blobs import Attributes, BlobStore, open_store, parse_name
from yarnmill.blobs.scrub import scrub
from yarnmill.blobs.states import now_ms
from yarnmill.bundle.pack import verify_bundle
from yarnmill.bundle.store import fetch_bundle
from yarnmill.config import load_config
from yarnmill.errors import (
    BadDataError,
    ClusterUnavailableError,
    ConfigurationError,
    ConflictError,
    GoneError,
    NotFoundError,
)
from yarnmill.lifecycle.publish import pack_output, store_and_register
from yarnmill.registry import Registry

if TYPE_CHECKING:
    from conftest import Face


@pytest.fixture
def store(ambry: str) -> BlobStore:
    return open_store(ambry)


def put(store: BlobStore, data: bytes, **more: object) -> str:
    return store.put(io.BytesIO(data), **more).id  # type: ignore[arg-type]


def test_a_deleted_blob_is_gone_until_it_is_restored(store: BlobStore) -> None:
    blob_id = put(store, b"bytes")
    store.delete(blob_id)
    store.delete(blob_id)
    assert not store.exists(blob_id)
    for call in (store.stat, store.open, store.check):
        with pytest.raises(GoneError, match=blob_id):
            call(blob_id)
    assert list(store.ids()) == []
    assert store.undelete(blob_id) == store.undelete(blob_id) == store.check(blob_id)
    assert list(store.ids()) == [blob_id]
    with pytest.raises(NotFoundError):
        store.delete("0" * 64)


def test_deleted_bytes_that_are_put_once_more_are_there_again(store: BlobStore) -> None:
    blob_id = put(store, b"bytes")
    store.delete(blob_id)
    assert put(store, b"bytes") == blob_id
    assert store.read_part(blob_id, 0, 9) == b"bytes"


def test_names_are_had_once_and_listed(store: BlobStore, ambry: str) -> None:
    container = ambry.rpartition("/")[2]
    names = [parse_name(f"ml/{container}/{name}") for name in ("a", "a/b", "b c", "ü/1")]
    for name in names:
        assert put(store, str(name).encode(), name=name) == name.id
    put(store, b"no name")
    assert store.names("ml", container) == sorted(names, key=str)
    assert [found.name for found in store.names("ml", container, "a", "a")] == ["a/b"]
    assert len(store.names("ml", container, most=2)) == 2
    with pytest.raises(ConflictError, match="choose another name"):
        put(store, b"other", name=names[0])
    assert store.read_part(names[3].id, 0, 99) == str(names[3]).encode()
    with pytest.raises(ConfigurationError, match="does not list containers"):
        store.containers("ml")


def test_of_writers_of_one_name_one_wins(store: BlobStore, ambry: str) -> None:
    barrier, name = threading.Barrier(4), parse_name(f"ml/{ambry.rpartition('/')[2]}/wanted")

    def write(number: int) -> str:
        try:
            return store.put(Meeting(str(number).encode(), barrier), name=name).sha256
        except ConflictError:
            return ""

    with ThreadPoolExecutor(4) as pool:
        winners = [digest for digest in pool.map(write, range(4)) if digest]
    assert winners == [store.check(name.id).sha256]


def test_an_end_can_only_be_taken_away(store: BlobStore) -> None:
    end = now_ms() + 3_600_000
    blob_id = put(store, b"bytes", attributes=Attributes(owner="ana", expires_at_ms=end))
    assert store.stat(blob_id).expires_at_ms == end
    with pytest.raises(ConfigurationError, match="another end"):
        store.update_ttl(blob_id, end + 1)
    assert store.update_ttl(blob_id, None).expires_at_ms is None
    assert store.stat(blob_id).expires_at_ms is None


def test_bytes_that_are_not_those_that_were_put_are_never_handed_out(
    store: BlobStore, ambry: str, frontend: "Face", tmp_path: Path
) -> None:
    """Ambry itself sees nothing wrong: the record is another one."""
    data, container = os.urandom(3 << 20), ambry.rpartition("/")[2]
    blob_id = put(store, data)
    record = frontend.call("GET", f"/named/ml/{container}/yarnmill/sha256/{blob_id}").content
    bad = record[:1_000_000] + bytes([record[1_000_000] ^ 1]) + record[1_000_001:]
    other = open_store(ambry + "x")
    headers = {"x-ambry-service-id": "tests", "x-ambry-content-type": "a/b"}
    answer = frontend.call("PUT", f"/named/ml/{container}x/yarnmill/sha256/{blob_id}", data=bad, headers=headers)
    assert answer.status_code == 201
    assert other.read_part(blob_id, 0, 100) == data[:100]  # of a chunk that is sound
    reads = (
        other.check,
        lambda one: other.read_part(one, 999_990, 20),
        lambda one: other.download(one, tmp_path / "x"),
    )
    for read in reads:
        with pytest.raises(BadDataError, match="do not fit their checksum"):
            read(blob_id)
    assert not (tmp_path / "x").exists()
    assert [damage.blob for damage in scrub(other).damaged] == [blob_id]
    assert scrub(store).damaged == ()


def test_a_wrong_token_or_no_server_is_told(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch, frontend: "Face"
) -> None:
    monkeypatch.setenv("YARNMILL_AMBRY_TOKEN", "not-a-token")
    with pytest.raises(ConfigurationError, match="YARNMILL_AMBRY_TOKEN") as refused:
        put(store, b"bytes")
    assert "not-a-token" not in str(refused.value)
    monkeypatch.setenv("YARNMILL_AMBRY_TOKEN", frontend.token)
    with pytest.raises(ClusterUnavailableError, match="does not answer"):
        put(open_store("ambry+http://127.0.0.1:1/ml/models"), b"bytes")


@pytest.mark.parametrize(
    "url", ["ambry+http://host", "ambry+http://host/ml", "ambry+http://host/a/b/c", "ambry+http:///a/b"]
)
def test_a_url_that_is_no_place_in_ambry_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="no place in Ambry"):
        open_store(url)


def test_a_model_lives_in_ambry(ambry: str, tmp_path: Path) -> None:
    write_output(f"file://{tmp_path}/run", "run", REPORT)
    config = load_config(None, [f"storage.blobs={ambry}"], home=str(tmp_path / "home"))
    folder = tmp_path / "work"
    folder.mkdir()
    manifest = pack_output(f"file://{tmp_path}/run", "torch", folder, config)
    version = store_and_register(Registry(config.registry_url), "rater", folder, manifest, config)
    assert version.blobs_url == ambry
    assert verify_bundle(fetch_bundle(open_store(ambry), version.bundle_id, tmp_path / "cache")) == manifest
