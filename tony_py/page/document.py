"""The status page as a whole: the head, and its sections one below the other."""

import base64
import hashlib
from functools import lru_cache
from importlib.resources import files
from typing import Final

from tony_py.page import sections
from tony_py.page.markup import Markup, join, tag
from tony_py.status import RunStatus

STATUS_NAME: Final = "status.json"
_REFRESH_WITHOUT_SCRIPT_S: Final = 5


def render_page(status: RunStatus) -> bytes:
    """Return the page of a run: no other file belongs to it, and it fetches a fresh copy of itself."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{status.name} · {status.phase}"),
        tag("style", Markup(_resource("style.css"))),
        tag("noscript", tag("meta", http_equiv="refresh", content=_REFRESH_WITHOUT_SCRIPT_S)),
    )
    body = tag(
        "body", _main(status), tag("script", Markup(_resource("refresh.js"))), data_application=status.application_id
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n".encode()


def security_policy() -> str:
    """Return the Content-Security-Policy of the page: its own style and script, by their hashes, and nothing else."""
    style, script = _hash_of("style.css"), _hash_of("refresh.js")
    return (
        f"default-src 'none'; style-src {style}; script-src {script}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'"
    )


def _main(status: RunStatus) -> Markup:
    return tag(
        "main",
        sections.title(status),
        sections.facts(status),
        sections.tasks(status),
        sections.times(status),
        sections.budgets(status),
        sections.events(status),
        tag("footer", join("The same as data: ", tag("a", STATUS_NAME, href=STATUS_NAME))),
    )


@lru_cache(maxsize=2)
def _resource(name: str) -> str:
    return (files("tony_py.page") / name).read_text()


def _hash_of(name: str) -> str:
    digest = base64.b64encode(hashlib.sha256(_resource(name).encode()).digest()).decode()
    return f"'sha256-{digest}'"
