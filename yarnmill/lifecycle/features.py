"""Feature snapshots as models: published under their table's name, and opened as a tier would open them."""

import datetime as dt
from collections.abc import Callable

from serving.refusals import ModelUnavailableError
from serving.transformer.bundled import snapshot_of
from serving.transformer.lookups import Snapshot, Snapshots
from yarnmill.blobs import open_store
from yarnmill.bundle.store import fetch_held
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError
from yarnmill.featuresnapshot import ENTITIES, PROJECT, read_snapshot
from yarnmill.flavours.open import open_predictor
from yarnmill.lifecycle.publish import Published
from yarnmill.lifecycle.publish import publish as publish_output
from yarnmill.records import Record
from yarnmill.registry import Registry

DS_LABEL = "ds"


class ListedSnapshot(Record, frozen=True, kw_only=True):
    """A version of a feature table's snapshot; ``answers`` in the default environment."""

    table: str
    version: int
    ds: str
    entities: int
    answers: bool
    created_at: dt.datetime


def publish_snapshot(
    output_url: str, table: str, config: Config, progress: Callable[[str], None] = lambda _message: None
) -> Published:
    """Make the output of the job ``snapshot_features`` the next version of its table's snapshot.

    Errors are those of :func:`yarnmill.lifecycle.publish.publish`.

    Raises
    ------
    ConfigurationError
        If it is of another table.
    """
    record = read_snapshot(output_url)
    if record.table != table:
        raise ConfigurationError(
            f"{output_url}: a snapshot of {record.table}",
            expected=f"one of {table}",
            mend="name the other, or its table",
        )
    labels = {DS_LABEL: record.ds.isoformat()}
    return publish_output(output_url, table, "features", config, progress, labels=labels, project=PROJECT)


def snapshots_in(registry: Registry) -> list[ListedSnapshot]:
    """Return the snapshots that are kept, ordered by table and version."""
    found = []
    for model in registry.versions.models(PROJECT):
        endpoint = registry.endpoints.present(model.name)
        answering = set() if endpoint is None else {route.version for route in endpoint.routes}
        found += [
            ListedSnapshot(
                table=model.name,
                version=one.version,
                ds=one.labels.get(DS_LABEL, ""),
                entities=int(one.metrics.get(ENTITIES, 0)),
                answers=one.version in answering,
                created_at=one.created_at,
            )
            for one in registry.versions.find(model.name)
            if one.retired_at is None
        ]
    return found


def registry_snapshots(registry: Registry, config: Config, environment: str | None = None) -> Snapshots:
    """Return what opens the snapshot that answers for a table in an environment, each once."""
    opened: dict[str, Snapshot] = {}

    def snapshot(table: str) -> Snapshot:
        if table not in opened:
            opened[table] = _open(registry, config, table, environment)
        return opened[table]

    return snapshot


def _open(registry: Registry, config: Config, table: str, environment: str | None) -> Snapshot:
    endpoint = registry.endpoints.present(table, environment)
    if endpoint is None or not endpoint.routes:
        where = environment or "the default environment"
        raise ModelUnavailableError(
            f"features {table}: no snapshot answers in {where}", mend=f"yarnmill features publish {table}"
        )
    route = max(endpoint.routes, key=lambda one: one.weight)
    cache, limit_bytes = config.home_path / "cache" / "bundles", config.bundles.limit_bytes
    with fetch_held(open_store(route.blobs_url), route.bundle_id, cache, limit_bytes=limit_bytes) as held:
        return snapshot_of(table, route.version, open_predictor(held.folder))
