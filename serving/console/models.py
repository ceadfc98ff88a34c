"""A model with its versions, and one version with all that is known of it."""

from collections import Counter
from typing import Final

from flask import Blueprint, render_template

from serving.console.asking import ROWS, number_of, text_of
from serving.console.console import Console
from serving.console.endpointrows import drift_light, state_of
from serving.control.bodies import ROW
from serving.openapi.operation import for_people
from yarnmill.blobs import open_store
from yarnmill.bundle.manifest import Manifest
from yarnmill.bundle.store import read_bundle_manifest
from yarnmill.errors import YarnMillError
from yarnmill.registry.compare import Compared, compare
from yarnmill.registry.records import ModelVersion

_MOST_METRICS: Final = 6
_MOST_ANCESTORS: Final = 20
_MOST_JOBS: Final = 10


def add_models(pages: Blueprint, console: Console) -> None:
    """Add the pages of models and versions."""

    @pages.get("/models/<model>")
    @for_people
    def model(model: str) -> str:
        """Show a model's versions, by number or by a metric, and what answers in every environment."""
        of, metric, is_ascending = console.registry.versions.model(model), text_of("metric"), text_of("order") == "up"
        page = console.registry.listing.versions(
            model, metric=metric or None, ascending=is_ascending, skip=number_of("skip") or 0, limit=ROWS
        )
        found = console.registry.deployments.find(model)
        shown = {one.version for one in page.found}
        return render_template(
            "console/model.html",
            model=of,
            versions=page.found,
            following=page.following,
            metrics=_metric_names(page.found, metric),
            metric=metric,
            is_ascending=is_ascending,
            states={number: [one for one in found if one.version == number] for number in shown},
            endpoints=console.registry.endpoints.everywhere(model=model),
            environment=console.environment,
            state=state_of(console.table.snapshot.slots.get(model)),
            drift=drift_light(console.samples.recent(), model),
        )

    @pages.get(f"/models/<model>/versions/<{ROW}:number>")
    @for_people
    def version(model: str, number: int) -> str:
        """Show a version: metrics, where it comes from, its signature, and how it differs from another one."""
        of, beside = console.registry.versions.get(model, number), number_of("beside")
        manifest, trouble = _manifest(of)
        compared, not_compared = ([], None) if beside is None else _compared(console, of, beside)
        return render_template(
            "console/version.html",
            version=of,
            states=[one for one in console.registry.deployments.find(model) if one.version == number],
            environments=[one.name for one in console.registry.environments.find()],
            environment=console.environment,
            ancestors=console.registry.search.ancestors(model, number)[:_MOST_ANCESTORS],
            manifest=manifest,
            trouble=trouble,
            beside=beside,
            compared=compared,
            not_compared=not_compared,
            tracking_url=console.tracking_url,
            jobs=console.registry.jobs.find(model, version=number, most=_MOST_JOBS),
        )


def _metric_names(versions: list[ModelVersion], metric: str) -> list[str]:
    """Return the metrics that most of some versions have, the one that they are ordered by among them."""
    counts = Counter(name for one in versions for name in one.metrics)
    names = sorted(counts, key=lambda name: (name != metric, -counts[name], name))[:_MOST_METRICS]
    return sorted(names)


def _manifest(version: ModelVersion) -> tuple[Manifest | None, YarnMillError | None]:
    """Return a version's manifest, or why there is none to be shown."""
    if version.retired_at is not None:
        return None, None
    try:
        return read_bundle_manifest(open_store(version.blobs_url), version.bundle_id), None
    except YarnMillError as problem:
        return None, problem


def _compared(console: Console, version: ModelVersion, beside: int) -> tuple[list[Compared], YarnMillError | None]:
    """Return what differs from another version to this one, or why nobody can tell."""
    try:
        return compare(console.registry.versions.get(version.model, beside), version), None
    except YarnMillError as problem:
        return [], problem
