"""The two addresses of the document: for programs, and for people, whose page needs nothing from elsewhere."""

import functools
from collections.abc import Iterable
from typing import Any, Final

import orjson
from flask import Flask, Response, render_template

from serving.openapi.document import document
from serving.openapi.operation import Asking, Operation, described
from serving.openapi.reading import sections, type_text

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def add_document(app: Flask, askings: Iterable[Asking], *, has_tokens: bool) -> None:
    """Add ``/openapi.json`` and ``/docs``, after every other route.

    Parameters
    ----------
    app, askings, has_tokens
        As in :func:`serving.openapi.document.document`.
    """
    known = tuple(askings)

    @functools.cache  # the routes stay as they are once the first request was answered
    def present() -> dict[str, Any]:
        return document(app, known, has_tokens=has_tokens)

    @app.get("/openapi.json")
    @described(Operation(answer=dict[str, Any]))
    def openapi() -> Response:
        """Answer this document."""
        return Response(orjson.dumps(present()), mimetype="application/json")

    @app.get("/docs")
    @described(Operation(media_type="text/html; charset=utf-8"))
    def docs() -> Response:
        """Show this document as a page."""
        page = render_template("docs.html", document=present(), sections=sections(present()), type_text=type_text)
        response = Response(page, mimetype="text/html")
        response.headers["Content-Security-Policy"] = _POLICY
        return response
