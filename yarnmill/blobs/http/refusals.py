"""What a request can be refused for: an HTTP status each, and what of an error a stranger is told."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import ClassVar, Final

import orjson
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from yarnmill.errors import (
    BadDataError,
    ClusterUnavailableError,
    ConfigurationError,
    ConflictError,
    GoneError,
    NotFoundError,
    StorageFullError,
    YarnMillError,
)

_FAILURE_REASON: Final = "x-ambry-failure-reason"
_LOOK: Final = "the server's log has the cause"
_RETRY_AFTER_S: Final = 5
_log = logging.getLogger(__name__)


class RequestError(YarnMillError):
    """A request that the store is not asked, or not to its end."""

    status: ClassVar[int] = 400
    kind = "request"


class BadRequestError(RequestError):
    """A header, query, id, name or body that cannot be meant."""


class UnauthorizedError(RequestError):
    """Nobody the server knows, or a signature that is not the server's or has expired."""

    status = 401


class ForbiddenError(RequestError):
    """Somebody known who may not."""

    status = 403


class SlowClientError(RequestError):
    """A client that stopped sending in the middle of its body."""

    status = 408


class TooLargeError(RequestError):
    """A body over the limit that was set for it."""

    status = 413


class RangeError(RequestError):
    """A range that a blob has no byte of; ``size_bytes`` is how many it has."""

    status = 416

    def __init__(self, what: str, size_bytes: int) -> None:
        super().__init__(what, expected=f"a range that begins before {size_bytes}" if size_bytes else "no range")
        self.size_bytes = size_bytes


@contextmanager
def of_request() -> Iterator[None]:
    """Make an error of what a request says one of the request: any other configuration is the server's own."""
    try:
        yield
    except ConfigurationError as problem:
        raise BadRequestError(problem.what, expected=problem.expected, mend=problem.mend) from None


def add_refusals(app: Flask) -> None:
    """Let every error end as a short JSON document."""
    app.register_error_handler(RequestError, _request_refusal)
    app.register_error_handler(YarnMillError, _store_refusal)
    app.register_error_handler(HTTPException, _http_refusal)
    app.register_error_handler(Exception, _unexpected)


def _answer(status: int, error: str, expected: str = "", mend: str = "") -> Response:
    body = orjson.dumps({"error": error, "expected": expected, "mend": mend})
    return Response(body, status=status, mimetype="application/json")


def _store_refusal(error: YarnMillError) -> Response:
    # A store's own words name paths and hosts, which are nobody's business who asks over HTTP.
    match error:
        case GoneError():
            return _answer(HTTPStatus.GONE, error.what)
        case NotFoundError():
            expected = "the id that a put answered, or a name that a listing shows"
            return _answer(HTTPStatus.NOT_FOUND, f"{request.path}: no such blob", expected)
        case ConflictError():
            return _answer(HTTPStatus.CONFLICT, error.what, error.expected, error.mend)
    return _server_refusal(error)


def _server_refusal(error: YarnMillError) -> Response:
    match error:
        case StorageFullError():
            response = _answer(
                HTTPStatus.INSUFFICIENT_STORAGE, "the store is full", mend="delete something, or make room"
            )
        case ClusterUnavailableError():
            response = _answer(HTTPStatus.SERVICE_UNAVAILABLE, "the store does not answer", mend="try again")
            response.headers["Retry-After"] = str(_RETRY_AFTER_S)
        case BadDataError():
            what = f"{request.path}: its bytes are damaged, and none of them is handed out"
            mend = "put it again from its source; the server's log says where the damaged file is"
            response = _answer(HTTPStatus.INTERNAL_SERVER_ERROR, what, "the bytes that were put", mend)
        case ConfigurationError():  # the server's own: its folder is another's, or its ticket has expired
            response = _answer(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error", mend=_LOOK)
        case _:
            return _unexpected(error)
    _log.error("%s %s: %s", request.method, request.path, error.what)
    return response


def _request_refusal(error: RequestError) -> Response:
    response = _answer(error.status, error.what, error.expected, error.mend)
    if isinstance(error, UnauthorizedError):
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RangeError):
        response.headers["Content-Range"] = f"bytes */{error.size_bytes}"
    if error.status == HTTPStatus.BAD_REQUEST:
        response.headers[_FAILURE_REASON] = ascii(error.what)[1:-1]
    return response


def _http_refusal(error: HTTPException) -> Response:
    response = _answer(error.code or HTTPStatus.INTERNAL_SERVER_ERROR, f"{error.name}: {error.description}")
    response.headers.extend(header for header in error.get_headers() if header[0] == "Allow")
    return response


def _unexpected(error: Exception) -> Response:
    _log.error("%s %s: unexpected error", request.method, request.path, exc_info=error)
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error", mend=_LOOK)
