"""The predict addresses as plain WSGI, in front of Flask.

A request for one row costs less than Flask's own dispatch, so this path parses its address, its body
and its answer itself; everything else goes on to the application behind it.
"""

import logging
import time
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from serving.decoding import SignatureDecoder
from serving.dialect import Address, Dialect, Form, Outputs, PredictCall, sources_of
from serving.metrics import Metrics
from serving.mlflow_scoring import MlflowScoring
from serving.models import ModelTable, one_line
from serving.openinference import OpenInference
from serving.predictionlog.entries import Arm, Asking
from serving.predictionlog.sessions import SESSION_HEADER, session_of
from serving.profiles import Profiles
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
from serving.scores import mean_score
from serving.shadow import Shadow
from serving.slots import Answering, ServedModel
from serving.tfexamples import EXAMPLES
from serving.tfserving import TfServing
from yarnmill.units import render_bytes

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from serving.predictionlog.log import PredictionLog

MODEL_KEY: Final = "yarnmill.model"
VERSION_KEY: Final = "yarnmill.version"
ROWS_KEY: Final = "yarnmill.rows"
"""Keys under which the access log finds what was asked."""

UNIT_HEADER: Final = "X-Unit-Id"
"""Names who or what a request is for: all requests of one unit are answered by the same version of an experiment."""

SNAPSHOTS_HEADER: Final = "X-Feature-Snapshots"
"""Names in an answer what its features were taken from, such as ``shop.clients/3 ds=2026-01-31``."""

_UNIT_KEY: Final = "HTTP_X_UNIT_ID"
_SESSION_KEY: Final = "yarnmill.session"
_JSON_BYTES_KEY: Final = "HTTP_INFERENCE_HEADER_CONTENT_LENGTH"
_MERLIN: Final = TfServing("/merlin/models/", "/v1/predict")
"""Merlin's clients ask a model's endpoint at its URL and ``/v1/predict``, in TensorFlow Serving's form."""
DIALECTS: Final[tuple[Dialect, ...]] = (TfServing(), OpenInference(), MlflowScoring(), *EXAMPLES, _MERLIN)
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
    content_type: str = "application/json"


class PredictRoute:
    """WSGI middleware that answers the predict addresses of every dialect.

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
    profiles
        What counts how inputs and scores are distributed.
    log
        Gets what was answered; None: nothing does.
    """

    def __init__(
        self,
        behind: "WSGIApplication",
        table: ModelTable,
        metrics: Metrics,
        max_body_bytes: int,
        *,
        profiles: Profiles,
        log: "PredictionLog | None" = None,
    ) -> None:
        self._behind = behind
        self._table = table
        self._metrics = metrics
        self._profiles = profiles
        self._max_body_bytes = max_body_bytes
        self._shadow = Shadow(metrics, profiles)
        self._log = log

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer, or hand on."""
        path: str = environ["PATH_INFO"]
        for dialect in DIALECTS:
            address = dialect.address(path)
            if address is not None:
                session: tuple[tuple[str, str], ...] = ()
                if self._log is not None:
                    environ[_SESSION_KEY] = session_of(environ)
                    session = ((SESSION_HEADER, environ[_SESSION_KEY]),)
                answer = self._answer(dialect, address, environ)
                length = ("Content-Length", str(len(answer.body)))
                headers = [("Content-Type", answer.content_type), length, *session, *answer.headers]
                start_response(_STATUS_LINES[answer.status], headers)
                return [answer.body]
        return self._behind(environ, start_response)

    def _answer(self, dialect: Dialect, address: Address, environ: "WSGIEnvironment") -> _Answer:
        started = time.perf_counter()
        asked: _Asked | None = None
        try:
            _check_method(environ)
            asked = self._asked(address, environ)
            served = asked.served
            environ[MODEL_KEY], environ[VERSION_KEY] = served.model, served.version
            body = self._body(environ)
            form = Form(environ.get("CONTENT_TYPE", ""), environ.get(_JSON_BYTES_KEY))
            call = dialect.decode(body, form, served.decoder)
            outputs = _predicted(served, call)
            answer = dialect.render(outputs, call, served.model, served.version)
        except RequestError as error:
            return self._refused(dialect, asked, error)
        except Exception:  # noqa: BLE001  # no request may end in a trace: the log gets it, the client a plain answer
            _log.exception("%s: unexpected error", environ["PATH_INFO"])
            return self._refused(dialect, asked, RequestError("internal error; the server's log has the cause"))
        environ[ROWS_KEY] = call.rows
        seconds = time.perf_counter() - started
        self._metrics.count_answer(served.model, call.rows, seconds)
        self._profiles.offer(served, call, outputs, len(body))
        logged = None
        if self._log is not None:
            asking = Asking(environ[_SESSION_KEY], environ.get(_UNIT_KEY), asked.arm, len(body))
            self._log.add(asking, served, call, outputs, seconds)
            if asked.experiment is not None:
                logged = partial(self._log.add, asking._replace(arm="mirror"))
        if asked.experiment is not None:
            self._metrics.count_arm_answer(served.model, served.version, seconds, mean_score(outputs))
            if asked.experiment.mirror is not None:

                def decode(body: bytes, decoder: SignatureDecoder) -> PredictCall:
                    return dialect.decode(body, form, decoder)

                self._shadow.offer(asked.experiment.mirror, body, decode, outputs, logged)
        headers = (("X-Model-Version", str(served.version)), *answer.headers)
        if call.uses:
            self._metrics.count_features(call.uses)
            headers = (*headers, (SNAPSHOTS_HEADER, ", ".join(sources_of(call.uses))))
        return _Answer(200, answer.body, headers, answer.content_type)

    def _asked(self, address: Address, environ: "WSGIEnvironment") -> "_Asked":
        """Return the version that is to answer: the one that the address names, or the one that the rule gives."""
        model, version, label = address
        if version is not None:
            return _Asked(self._table.find(model, _number(model, version)), is_named=True)
        if label is not None:
            return _Asked(self._table.labelled(model, label), is_named=True)
        answering = self._table.answering(model)
        if not answering.is_experiment:
            return _Asked(answering.main)
        unit = environ.get(_UNIT_KEY)
        return _Asked(answering.choose(unit), answering) if answering.takes_part(unit) else _Asked(answering.main)

    def _refused(self, dialect: Dialect, asked: "_Asked | None", error: RequestError) -> _Answer:
        self._metrics.count_refusal(asked.served.model if asked else None, error.status, error.kind)
        if asked is not None and asked.experiment is not None:
            self._metrics.count_arm_refusal(asked.served.model, asked.served.version, error.status)
        headers = (("Allow", "POST"),) if isinstance(error, MethodNotAllowedError) else ()
        return _Answer(error.status, dialect.render_error(error), headers)

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


class _Asked(NamedTuple):
    """The version that is to answer; the experiment that it was chosen by, if its model has one."""

    served: ServedModel
    experiment: Answering | None = None
    is_named: bool = False

    @property
    def arm(self) -> Arm:
        """How it was chosen, as the log says it; a mirror alone makes no choice."""
        if self.experiment is not None and len(self.experiment.endpoint.arms) > 1:
            return "experiment"
        return "named" if self.is_named else "main"


def _predicted(served: ServedModel, call: PredictCall) -> Outputs:
    try:
        return served.predictor.predict(call.columns)
    except Exception as problem:  # noqa: BLE001  # libraries that run models raise what they like
        _log.exception("model %s version %d failed", served.model, served.version)
        raise ModelFailedError(f"model {served.model} version {served.version} failed: {one_line(problem)}") from None


def _number(model: str, version: str) -> int:
    if not (version.isascii() and version.isdigit() and len(version) < 19):
        raise UnknownModelError(f"model {model}: version {version!r}", expected="a version number")
    return int(version)


def _check_method(environ: "WSGIEnvironment") -> None:
    method = environ["REQUEST_METHOD"]
    if method != "POST":
        raise MethodNotAllowedError(f"{method} {environ['PATH_INFO']}", expected="POST")
