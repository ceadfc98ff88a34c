"""The first page, projects, and the models of a project."""

from flask import Blueprint, render_template

from serving.console.asking import ROWS, text_of
from serving.console.charts import charts_of
from serving.console.console import Console, seen_projects
from serving.console.endpointrows import endpoint_rows
from serving.console.rates import history
from serving.control.access import may_see
from serving.openapi.operation import for_people


def add_overview(pages: Blueprint, console: Console) -> None:
    """Add the pages that everything is found from."""

    @pages.get("/")
    @for_people
    def overview() -> str:
        """Show the tier and its models."""
        samples, snapshot = console.samples.recent(), console.table.snapshot
        past = history(samples, None)
        named = text_of("named")
        page = console.registry.listing.models(
            named=named, projects=seen_projects(), after=text_of("after"), limit=ROWS
        )
        return render_template(
            "console/overview.html",
            environment=console.environment,
            snapshot=snapshot,
            now=past.now,
            charts=charts_of(past),
            rows=endpoint_rows(page.found, snapshot, samples),
            following=page.following,
            named=named,
        )

    @pages.get("/projects")
    @for_people
    def projects() -> str:
        """Show every project."""
        named, after = text_of("named"), text_of("after")
        seen = [one for one in console.registry.projects.find() if may_see(one.name)]
        found = [one for one in seen if named.casefold() in one.name.casefold()]
        start = next((at + 1 for at, one in enumerate(found) if one.name == after), 0)
        return render_template(
            "console/projects.html",
            projects=found[start : start + ROWS],
            following=found[start + ROWS - 1].name if len(found) > start + ROWS else None,
            named=named,
        )

    @pages.get("/projects/<project>")
    @for_people
    def project(project: str) -> str:
        """Show a project and its models."""
        of, named = console.registry.projects.get(project), text_of("named")
        page = console.registry.listing.models(named=named, projects=[of.name], after=text_of("after"), limit=ROWS)
        return render_template(
            "console/project.html",
            project=of,
            environment=console.environment,
            rows=endpoint_rows(page.found, console.table.snapshot, console.samples.recent()),
            following=page.following,
            named=named,
        )
