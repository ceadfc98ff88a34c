"""Bundles in a blob store, and the local cache that models are opened from.

Every file of a bundle is a blob, ``bundle.json`` too; the bundle's id is that blob's id. Versions of a
model that share a file share its blob. The cache is a folder of bundles by id, shared by all processes
of the machine: what stands there under an id is complete.
"""

import hashlib
import io
import shutil
from collections.abc import Collection
from pathlib import Path

from yarnmill import fs
from yarnmill.blobs import BlobStore, parse_blob_id
from yarnmill.bundle.cache import HeldBundle, fetching, hold, hold_fresh, make_room, mark_used, moving, put_aside
from yarnmill.bundle.manifest import MANIFEST_NAME, BundleFile, Manifest, manifest_bytes, parse_manifest
from yarnmill.bundle.pack import has_all_files, read_manifest
from yarnmill.errors import BadDataError, YarnMillError


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


def blobs_of(bundle_id: str, manifest: Manifest) -> tuple[str, ...]:
    """Return the ids of all blobs that a stored bundle consists of, its manifest's last."""
    return (*dict.fromkeys(file.sha256 for file in manifest.files), bundle_id)


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


def fetch_bundle(
    store: BlobStore, bundle_id: str, cache: Path, *, without: Collection[str] = (), limit_bytes: int | None = None
) -> Path:
    """Return the folder of a bundle below ``cache``, as :func:`fetch_held` does, without holding it any longer."""
    with fetch_held(store, bundle_id, cache, without=without, limit_bytes=limit_bytes) as held:
        return held.folder


def fetch_held(
    store: BlobStore, bundle_id: str, cache: Path, *, without: Collection[str] = (), limit_bytes: int | None = None
) -> HeldBundle:
    """Return a bundle below ``cache``, fetched and verified unless it is there already, held against its eviction.

    Safe with any number of processes fetching into one cache, and against a crash at any moment: a bundle
    is fetched into a hidden folder and appears by one rename. A fetched bundle whose files are no longer
    all there in their size is moved aside and fetched again.

    Parameters
    ----------
    store, bundle_id, cache
        Where from, what, where to.
    without
        Paths of files that are not wanted: a bundle that lacks them stands in a folder of its own.
    limit_bytes
        Most that the cache may take: to fetch another bundle, those that were used longest ago go, but none that a
        living process holds. None: everything stays.

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
    target = whole.with_name(f"{bundle_id}-{_named(without)}") if without else whole
    while True:
        held = _held_in(whole, target, without)
        if held is not None:
            return held
        with fetching(cache, target.name):
            held = _held_in(whole, target, without)  # by whoever fetched it before
            if held is not None:
                return held
            with hold_fresh(cache, bundle_id) as fresh:
                try:
                    _download(store, bundle_id, fresh.folder, without, limit_bytes)
                    _publish(fresh.folder, target, without)
                finally:
                    shutil.rmtree(fresh.folder, ignore_errors=True)


def _held_in(whole: Path, target: Path, without: Collection[str]) -> HeldBundle | None:
    """Hold a bundle that is there, whole or without some files."""
    held = _hold_ready(whole, ()) or _hold_ready(target, without)
    if held is not None:
        mark_used(held.folder)
    return held


def _put_file(store: BlobStore, folder: Path, file: BundleFile) -> None:
    with (folder / file.path).open("rb") as stream:
        info = store.put(stream)
    if info.id != file.sha256:
        raise BadDataError(f"{folder / file.path}: changed since it was packed", mend="pack the folder again")


def _named(without: Collection[str]) -> str:
    return hashlib.sha256("\0".join(sorted(without)).encode()).hexdigest()[:12]


def _hold_ready(folder: Path, without: Collection[str]) -> HeldBundle | None:
    held = hold(folder)
    if held is not None and not _is_ready(folder, without):
        held.release()
        return None
    return held


def _is_ready(folder: Path, without: Collection[str]) -> bool:
    try:
        return has_all_files(folder, read_manifest(folder), without=without)
    except YarnMillError:
        return False


def _download(
    store: BlobStore, bundle_id: str, folder: Path, without: Collection[str], limit_bytes: int | None
) -> None:
    store.download(bundle_id, folder / MANIFEST_NAME)
    manifest = read_manifest(folder)
    make_room(folder.parent, limit_bytes, folder)  # the manifest says by now how much is to come
    for file in manifest.files:
        if file.path not in without:
            store.download(file.sha256, folder / file.path)
    if not has_all_files(folder, manifest, without=without):
        raise BadDataError(
            f"bundle {bundle_id} in {store.url}: its manifest gives its files other sizes than they have"
        )


def _publish(fresh: Path, target: Path, without: Collection[str]) -> None:
    aside = None
    with moving(fresh.parent):
        if not _is_ready(target, without):
            if target.exists():
                # Moved, not emptied: another process may have its files mapped.
                aside = put_aside(target, ".damaged")
            fs.rename(fresh, target)
    if aside is not None:
        shutil.rmtree(aside, ignore_errors=True)
