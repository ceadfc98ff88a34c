"""The Open Inference Protocol's rare requests: health, metadata, the index of models."""

from http import HTTPStatus
from importlib import metadata
from typing import Final

from flask import Blueprint, Response

from serving.models import ModelTable
from serving.openapi import oip_shapes as shapes
from serving.openapi.operation import Operation, described
from serving.openapi.shapes import Refusal
from serving.openinference import metadata_document
from serving.refusals import RequestError
from serving.responses import json_response
from serving.slots import Slot

_NO_MODEL: Final = (404, 503)
_NOT_READY: Final = (shapes.ModelReady, Refusal)
"""The latter where a version is no number, which is no address."""


def oip_pages(table: ModelTable) -> Blueprint:
    """Return the routes below ``/v2`` but for ``infer``."""
    pages = Blueprint("openinference", __name__, url_prefix="/v2")

    @pages.get("")
    @described(Operation(answer=shapes.ServerMetadata))
    def server() -> Response:
        """Answer what this is."""
        return json_response(
            {"name": "yarnmill", "version": metadata.version("yarnmill"), "extensions": ["binary_tensor_data"]}
        )

    @pages.get("/health/live")
    @described(Operation(answer=shapes.Live))
    def live() -> Response:
        """Answer that the process lives."""
        return json_response({"live": True})

    @pages.get("/health/ready")
    @described(Operation(answer=shapes.Ready, also={503: shapes.Ready}, refusals=(503,)))
    def ready() -> Response:
        """Answer 200 if something answers at every endpoint."""
        is_ready = table.snapshot.is_ready
        return json_response({"ready": is_ready}, HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE)

    @pages.get("/models/<model>")
    @pages.get("/models/<model>/versions/<int:version>")
    @described(Operation(answer=shapes.InferMetadata, refusals=_NO_MODEL))
    def model_metadata(model: str, version: int | None = None) -> Response:
        """Answer the signature."""
        served = table.find(model, version)
        versions = sorted(table.answering(model).versions)
        return json_response(metadata_document(model, versions, served.predictor.signature))

    @pages.get("/models/<model>/ready")
    @pages.get("/models/<model>/versions/<int:version>/ready")
    @described(Operation(answer=shapes.ModelReady, also=dict.fromkeys(_NO_MODEL, _NOT_READY), refusals=_NO_MODEL))
    def model_ready(model: str, version: int | None = None) -> Response:
        """Answer 200 if the model can be asked."""
        try:
            table.find(model, version)
        except RequestError as error:
            return json_response({"name": model, "ready": False, "error": error.text}, error.status)
        return json_response({"name": model, "ready": True})

    @pages.post("/repository/index")
    @described(Operation(answer=list[shapes.IndexEntry]))
    def index() -> Response:
        """List what is deployed here."""
        slots = table.snapshot.slots
        return json_response([entry for name in sorted(slots) for entry in _entries(slots[name])])

    @pages.post("/repository/models/<model>/load")
    @described(Operation(answer=shapes.Nothing, refusals=_NO_MODEL))
    def load(model: str) -> Response:
        """Open a model in the worker that is asked; which models there are is the registry's to say."""
        table.answering(model)
        return json_response({})

    @pages.post("/repository/models/<model>/unload")
    @described(Operation(answer=shapes.Nothing, refusals=_NO_MODEL))
    def unload(model: str) -> Response:
        """Give back a model's memory in the worker that is asked; the next request opens it again."""
        table.close(model)
        return json_response({})

    return pages


def _entries(slot: Slot) -> list[dict[str, object]]:
    ready = slot.versions
    return [
        {
            "name": slot.wanted.model,
            "version": str(route.version),
            "state": "READY" if route.version in ready else "UNAVAILABLE",
            "reason": "" if route.version in ready else slot.failure or "loading",
        }
        for route in slot.wanted.routes
    ]
