"""What Prometheus sees of the face: so few series that neither names nor clients can make them more."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram

from yarnmill.blobs.http.bodies import RECEIVED
from yarnmill.httpserver.series import render_series

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_ROUTE: Final = "yarnmill.route"
_OTHER: Final = "(other)"
_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"})
_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)


class Metrics:
    """All series of one process. A route is an address of the application, such as ``get_named`` or ``s3.of_key``."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self._requests = Counter(
            "yarnmill_blobs_requests", "Requests.", ["method", "route", "status"], registry=registry
        )
        self._received = Counter(
            "yarnmill_blobs_received_bytes", "Bytes of bodies that were read.", ["route"], registry=registry
        )
        self._sent = Counter("yarnmill_blobs_sent_bytes", "Bytes of answers' bodies.", ["route"], registry=registry)
        self._seconds = Histogram(
            "yarnmill_blobs_request_seconds",
            "Time to the end of an answer.",
            ["method", "route"],
            buckets=_BUCKETS_S,
            registry=registry,
        )

    def count(self, environ: "WSGIEnvironment", status: str, sent_bytes: int, seconds: float) -> None:
        """Count a request whose answer has ended."""
        method = environ["REQUEST_METHOD"] if environ["REQUEST_METHOD"] in _METHODS else _OTHER
        route = environ.get(_ROUTE, _OTHER)
        self._requests.labels(method, route, status).inc()
        self._received.labels(route).inc(environ.get(RECEIVED, 0))
        self._sent.labels(route).inc(sent_bytes)
        self._seconds.labels(method, route).observe(seconds)

    def render(self) -> bytes:
        """Return all series as text, over all workers if there are several."""
        return render_series(self._registry)


def add_metrics(app: Flask) -> None:
    """Add the address of the series, and count every request from now on."""
    metrics = Metrics()

    @app.before_request
    def note_route() -> None:
        request.environ[_ROUTE] = request.endpoint or _OTHER

    @app.get("/metrics")
    def metrics_text() -> Response:
        """Answer all series in Prometheus' text form."""
        return Response(metrics.render(), content_type=CONTENT_TYPE_LATEST)

    app.wsgi_app = _Counting(app.wsgi_app, metrics)  # type: ignore[method-assign]  # Flask's own way


class _Counting:
    """Counts what an application answers, when it has: most of the time of a large blob comes after its first byte."""

    def __init__(self, app: "WSGIApplication", metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> "Iterable[bytes]":
        begun, status = time.perf_counter(), ""

        def started(line: str, headers: list[tuple[str, str]], *error: Any) -> Callable[[bytes], object]:  # noqa: ANN401  # WSGI's own
            nonlocal status
            status = line[:3]
            return start_response(line, headers, *error)

        def ended(sent_bytes: int) -> None:
            self._metrics.count(environ, status, sent_bytes, time.perf_counter() - begun)

        return _Counted(self._app(environ, started), ended)


class _Counted:
    """The bytes of an answer; ``ended`` is called with their number when the server closes it."""

    def __init__(self, answer: "Iterable[bytes]", ended: Callable[[int], None]) -> None:
        self._answer, self._ended, self._sent = answer, ended, 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._answer:
            self._sent += len(chunk)
            yield chunk

    def close(self) -> None:
        """End the answer."""
        try:
            if hasattr(self._answer, "close"):
                self._answer.close()
        finally:
            self._ended(self._sent)
