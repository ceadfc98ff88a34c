"""The Flask application: status, metadata, health and metrics; predictions are answered in front of it."""

import logging
from http import HTTPStatus
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from flask import Blueprint, Flask, Response
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.exceptions import HTTPException

from serving import tfserving
from serving.drift_pages import drift_pages
from serving.metrics import Metrics
from serving.models import ModelTable
from serving.oip_pages import oip_pages
from serving.openapi import shapes
from serving.openapi.operation import JSON, TEXT, Operation, described
from serving.openapi.pages import add_document
from serving.predict import DIALECTS, PredictRoute
from serving.predictionlog.feedback import feedback_pages
from serving.profiles import Profiles
from serving.refusals import RequestError, UnknownModelError
from serving.responses import json_response
from serving.slots import Slot, Snapshot

if TYPE_CHECKING:
    from serving.predictionlog.log import PredictionLog

_MOST_LISTED: Final = 100
"""Models that /readyz names: its callers look at the status, and there may be thousands."""

_NO_MODEL: Final = (404, 503)
"""What a model that is not deployed here, or cannot answer yet, is refused with."""

_log = logging.getLogger(__name__)


class ControlPages(NamedTuple):
    """The pages that change what is deployed, those of the console among them, and whether they need a token."""

    pages: Blueprint
    has_tokens: bool
    console: Blueprint | None = None


def create_app(
    table: ModelTable,
    metrics: Metrics,
    *,
    max_body_bytes: int,
    control: ControlPages | None = None,
    log: "PredictionLog | None" = None,
    profiles: Profiles | None = None,
) -> Flask:
    """Return the application of one worker.

    Parameters
    ----------
    table
        The models; somebody else keeps it fresh.
    metrics
        What counts the requests.
    max_body_bytes
        Largest request body.
    control
        The pages that change what is deployed; None: there are none.
    log
        The prediction log; None: there is none.
    profiles
        What counts how inputs and scores are distributed; None: this worker's own, shared with nobody.
    """
    profiles = Profiles(metrics) if profiles is None else profiles
    app = Flask("serving", static_folder=None, template_folder=Path(__file__).with_name("templates"))
    app.config["MAX_CONTENT_LENGTH"] = max_body_bytes
    _add_health(app, table, metrics)
    _add_models(app, table)
    _add_mlflow(app, table)
    app.register_blueprint(oip_pages(table))
    app.register_blueprint(feedback_pages(table, log))
    app.register_blueprint(drift_pages(table, profiles))
    if control is not None:
        app.register_blueprint(control.pages)
        if control.console is not None:
            app.register_blueprint(control.console)
    has_tokens = control is not None and control.has_tokens
    add_document(app, (one.asking for one in DIALECTS), has_tokens=has_tokens)
    app.register_error_handler(RequestError, lambda error: json_response({"error": error.text}, error.status))
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)
    app.wsgi_app = PredictRoute(  # type: ignore[method-assign]  # Flask's own way
        app.wsgi_app, table, metrics, max_body_bytes, profiles=profiles, log=log
    )
    return app


def _http_error(error: HTTPException) -> Response:
    response = json_response(
        {"error": f"{error.name}: {error.description}"}, error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    )
    response.headers.extend(h for h in error.get_headers() if h[0] == "Allow")
    return response


def _unexpected(error: Exception) -> Response:
    _log.error("unexpected error", exc_info=error)
    return json_response({"error": "internal error; the server's log has the cause"}, HTTPStatus.INTERNAL_SERVER_ERROR)


def _add_health(app: Flask, table: ModelTable, metrics: Metrics) -> None:
    @app.get("/healthz")
    @described(Operation(answer=shapes.Health))
    def healthz() -> Response:
        """Answer that the process lives."""
        return json_response({"status": "ok"})

    @app.get("/")
    @described(Operation(answer=shapes.Alive))
    def alive() -> Response:
        """Answer that the server lives, as KServe's clients ask for it in their first protocol."""
        return json_response({"status": "alive"})

    @app.get("/readyz")
    @described(Operation(answer=shapes.Readiness, also={503: shapes.Readiness}, refusals=(503,)))
    def readyz() -> Response:
        """Answer 200 if every endpoint has a version that answers, else 503; name what is amiss."""
        snapshot = table.snapshot
        ready = snapshot.is_ready
        return json_response(_readiness(snapshot), HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)

    @app.get("/metrics")
    @described(Operation(media_type=CONTENT_TYPE_LATEST))
    def metrics_text() -> Response:
        """Answer all series in Prometheus' text form."""
        return Response(metrics.render(), content_type=CONTENT_TYPE_LATEST)


def _add_models(app: Flask, table: ModelTable) -> None:
    @app.get("/v1/models")
    @described(Operation(answer=shapes.Models))
    def models() -> Response:
        """List every endpoint."""
        slots = table.snapshot.slots
        return json_response({"models": [_model_entry(slots[name]) for name in sorted(slots)]})

    @app.get("/v1/models/<model>")
    @app.get("/v1/models/<model>/versions/<int:version>")
    @app.get("/v1/models/<model>/labels/<label>")
    @described(Operation(answer=shapes.ModelStatus, refusals=_NO_MODEL))
    def model_status(model: str, version: int | None = None, label: str | None = None) -> Response:
        """Answer TensorFlow Serving's status of a model, and whether it is ready as KServe's first protocol says it."""
        if label is not None:
            version = table.labelled(model, label).version
        statuses = _statuses(_slot(table, model))
        if version is not None:
            statuses = [status for status in statuses if status["version"] == str(version)]
            if not statuses:
                raise UnknownModelError(f"model {model}: version {version} is not deployed")
        ready = any(status["state"] == "AVAILABLE" for status in statuses)
        return json_response({"model_version_status": statuses, "name": model, "ready": ready})

    @app.get("/v1/models/<model>/metadata")
    @app.get("/v1/models/<model>/versions/<int:version>/metadata")
    @app.get("/v1/models/<model>/labels/<label>/metadata")
    @described(Operation(answer=shapes.ModelMetadata, refusals=_NO_MODEL))
    def model_metadata(model: str, version: int | None = None, label: str | None = None) -> Response:
        """Answer the signature, in TensorFlow Serving's form and, complete, in ours."""
        served = table.find(model, version) if label is None else table.labelled(model, label)
        signature = served.predictor.signature
        document = tfserving.metadata_document(model, served.version, signature)
        ours = {"bundle_id": served.bundle_id, "signature": msgspec.to_builtins(signature)}
        return json_response({**document, "yarnmill": ours})


def _add_mlflow(app: Flask, table: ModelTable) -> None:
    @app.get("/mlflow/<model>/ping")
    @app.get("/mlflow/<model>/health")
    @app.get("/mlflow/<model>/versions/<int:version>/ping")
    @app.get("/mlflow/<model>/versions/<int:version>/health")
    @described(Operation(media_type=JSON, refusals=_NO_MODEL))
    def ping(model: str, version: int | None = None) -> Response:
        """Answer 200 if the model can be asked."""
        table.find(model, version)
        return Response("\n", mimetype="application/json")

    @app.get("/mlflow/<model>/version")
    @app.get("/mlflow/<model>/versions/<int:version>/version")
    @described(Operation(media_type=TEXT, refusals=_NO_MODEL))
    def mlflow_version(model: str, version: int | None = None) -> Response:
        """Answer the version of MLflow whose protocol this is."""
        table.find(model, version)
        return Response(metadata.version("mlflow"), mimetype="text/plain")


def _slot(table: ModelTable, model: str) -> Slot:
    slot = table.snapshot.slots.get(model)
    if slot is None:
        raise UnknownModelError(f"model {model}: not deployed here", mend=f"yarnmill models deploy {model} VERSION")
    return slot


def _state(slot: Slot) -> str:
    if slot.is_current:
        return "AVAILABLE"
    return "END" if slot.failure else "LOADING"


def _statuses(slot: Slot) -> list[dict[str, object]]:
    answering = slot.versions
    wanted = [route.version for route in slot.wanted.routes]
    statuses = []
    for version in wanted:
        if version in answering:
            statuses.append(tfserving.status_document(version, state="AVAILABLE"))
        else:
            statuses.append(tfserving.status_document(version, state=_state(slot), reason=slot.failure))
    statuses += [
        tfserving.status_document(version, state="AVAILABLE") for version in answering if version not in wanted
    ]
    return statuses


def _model_entry(slot: Slot) -> dict[str, object]:
    wanted, answers = slot.wanted, slot.answers
    entry: dict[str, object] = {
        "model": wanted.model,
        "version": wanted.main.version,
        "bundle_id": wanted.main.bundle_id,
        "state": _state(slot),
        "answering_version": None if answers is None else answers.main.version,
        "open": slot.served is not None,
    }
    if len(wanted.routes) > 1:
        entry["rule"] = {
            "shares": {str(route.version): route.weight for route in wanted.arms},
            "mirror": wanted.mirror,
            "layer": None if wanted.layer is None else str(wanted.layer),
        }
    return {**entry, "reason": slot.failure} if slot.failure else entry


def _readiness(snapshot: Snapshot) -> dict[str, object]:
    # What is amiss comes first, so that the limit cuts off what is well.
    slots = sorted(snapshot.slots.values(), key=lambda slot: (slot.is_current, slot.wanted.model))
    return {
        "ready": snapshot.is_ready,
        "registry": snapshot.trouble or "ok",
        "endpoints": len(slots),
        "answering": snapshot.answering,
        "open": snapshot.open,
        "models": [_model_entry(slot) for slot in slots[:_MOST_LISTED]],
    }
