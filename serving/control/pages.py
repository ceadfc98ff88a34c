"""All addresses of the control API, and what its errors answer."""

import logging
from http import HTTPStatus
from typing import Final

from flask import Blueprint, Response, current_app, request

from serving.control.access import Access, current_token
from serving.control.alerts import add_alerts
from serving.control.control import Control
from serving.control.deployments import add_deployments
from serving.control.jobs import add_jobs
from serving.control.logs import add_logs
from serving.control.projects import add_projects
from serving.control.schemas import add_schemas
from serving.control.simulating import add_simulation
from serving.control.sites import refuse_other_sites
from serving.control.traffic import add_traffic
from serving.control.unoffered import add_unoffered
from serving.control.versions import add_versions
from serving.openapi.operation import operation_of
from serving.refusals import RequestError, UnauthorizedError, error_text
from serving.responses import json_response
from serving.transformer.lookups import Snapshots
from yarnmill.errors import (
    ClusterUnavailableError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    YarnMillError,
)

_STATUSES: Final[tuple[tuple[type[YarnMillError], HTTPStatus], ...]] = (
    (ConfigurationError, HTTPStatus.BAD_REQUEST),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (ClusterUnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
)
_log = logging.getLogger(__name__)


def control_pages(control: Control, access: Access, snapshots: Snapshots) -> Blueprint:
    """Return the routes below ``/merlin/v1``: the rest of ``/v1`` is TensorFlow Serving's.

    Parameters
    ----------
    control
        What they act on.
    access
        Judges each request first.
    snapshots
        Gives the snapshots that are deployed: what a simulated transformer looks into.
    """
    pages = Blueprint("merlin", __name__, url_prefix="/merlin/v1")
    add_projects(pages, control, access)
    add_versions(pages, control)
    add_deployments(pages, control)
    add_traffic(pages, control)
    add_alerts(pages, control)
    add_jobs(pages, control)
    add_logs(pages, control, access)
    add_schemas(pages, control)
    add_simulation(pages, snapshots)
    add_unoffered(pages)
    pages.before_request(lambda: refuse_other_sites(is_open=access.is_open))
    pages.before_request(lambda: _judge(control, access))
    pages.register_error_handler(YarnMillError, _refused)
    return pages


def _judge(control: Control, access: Access) -> None:
    operation = operation_of(current_app.view_functions[request.endpoint or ""])
    access.require_role("administrator" if operation is None else operation.role)
    token, ids = current_token(), request.view_args or {}
    if token is None or token.is_for_all:
        return
    if "project_id" in ids:
        access.require_project(control.registry.projects.with_id(ids["project_id"]).name)
    if "model_id" in ids:
        access.require_project(control.model(ids["model_id"]).project)


def _refused(error: YarnMillError) -> Response:
    status = status_of(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s", error_text(error))
    response = json_response({"error": error_text(error)}, status)
    if isinstance(error, UnauthorizedError):
        response.headers["WWW-Authenticate"] = error.challenge
    return response


def status_of(error: YarnMillError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, RequestError):
        return error.status
    found = (status for kind, status in _STATUSES if isinstance(error, kind))
    return next(found, HTTPStatus.INTERNAL_SERVER_ERROR)
