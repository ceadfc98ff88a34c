"""Pages of what happened: deployments with their reasons, changes with who made them."""

from flask import Blueprint, render_template

from serving.console.asking import ROWS, number_of, text_of
from serving.console.console import Console, seen_projects
from serving.openapi.operation import for_people


def add_records(pages: Blueprint, console: Console) -> None:
    """Add both lists."""

    @pages.get("/deployments")
    @for_people
    def deployments() -> str:
        """Show deployments, newest first."""
        model = text_of("model")
        page = console.registry.listing.deployments(
            model=model or None, projects=seen_projects(), before=number_of("before"), limit=ROWS
        )
        return render_template("console/deployments.html", rows=page.found, following=page.following, model=model)

    @pages.get("/audit")
    @for_people
    def audit() -> str:
        """Show changes, newest first."""
        subject = text_of("subject")
        page = console.registry.listing.audit(
            subject=subject or None, projects=seen_projects(), before=number_of("before"), limit=ROWS
        )
        return render_template("console/audit.html", rows=page.found, following=page.following, subject=subject)
