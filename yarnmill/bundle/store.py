"""Bundles in a blob store, and the local cache that models are opened from.

Every file of a bundle is a blob, ``bundle.json`` too; the bundle's id is that blob's id. Versions of a
model that share a file share its blob. The cache is a folder of bundles by id, shared by all processes
of the machine: what stands there under an id is complete.
"""

import hashlib
import io
import secrets
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from yarnmill import fs
from yarnmill.blobs import BlobStore, parse_blob_id
from yarnmill.bundle.manifest import MANIFEST_NAME, BundleFile, Manifest, manifest_bytes, parse_manifest
from yarnmill.bundle.pack import has_all_files, read_manifest
from yarnmill.errors import BadDataError, ConflictError, YarnMillError


def put_bundle(store: BlobStore, folder: Path, manifest: Manifest) -> str:
    """Store a packed folder and return the bundle's id. ``bundle.json`` goes last: an id that exists is whole.

    Raises
    ------
    BadDataError
        If a file changed since the folder was packed.
    """
    for file in manifest.files:
        _put_file(store, folder, file)
    return store.put(io.BytesIO(manifest_bytes(manifest))).id


def read_bundle_manifest(store: BlobStore, bundle_id: str) -> Manifest:
    """Return the manifest of a stored bundle, verified; NotFoundError if the store has no such bundle."""
    with store.open(bundle_id) as stream:
        return parse_manifest(stream.read(), source=f"bundle {bundle_id} in {store.url}")


def verify_stored(store: BlobStore, bundle_id: str) -> Manifest:
    """Read every blob of a stored bundle, keeping none, and return the manifest; errors as :func:`fetch_bundle`."""
    manifest = read_bundle_manifest(store, bundle_id)
    for file in manifest.files:
        store.check(file.sha256)
    return manifest


def fetch_bundle(store: BlobStore, bundle_id: str, cache: Path, *, without: Collection[str] = ()) -> Path:
    """Return the folder of a bundle below ``cache``, fetched and verified unless it is there already.

    Safe with any number of processes fetching into one cache, and against a crash at any moment: a bundle
    is fetched into a hidden folder and appears by one rename. A fetched bundle whose files are no longer
    all there in their size is moved aside and fetched again.

    Parameters
    ----------
    store, bundle_id, cache
        Where from, what, where to.
    without
        Paths of files that are not wanted: a bundle that lacks them stands in a folder of its own.

    Raises
    ------
    ConfigurationError
        If ``bundle_id`` is no id.
    NotFoundError
        If the store lacks the bundle or one of its files.
    BadDataError
        If a blob does not match its hash or the manifest does not fit.
    """
    whole = cache / parse_blob_id(bundle_id)
    if _is_ready(whole, ()):
        return whole
    target = whole.with_name(f"{bundle_id}-{_named(without)}") if without else whole
    if _is_ready(target, without):
        return target
    fresh = cache / f".{bundle_id}.{secrets.token_hex(6)}.tmp"
    fresh.mkdir(parents=True)
    try:
        _download(store, bundle_id, fresh, without)
        _publish(fresh, target, without)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def _put_file(store: BlobStore, folder: Path, file: BundleFile) -> None:
    with (folder / file.path).open("rb") as stream:
        info = store.put(stream)
    if info.id != file.sha256:
        raise BadDataError(f"{folder / file.path}: changed since it was packed", mend="pack the folder again")


def _named(without: Collection[str]) -> str:
    return hashlib.sha256("\0".join(sorted(without)).encode()).hexdigest()[:12]


def _is_ready(folder: Path, without: Collection[str]) -> bool:
    if not folder.is_dir():
        return False
    try:
        return has_all_files(folder, read_manifest(folder), without=without)
    except YarnMillError:
        return False


def _download(store: BlobStore, bundle_id: str, folder: Path, without: Collection[str]) -> None:
    store.download(bundle_id, folder / MANIFEST_NAME)
    for file in read_manifest(folder).files:
        if file.path not in without:
            store.download(file.sha256, folder / file.path)


def _publish(fresh: Path, target: Path, without: Collection[str]) -> None:
    if target.exists() and not _is_ready(target, without):
        # Moved, not emptied: another process may have its files mapped.
        aside = target.with_name(f".{target.name}.{secrets.token_hex(6)}.damaged")
        with suppress(FileNotFoundError):  # another process was quicker
            target.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    try:
        fs.rename(fresh, target)
    except ConflictError:
        if not _is_ready(target, without):
            raise
