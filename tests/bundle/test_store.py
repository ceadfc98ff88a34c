"""Bundles through a blob store into a shared cache."""

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from yarnmill import fs
from yarnmill.blobs import BlobInfo, BlobStore, open_store
from yarnmill.bundle.manifest import Manifest, bundle_id, manifest_bytes
from yarnmill.bundle.pack import verify_bundle
from yarnmill.bundle.store import fetch_bundle, put_bundle, read_bundle_manifest, verify_stored
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError


@pytest.fixture
def store(root: str) -> BlobStore:
    return open_store(f"{root}/blobs")


@pytest.fixture
def stored(store: BlobStore, folder: Path, manifest: Manifest) -> str:
    return put_bundle(store, folder, manifest)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def damage(store: BlobStore, blob_id: str) -> None:
    fs.write_bytes(fs.join(store.url, "blobs", blob_id[:2], blob_id), b"damaged", overwrite=True)


def test_a_bundle_comes_back_whole(store: BlobStore, stored: str, manifest: Manifest, cache: Path) -> None:
    fetched = fetch_bundle(store, stored, cache)
    assert stored == bundle_id(manifest_bytes(manifest))
    assert verify_bundle(fetched) == verify_stored(store, stored) == read_bundle_manifest(store, stored) == manifest
    assert (fetched / "native" / "weights.bin").read_bytes() == b"weights"
    assert [path.name for path in cache.iterdir()] == [stored]


def test_a_bundle_without_some_files_is_another_folder_until_the_whole_is_there(
    store: BlobStore, stored: str, cache: Path
) -> None:
    partial = fetch_bundle(store, stored, cache, without=("native/weights.bin",))
    assert sorted(path.name for path in partial.rglob("*") if path.is_file()) == [
        "bundle.json",
        "empty",
        "example.json",
        "model.onnx",
    ]
    assert fetch_bundle(store, stored, cache, without=("native/weights.bin",)) == partial
    other = fetch_bundle(store, stored, cache, without=("model.onnx",))
    assert other != partial
    whole = fetch_bundle(store, stored, cache)
    verify_bundle(whole)
    assert fetch_bundle(store, stored, cache, without=("model.onnx",)) == whole


def test_putting_it_again_adds_no_blob(store: BlobStore, stored: str, folder: Path, manifest: Manifest) -> None:
    before = list(store.ids())
    assert put_bundle(store, folder, manifest) == stored
    assert list(store.ids()) == before
    assert len(before) == len(manifest.files) + 1


def test_a_fetched_bundle_needs_no_store(store: BlobStore, stored: str, cache: Path) -> None:
    first = fetch_bundle(store, stored, cache)
    fs.delete(store.url)
    assert fetch_bundle(store, stored, cache) == first


def test_a_file_that_changed_after_packing_is_not_stored(store: BlobStore, folder: Path, manifest: Manifest) -> None:
    (folder / "model.onnx").write_bytes(b"late change")
    with pytest.raises(BadDataError, match="changed since it was packed"):
        put_bundle(store, folder, manifest)
    assert not store.exists(bundle_id(manifest_bytes(manifest)))


def test_a_damaged_blob_is_refused_and_nothing_is_cached(
    store: BlobStore, stored: str, manifest: Manifest, cache: Path
) -> None:
    damage(store, manifest.files[0].sha256)
    with pytest.raises(BadDataError, match=manifest.files[0].sha256):
        fetch_bundle(store, stored, cache)
    with pytest.raises(BadDataError, match=manifest.files[0].sha256):
        verify_stored(store, stored)
    assert list(cache.iterdir()) == []


def test_a_damaged_manifest_is_refused(store: BlobStore, stored: str, cache: Path) -> None:
    damage(store, stored)
    with pytest.raises(BadDataError, match=stored):
        fetch_bundle(store, stored, cache)


def test_a_blob_that_is_no_manifest_is_no_bundle(store: BlobStore, cache: Path) -> None:
    info = store.put(io.BytesIO(b"just bytes"))
    with pytest.raises(BadDataError, match="not JSON"):
        fetch_bundle(store, info.id, cache)


def test_an_unknown_bundle_and_a_wrong_id(store: BlobStore, cache: Path) -> None:
    with pytest.raises(NotFoundError, match="0" * 64):
        fetch_bundle(store, "0" * 64, cache)
    with pytest.raises(ConfigurationError, match="no blob id"):
        fetch_bundle(store, "../escape", cache)


@pytest.mark.parametrize("harm", ["cut", "lost", "manifest"])
def test_a_cached_bundle_that_lost_bytes_is_fetched_again(
    store: BlobStore, stored: str, cache: Path, harm: str
) -> None:
    fetched = fetch_bundle(store, stored, cache)
    if harm == "cut":
        (fetched / "model.onnx").write_bytes(b"gra")
    else:
        (fetched / ("model.onnx" if harm == "lost" else "bundle.json")).unlink()
    verify_bundle(fetch_bundle(store, stored, cache))
    assert [path.name for path in cache.iterdir()] == [stored]


def test_many_fetch_one_bundle_at_once_and_its_bytes_come_once(
    store: BlobStore, stored: str, manifest: Manifest, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloaded: list[str] = []
    download = store.download

    def counted(blob_id: str, path: Path) -> BlobInfo:
        downloaded.append(blob_id)
        return download(blob_id, path)

    monkeypatch.setattr(store, "download", counted)
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: fetch_bundle(store, stored, cache), range(8)))
    assert folders == {cache / stored}
    assert sorted(downloaded) == sorted([stored, *(file.sha256 for file in manifest.files)])
    verify_bundle(cache / stored)
    assert [path.name for path in cache.iterdir()] == [stored]


FETCHER = """
import os, pathlib, sys
from yarnmill.blobs import FileSystemBlobStore, open_store
from yarnmill.bundle.store import fetch_bundle
downloads = 0
real = FileSystemBlobStore.download
def die_in_the_middle(self, blob_id, path):
    global downloads
    downloads += 1
    if downloads > int(sys.argv[4]):
        os.kill(os.getpid(), 9)
    return real(self, blob_id, path)
FileSystemBlobStore.download = die_in_the_middle
fetch_bundle(open_store(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3]))
"""


@pytest.mark.programs
@pytest.mark.parametrize("downloads", [0, 1, 2])
def test_a_killed_fetch_is_never_taken_for_a_bundle(store: BlobStore, stored: str, cache: Path, downloads: int) -> None:
    killed = subprocess.run([sys.executable, "-c", FETCHER, store.url, stored, str(cache), str(downloads)], check=False)
    assert killed.returncode == -9
    assert not (cache / stored).exists()
    verify_bundle(fetch_bundle(store, stored, cache))
