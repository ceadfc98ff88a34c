"""Where the tier's models come from: the registry's endpoints, and their bundles in the blob store.

The last list of endpoints is kept in the tier's own cache, so a worker that starts while the registry
is down answers with what was deployed before.
"""

import logging
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

from yarnmill import fs
from yarnmill.blobs import BlobStore, open_store
from yarnmill.bundle.cache import HeldBundle
from yarnmill.bundle.store import fetch_held
from yarnmill.errors import YarnMillError
from yarnmill.records import Record, canonical_json, parse_json
from yarnmill.registry import Endpoint, Registry

_ENDPOINTS_NAME: Final = "endpoints.json"
_log = logging.getLogger(__name__)


class Source(Protocol):
    """What the table of models asks. Every method may raise a YarnMillError, or what a driver raises."""

    def generation(self) -> int:
        """Return a number that changes with every deployment; cheap."""

    def endpoints(self) -> list[Endpoint]:
        """Return which version answers for each model."""

    def last_endpoints(self) -> list[Endpoint]:
        """Return what :meth:`endpoints` last gave on this machine; empty if nothing is known."""

    def fetch(self, endpoint: Endpoint) -> HeldBundle:
        """Return an endpoint's bundle on this machine, every hash verified, held until whoever asks has opened it."""


class _Endpoints(Record, frozen=True, kw_only=True):
    endpoints: tuple[Endpoint, ...]


class RegistrySource:
    """Endpoints of a registry, bundles cached on this machine.

    Nothing is opened before it is asked for: connections must not be older than the fork of a worker.

    Parameters
    ----------
    registry_url
        SQLAlchemy URL.
    cache
        Folder that all workers of this machine share.
    limit_bytes
        Most that its bundles may take, but for those that answer; None: no limit.
    """

    def __init__(self, registry_url: str, cache: Path, limit_bytes: int | None = None) -> None:
        self._url = registry_url
        self._bundles = cache / "bundles"
        self._limit_bytes = limit_bytes
        self._remembered = cache / "serving" / _ENDPOINTS_NAME
        self._stores: dict[str, BlobStore] = {}

    @cached_property
    def _registry(self) -> Registry:
        return Registry(self._url)

    def generation(self) -> int:
        """See :class:`Source`."""
        return self._registry.generation()

    def endpoints(self) -> list[Endpoint]:
        """See :class:`Source`."""
        endpoints = self._registry.endpoints()
        try:
            fs.write_bytes(self._remembered, canonical_json(_Endpoints(endpoints=tuple(endpoints))), overwrite=True)
        except (OSError, YarnMillError) as problem:  # a full disk must not hold up a deployment
            _log.warning("the endpoints cannot be remembered: %s", problem)
        return endpoints

    def last_endpoints(self) -> list[Endpoint]:
        """See :class:`Source`."""
        try:
            data = self._remembered.read_bytes()
        except FileNotFoundError:
            return []
        return list(parse_json(data, _Endpoints, source=str(self._remembered)).endpoints)

    def fetch(self, endpoint: Endpoint) -> HeldBundle:
        """See :class:`Source`."""
        store = self._stores.get(endpoint.blobs_url)
        if store is None:
            store = self._stores[endpoint.blobs_url] = open_store(endpoint.blobs_url)
        return fetch_held(store, endpoint.bundle_id, self._bundles, limit_bytes=self._limit_bytes)
