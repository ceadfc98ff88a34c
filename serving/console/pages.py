"""All addresses of the console, below ``/console``."""

from pathlib import Path
from typing import Final, NoReturn

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from serving.console.acting import add_acting
from serving.console.console import Console
from serving.console.drift import add_drift
from serving.console.endpoints import add_endpoints
from serving.console.experiments import add_experiments
from serving.console.formatting import add_filters
from serving.console.guard import add_guard
from serving.console.logs import add_logs
from serving.console.models import add_models
from serving.console.overview import add_overview
from serving.console.records import add_records
from serving.console.sign_in import add_sign_in
from serving.openapi.operation import for_people

_FOLDER: Final = Path(__file__).parent
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def console_pages(console: Console) -> Blueprint:
    """Return the pages for people."""
    pages = Blueprint("console", __name__, url_prefix="/console", template_folder=_FOLDER / "templates")
    add_filters(pages)
    add_guard(pages, console)
    add_sign_in(pages, console)
    add_overview(pages, console)
    add_models(pages, console)
    add_acting(pages, console)
    add_endpoints(pages, console)
    add_experiments(pages, console)
    add_drift(pages, console)
    add_records(pages, console)
    add_logs(pages, console)

    @pages.get("/static/<name>", endpoint="static")
    @for_people
    def static(name: str) -> Response:
        """Answer a style sheet or a script: asked for each time, sent if it has changed."""
        path = _FOLDER / "static" / name
        if path.parent != _FOLDER / "static" or not path.is_file():
            raise NotFound(f"There is no file {name[:100]}.")
        response = Response(path.read_bytes(), mimetype=_TYPES.get(path.suffix, "text/plain"))
        response.cache_control.no_cache = True
        response.add_etag()
        response.make_conditional(request)
        return response

    @pages.get("/<path:rest>")
    @for_people
    def nothing(rest: str) -> NoReturn:
        """Say on a page that there is none."""
        raise NotFound(f"There is no page {rest[:100]}.")

    return pages
