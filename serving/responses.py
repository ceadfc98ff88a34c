"""Answers of the pages behind the predict addresses."""

from http import HTTPStatus

import orjson
from flask import Response


def json_response(document: object, status: int = HTTPStatus.OK) -> Response:
    """Return an answer of JSON."""
    return Response(orjson.dumps(document), status=status, mimetype="application/json")
