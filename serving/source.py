"""Where the tier's models come from: the registry's endpoints, and their bundles in the blob store.

The last list of endpoints is kept in the tier's own cache, so a worker that starts while the registry
is down answers with what was deployed before.
"""

import datetime as dt
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
from yarnmill.registry import ModelEndpoint, Registry
from yarnmill.registry.records import Layer, Route

_ENDPOINTS_NAME: Final = "endpoints.json"
_log = logging.getLogger(__name__)


class Endpoint(Record, frozen=True, kw_only=True):
    """Which versions of a model shall answer here, at which shares, and the change of the registry that says so.

    ``mirror`` is the one of ``routes`` that gets a copy of every request, its answer unused; ``layer`` says which units
    take part in the experiment, None: all.
    """

    model: str
    routes: tuple[Route, ...]
    revision: int
    changed_at: dt.datetime
    mirror: int | None = None
    layer: Layer | None = None

    @property
    def arms(self) -> tuple[Route, ...]:
        """The versions whose answers are used."""
        return tuple(route for route in self.routes if route.version != self.mirror)

    @property
    def main(self) -> Route:
        """The version with the largest share."""
        return max(self.arms, key=lambda route: route.weight)


class Source(Protocol):
    """What the table of models asks. Every method may raise a YarnMillError, or what a driver raises."""

    def generation(self) -> int:
        """Return a number that changes with every deployment; cheap."""

    def endpoints(self) -> list[Endpoint]:
        """Return which versions answer for each model."""

    def last_endpoints(self) -> list[Endpoint]:
        """Return what :meth:`endpoints` last gave on this machine; empty if nothing is known."""

    def fetch(self, route: Route) -> HeldBundle:
        """Return a version's bundle on this machine, every hash verified, held until whoever asks has opened it."""


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
    environment
        Whose endpoints these are; empty: the default environment's.
    """

    def __init__(
        self, registry_url: str, cache: Path, limit_bytes: int | None = None, *, environment: str = ""
    ) -> None:
        self._url = registry_url
        self._environment = environment
        self._bundles = cache / "bundles"
        self._limit_bytes = limit_bytes
        self._remembered = cache / "serving" / _ENDPOINTS_NAME
        self._stores: dict[str, BlobStore] = {}

    @cached_property
    def _registry(self) -> Registry:
        return Registry(self._url)

    def generation(self) -> int:
        """See :class:`Source`."""
        return self._registry.endpoints.generation()

    def endpoints(self) -> list[Endpoint]:
        """See :class:`Source`."""
        endpoints = [_endpoint(one) for one in self._registry.endpoints.find(self._environment or None)]
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

    def watched(self) -> frozenset[str]:
        """Return the models that alerts of this environment look at."""
        environment = self._registry.environments.get(self._environment or None).name
        return frozenset(one.model for one in self._registry.alerts.find(environment=environment) if one.enabled)

    def fetch(self, route: Route) -> HeldBundle:
        """See :class:`Source`."""
        store = self._stores.get(route.blobs_url)
        if store is None:
            store = self._stores[route.blobs_url] = open_store(route.blobs_url)
        return fetch_held(store, route.bundle_id, self._bundles, limit_bytes=self._limit_bytes)


def _endpoint(endpoint: ModelEndpoint) -> Endpoint:
    return Endpoint(
        model=endpoint.model,
        routes=endpoint.routes,
        revision=endpoint.revision,
        changed_at=endpoint.changed_at,
        mirror=endpoint.rule.mirror,
        layer=endpoint.rule.layer,
    )
