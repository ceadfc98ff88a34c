"""Blobs that no version has: left by publications that were interrupted, or put for something else.

The registry says what its versions consist of, so a blob that none has is garbage, if it was put for its content and
long enough ago. Blobs with a name or attributes belong to whoever put them and are never looked at.
"""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

from yarnmill.blobs import BlobInfo, BlobStore, is_content_id
from yarnmill.blobs.states import now_ms
from yarnmill.errors import NotFoundError
from yarnmill.lifecycle.retire import list_blobs
from yarnmill.registry import Registry
from yarnmill.units import Seconds

_TOGETHER: Final = 500


def unreferenced(registry: Registry, store: BlobStore, older: Seconds) -> Iterator[BlobInfo]:
    """Yield the blobs of a store that no kept version of the registry has, put longer ago than ``older``.

    Raises
    ------
    NotFoundError, BadDataError
        If it cannot be found out what a version consists of.
    """
    list_blobs(registry)
    before = now_ms() - int(older * 1000)
    blobs = filter(is_content_id, store.ids())
    while group := list(islice(blobs, _TOGETHER)):
        referred = registry.retention.referred(group)
        for blob in group:
            if blob not in referred:
                with suppress(NotFoundError):  # deleted already
                    info = store.stat(blob)
                    if info.created_at_ms <= before:
                        yield info


def delete_unreferenced(registry: Registry, store: BlobStore, blobs: list[BlobInfo]) -> list[BlobInfo]:
    """Delete blobs that no kept version has, and return those; they can be restored until they are collected.

    As in :mod:`yarnmill.registry.retention`, what somebody registers meanwhile comes back.
    """
    gone = set(registry.retention.delete_free([one.id for one in blobs], store.delete, store.undelete))
    return [one for one in blobs if one.id in gone]
