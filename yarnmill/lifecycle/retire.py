"""Retiring versions by a policy, and deleting what only they had from the blob store."""

from collections.abc import Callable
from contextlib import suppress

from yarnmill.blobs import open_store
from yarnmill.bundle.store import blobs_of, read_bundle_manifest
from yarnmill.errors import NotFoundError
from yarnmill.records import Record
from yarnmill.registry import Registry
from yarnmill.registry.retention import Policy, Retirement


class Retired(Record, frozen=True, kw_only=True):
    """What was done: the versions that were retired, and how many blobs were deleted with them or earlier ones."""

    versions: tuple[Retirement, ...]
    deleted_blobs: int


def retire(
    registry: Registry,
    policy: Policy,
    planned: list[Retirement],
    progress: Callable[[str], None] = lambda _message: None,
) -> Retired:
    """Retire what was planned and still is due, then delete blobs that no kept version has.

    What an earlier run retired and did not delete, because it was interrupted, is deleted too. Deleted blobs can be
    brought back until ``yarnmill blobs gc`` takes them.

    Raises
    ------
    NotFoundError, BadDataError
        If it cannot be found out what a version consists of: nothing is deleted then, for it may share what would go.
    """
    list_blobs(registry)
    versions = registry.retention.retire(policy, planned)
    deleted = 0
    for one in registry.retention.collectable():
        store = open_store(one.blobs_url)

        def delete(blob: str) -> None:
            with suppress(NotFoundError):  # gone before: this is a second run
                store.delete(blob)  # noqa: B023  # called before the next one

        def undelete(blob: str) -> None:
            with suppress(NotFoundError):  # whoever registered it looks too, and stores it again
                store.undelete(blob)  # noqa: B023  # called before the next one

        gone = registry.retention.collect(one, delete, undelete)
        deleted += len(gone)
        progress(f"{one.model}/{one.version}: {len(gone)} blobs deleted")
    return Retired(versions=tuple(versions), deleted_blobs=deleted)


def list_blobs(registry: Registry) -> None:
    """Note what those versions consist of of which that is not known; errors as :func:`retire`."""
    for version in registry.retention.unlisted():
        manifest = read_bundle_manifest(open_store(version.blobs_url), version.bundle_id)
        registry.retention.list_blobs(version, blobs_of(version.bundle_id, manifest))
