"""Version endpoints: versions that are brought to an environment, and taken out of it."""

from http import HTTPStatus

from flask import Blueprint, Response

from serving.control import objects
from serving.control.bodies import ROW, DeployBody, parse_environment, read_body
from serving.control.control import Control
from serving.control.rendering import answer, version_endpoint_object
from serving.openapi.operation import Operation, described
from serving.refusals import BadRequestError
from yarnmill.registry.records import VersionEndpoint

_VERSION = f"/models/<{ROW}:model_id>/versions/<{ROW}:number>/endpoint"
_ENDPOINT = f"{_VERSION}/<{ROW}:endpoint_id>"


def add_deployments(pages: Blueprint, control: Control) -> None:
    """Add the addresses of a version's endpoints."""

    @pages.get(_VERSION)
    @described(Operation(answer=list[objects.VersionEndpoint]))
    def version_endpoints(model_id: int, number: int) -> Response:
        """List a version's endpoints in all environments."""
        model = control.model(model_id).name
        control.registry.versions.get(model, number)
        found = [one for one in control.registry.deployments.find(model) if one.version == number]
        places = control.places()
        return answer([version_endpoint_object(one, places) for one in found])

    @pages.post(_VERSION)
    @described(
        Operation(answer=objects.VersionEndpoint, status=201, body=DeployBody, refusals=(400, 404, 409, 413, 501))
    )
    def deploy(model_id: int, number: int) -> Response:
        """Begin to deploy a version."""
        body = read_body(DeployBody)
        body.check_offered()
        environment = parse_environment(body.environment_name)
        begun = control.deploying.begin(control.model(model_id).name, number, environment)
        return _shown(control, begun, HTTPStatus.CREATED)

    @pages.get(_ENDPOINT)
    @described(Operation(answer=objects.VersionEndpoint))
    def version_endpoint(model_id: int, number: int, endpoint_id: int) -> Response:
        """Answer how far a version is."""
        return _shown(control, control.version_endpoint(model_id, number, endpoint_id))

    @pages.put(_ENDPOINT)
    @described(Operation(answer=objects.VersionEndpoint, body=DeployBody, refusals=(400, 409, 413, 501)))
    def deploy_again(model_id: int, number: int, endpoint_id: int) -> Response:
        """Begin to deploy a version again, or take it out if it is to be terminated."""
        body = read_body(DeployBody)
        body.check_offered()
        endpoint = control.version_endpoint(model_id, number, endpoint_id)
        if body.environment_name not in {None, "", endpoint.environment}:
            raise BadRequestError(
                f"environment_name: {body.environment_name!r}",
                expected=f"{endpoint.environment!r}: an endpoint stays in its environment",
            )
        if body.status == "terminated":
            return _shown(control, _undeploy(control, endpoint))
        return _shown(control, control.deploying.begin(endpoint.model, number, endpoint.environment))

    @pages.delete(_ENDPOINT)
    @described(Operation(answer=objects.VersionEndpoint, refusals=(409,)))
    def undeploy(model_id: int, number: int, endpoint_id: int) -> Response:
        """Take a version out of an environment, unless it serves."""
        return _shown(control, _undeploy(control, control.version_endpoint(model_id, number, endpoint_id)))


def _undeploy(control: Control, endpoint: VersionEndpoint) -> VersionEndpoint:
    return control.registry.deployments.undeploy(endpoint.model, endpoint.version, endpoint.environment)


def _shown(control: Control, endpoint: VersionEndpoint, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return answer(version_endpoint_object(endpoint, control.places()), status)
