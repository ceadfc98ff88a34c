"""Drift of the models that answer here: a light each, and each series of one beside its reference."""

from typing import Final

from flask import Blueprint, render_template

from serving.console.asking import ROWS, text_of
from serving.console.console import Console, seen_projects
from serving.console.endpointrows import endpoint_rows
from serving.drift_pages import drift_here
from serving.openapi.operation import for_people
from serving.refusals import ModelUnavailableError, UnknownModelError
from yarnmill.drift.comparison import ModelDrift, SeriesDrift, VersionDrift
from yarnmill.drift.rules import Verdict

_ORDER: Final[tuple[Verdict, ...]] = ("drifted", "unsure", "steady", "unknown")
_MOST_SERIES: Final = 200


def add_drift(pages: Blueprint, console: Console) -> None:
    """Add the list of lights, and the page of a model."""

    @pages.get("/drift")
    @for_people
    def drift() -> str:
        """Show the light of each model."""
        named = text_of("named")
        page = console.registry.listing.models(
            named=named, projects=seen_projects(), after=text_of("after"), limit=ROWS
        )
        samples = console.samples.recent()
        return render_template(
            "console/drift.html",
            environment=console.environment,
            rows=endpoint_rows(page.found, console.table.snapshot, samples),
            psi={name: one.psi for name, one in samples[-1].models.items()} if samples else {},
            following=page.following,
            named=named,
        )

    @pages.get("/models/<model>/drift")
    @for_people
    def model_drift(model: str) -> str:
        """Show every series of a model's versions, the worst first."""
        console.registry.versions.model(model)
        found, trouble = _found(console, model)
        return render_template(
            "console/model_drift.html",
            model=model,
            environment=console.environment,
            drift=found,
            trouble=trouble,
            series_of=_worst_first,
            reasons_of=_reasons,
            most=_MOST_SERIES,
        )


def _found(console: Console, model: str) -> tuple[ModelDrift | None, UnknownModelError | ModelUnavailableError | None]:
    try:
        return drift_here(console.table, console.profiles, model), None
    except (UnknownModelError, ModelUnavailableError) as problem:
        return None, problem


def _worst_first(version: VersionDrift) -> list[SeriesDrift]:
    return sorted(version.series, key=lambda one: _ORDER.index(one.verdict))[:_MOST_SERIES]


def _reasons(series: SeriesDrift) -> str:
    """Return what is over its limit: what is sure if anything is."""
    broken = [one for one in series.findings if one.is_broken]
    return "; ".join(str(one) for one in broken or series.findings if one.is_over)
