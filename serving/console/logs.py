"""What a tier keeps of its log lines: those about a version, and the end of its access log if that is a file."""

import datetime as dt
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec
from flask import Blueprint, render_template

from serving.console.asking import text_of
from serving.console.console import Console, seen_projects
from serving.control.bodies import ROW
from serving.openapi.operation import for_people
from yarnmill.httpserver.lines import STANDARD_ERROR

_MOST_BYTES: Final = 1 << 20
_OWN: Final = "/console/"
"""Looks at the console itself, several a page: they would fill it."""
_MOST_LINES: Final = 100


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as :mod:`yarnmill.httpserver.lines` and the tier's own keys have it."""

    time: dt.datetime
    method: str
    path: str
    status: int
    milliseconds: float
    model: str = ""
    version: int | str = ""
    rows: int | str = ""
    who: str = ""


def add_logs(pages: Blueprint, console: Console) -> None:
    """Add the pages."""

    @pages.get(f"/models/<model>/versions/<{ROW}:number>/log")
    @for_people
    def version_log(model: str, number: int) -> str:
        """Show what there is to read of a version in an environment, newest first."""
        environment = text_of("environment") or console.environment
        lines = console.control.lines(model, number, environment)
        return render_template(
            "console/version_log.html",
            model=model,
            number=number,
            environment=environment,
            rows=lines[::-1][:_MOST_LINES],
            has_tier=console.control.is_mine(console.registry.environments.get(environment)),
        )

    @pages.get(f"/models/<model>/versions/<{ROW}:number>/jobs/<{ROW}:job>/log")
    @for_people
    def job_log(model: str, number: int, job: int) -> str:
        """Show the end of what the driver of a prediction job wrote."""
        found = console.control.job(console.registry.versions.model(model).id, number, job)
        text = console.control.driver_log(found)
        return render_template("console/job_log.html", model=model, number=number, job=found, text=text)

    @pages.get("/logs")
    @for_people
    def logs() -> str:
        """Show the latest requests."""
        model, only_errors, projects = text_of("model"), text_of("only") == "errors", seen_projects()
        own = None
        if projects is not None:
            own = {one.name for project in projects for one in console.registry.versions.models(project)}
        path = None if console.access_log == STANDARD_ERROR else Path(console.access_log)
        lines = [] if path is None else wanted_lines(_end_of(path), model=model, only_errors=only_errors, models=own)
        return render_template(
            "console/logs.html", has_file=path is not None, rows=list(lines), model=model, only_errors=only_errors
        )


def wanted_lines(data: bytes, *, model: str, only_errors: bool, models: Collection[str] | None) -> Iterable[LogLine]:
    """Return the latest lines of a log, newest first.

    Parameters
    ----------
    data
        The end of it; what is no line of a request is left out, such as the first one, of which a part is missing.
    model
        Of this one only; empty: of any.
    only_errors
        Only those without an answer.
    models
        Whose lines may be seen; None: all, also those of no model.
    """
    found = []
    for line in _parsed(reversed(data.splitlines())):
        if line.method == "GET" and line.path.startswith(_OWN):
            continue
        if (model and line.model != model) or (only_errors and line.status < 400):
            continue
        if models is not None and line.model not in models:
            continue
        found.append(line)
        if len(found) == _MOST_LINES:
            break
    return found


def _parsed(lines: Iterable[bytes]) -> Iterator[LogLine]:
    decoder = msgspec.json.Decoder(LogLine)
    for line in lines:
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError:
            continue


def _end_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _MOST_BYTES))
            return file.read(_MOST_BYTES)
    except FileNotFoundError:  # somebody has moved it, and no request came since
        return b""
