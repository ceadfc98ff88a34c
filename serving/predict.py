"""The predict addresses as plain WSGI, in front of Flask.

A request for one row costs less than Flask's own dispatch, so this path parses its address, its body
and its answer itself; everything else goes on to the application behind it.
"""

import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from serving.documents import parse_object
from serving.metrics import Metrics
from serving.models import ModelTable, ServedModel, one_line
from serving.refusals import (
    BadRequestError,
    EncodingNotSupportedError,
    MethodNotAllowedError,
    ModelFailedError,
    RequestError,
    SlowClientError,
    TooLargeError,
    UnknownModelError,
)
from serving.tfserving import decode_call, render_answer, render_error
from yarnmill.units import render_bytes

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MODEL_KEY: Final = "yarnmill.model"
VERSION_KEY: Final = "yarnmill.version"
ROWS_KEY: Final = "yarnmill.rows"
"""Keys under which the access log finds what was asked."""

_PREFIX: Final = "/v1/models/"
_VERB: Final = ":predict"
_VERSIONS: Final = "/versions/"
_STATUS_LINES: Final = {
    200: "200 OK",
    400: "400 Bad Request",
    404: "404 Not Found",
    405: "405 Method Not Allowed",
    408: "408 Request Timeout",
    413: "413 Content Too Large",
    415: "415 Unsupported Media Type",
    500: "500 Internal Server Error",
    503: "503 Service Unavailable",
}
_log = logging.getLogger(__name__)


class _Answer(NamedTuple):
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class PredictRoute:
    """WSGI middleware that answers ``POST /v1/models/<model>[/versions/<n>]:predict``.

    Parameters
    ----------
    behind
        The application that gets every other request.
    table
        The models.
    metrics
        What counts the requests.
    max_body_bytes
        Largest body that is read.
    """

    def __init__(self, behind: "WSGIApplication", table: ModelTable, metrics: Metrics, max_body_bytes: int) -> None:
        self._behind = behind
        self._table = table
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer, or hand on."""
        path: str = environ["PATH_INFO"]
        if not (path.startswith(_PREFIX) and path.endswith(_VERB)):
            return self._behind(environ, start_response)
        answer = self._answer(path, environ)
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(answer.body))), *answer.headers]
        start_response(_STATUS_LINES[answer.status], headers)
        return [answer.body]

    def _answer(self, path: str, environ: "WSGIEnvironment") -> _Answer:
        started = time.perf_counter()
        served: ServedModel | None = None
        try:
            _check_method(environ["REQUEST_METHOD"], path)
            served = self._table.find(*_address(path))
            environ[MODEL_KEY], environ[VERSION_KEY] = served.endpoint.model, served.endpoint.version
            body, rows = _predicted(served, self._body(environ))
        except RequestError as error:
            return self._refused(served, error)
        except Exception:  # noqa: BLE001  # no request may end in a trace: the log gets it, the client a plain answer
            _log.exception("%s: unexpected error", path)
            return self._refused(served, RequestError("internal error; the server's log has the cause"))
        environ[ROWS_KEY] = rows
        self._metrics.count_answer(served.endpoint.model, rows, time.perf_counter() - started)
        return _Answer(200, body, (("X-Model-Version", str(served.endpoint.version)),))

    def _refused(self, served: ServedModel | None, error: RequestError) -> _Answer:
        self._metrics.count_refusal(served.endpoint.model if served else None, error.status, error.kind)
        headers = (("Allow", "POST"),) if isinstance(error, MethodNotAllowedError) else ()
        return _Answer(error.status, render_error(error), headers)

    def _body(self, environ: "WSGIEnvironment") -> bytes:
        """Return the body, whatever its Content-Type: clients in the wild send none."""
        if environ.get("HTTP_CONTENT_ENCODING", "identity") != "identity":
            raise EncodingNotSupportedError(
                f"Content-Encoding: {environ['HTTP_CONTENT_ENCODING']}", expected="a body that is not compressed"
            )
        length = environ.get("CONTENT_LENGTH")
        if length:
            size = int(length) if length.isdigit() else -1
            if size < 0:
                raise BadRequestError(f"Content-Length: {length!r}", expected="a number of bytes")
        else:
            # Without a length only a server that marks the end of a chunked body may be read from.
            size = self._max_body_bytes + 1 if environ.get("wsgi.input_terminated") else 0
        if length and size > self._max_body_bytes:
            raise self._too_large(size)
        try:
            body: bytes = environ["wsgi.input"].read(size)
        except (TimeoutError, BlockingIOError):  # the latter is how the kernel's own limit shows
            raise SlowClientError("the client stopped sending in the middle of the body") from None
        if len(body) > self._max_body_bytes:
            raise self._too_large(len(body))
        return body

    def _too_large(self, size: int) -> TooLargeError:
        return TooLargeError(
            f"the body has {render_bytes(size)} or more",
            expected=f"at most {render_bytes(self._max_body_bytes)}",
            mend="send fewer rows at once, or set serving.max_body",
        )


def _predicted(served: ServedModel, body: bytes) -> tuple[bytes, int]:
    call = decode_call(parse_object(body), served.decoder)
    try:
        outputs = served.predictor.predict(call.columns)
    except Exception as problem:  # noqa: BLE001  # libraries that run models raise what they like
        _log.exception("model %s version %d failed", served.endpoint.model, served.endpoint.version)
        raise ModelFailedError(
            f"model {served.endpoint.model} version {served.endpoint.version} failed: {one_line(problem)}"
        ) from None
    return render_answer(outputs, by_row=call.by_row), call.rows


def _check_method(method: str, path: str) -> None:
    if method != "POST":
        raise MethodNotAllowedError(f"{method} {path}", expected="POST")


def _address(path: str) -> tuple[str, int | None]:
    model, found, version = path[len(_PREFIX) : -len(_VERB)].partition(_VERSIONS)
    if not found:
        return model, None
    if not (version.isascii() and version.isdigit() and len(version) < 19):
        raise UnknownModelError(f"model {model}: version {version!r}", expected="a version number")
    return model, int(version)
