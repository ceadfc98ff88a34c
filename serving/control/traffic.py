"""Model endpoints: which versions answer for a model, by a rule that changes as a whole."""

from collections.abc import Iterable
from http import HTTPStatus

from flask import Blueprint, Response

from serving.control import objects
from serving.control.bodies import ROW, DestinationBody, RouteBody, RuleBody, parse_environment, parse_id, read_body
from serving.control.control import Control
from serving.control.rendering import answer, model_endpoint_object, model_object
from serving.openapi.operation import Operation, described
from serving.refusals import BadRequestError
from yarnmill.errors import ConflictError
from yarnmill.records import convert
from yarnmill.registry import Rule
from yarnmill.registry.records import Model, ModelEndpoint

_MODEL = f"/models/<{ROW}:model_id>/endpoints"
_ENDPOINT = f"{_MODEL}/<{ROW}:endpoint_id>"


def add_traffic(pages: Blueprint, control: Control) -> None:
    """Add the addresses of model endpoints.

    One that was stopped stands in no list: clients change the rule of what they find there, and its rule is empty.
    """

    @pages.get(f"/projects/<{ROW}:project_id>/model_endpoints")
    @described(Operation(answer=list[objects.ModelEndpoint]))
    def of_project(project_id: int) -> Response:
        """List what answers for the models of a project."""
        name = control.registry.projects.with_id(project_id).name
        found = [one for one in control.registry.endpoints.everywhere(project=name) if one.rule.destinations]
        models = [one for one in control.registry.versions.models(name) if one.name in {each.model for each in found}]
        shown = [_objects(control, one, [each for each in found if each.model == one.name]) for one in models]
        return answer([one for of_model in shown for one in of_model])

    @pages.get(_MODEL)
    @described(Operation(answer=list[objects.ModelEndpoint]))
    def of_model(model_id: int) -> Response:
        """List what answers for a model, in all environments."""
        model = control.model(model_id)
        found = control.registry.endpoints.everywhere(model=model.name)
        return answer(_objects(control, model, [one for one in found if one.rule.destinations]))

    @pages.post(_MODEL)
    @described(Operation(answer=objects.ModelEndpoint, status=201, body=RouteBody, refusals=(400, 409, 413)))
    def serve(model_id: int) -> Response:
        """Let versions answer for a model where none does."""
        body, model = read_body(RouteBody), control.model(model_id)
        environment = control.registry.environments.get(parse_environment(body.environment_name)).name
        present = control.registry.endpoints.present(model.name, environment)
        if present is not None and present.rule.destinations:
            raise ConflictError(
                f"{model.name} in {environment} is answered for already: {present.rule}",
                mend=f"change its endpoint, which is {present.id}",
            )
        rule, revision = _rule(control, body.rule, model, environment), present.revision if present else 0
        made = control.registry.endpoints.route(model.name, rule, environment, expected=revision)
        return answer(_objects(control, model, [made])[0], HTTPStatus.CREATED)

    @pages.get(_ENDPOINT)
    @described(Operation(answer=objects.ModelEndpoint))
    def model_endpoint(model_id: int, endpoint_id: int) -> Response:
        """Answer one model endpoint, stopped or not."""
        model, endpoint = control.endpoint(model_id, endpoint_id)
        return answer(_objects(control, model, [endpoint])[0])

    @pages.put(_ENDPOINT)
    @described(Operation(answer=objects.ModelEndpoint, body=RouteBody, refusals=(400, 409, 413)))
    def change(model_id: int, endpoint_id: int) -> Response:
        """Let another rule say which versions answer, if the endpoint is still the one that the client saw."""
        body, (model, endpoint) = read_body(RouteBody), control.endpoint(model_id, endpoint_id)
        if body.environment_name not in {None, "", endpoint.environment}:
            raise BadRequestError(
                f"environment_name: {body.environment_name!r}",
                expected=f"{endpoint.environment!r}: an endpoint stays in its environment",
            )
        if body.updated_at not in {None, endpoint.changed_at}:
            raise ConflictError(
                f"endpoint {endpoint_id} was changed at {endpoint.changed_at.isoformat()}: somebody else changed it",
                mend="get it again and decide again",
            )
        rule, expected = _rule(control, body.rule, model, endpoint.environment), endpoint.revision
        changed = control.registry.endpoints.route(
            model.name, rule, endpoint.environment, expected=None if body.updated_at is None else expected
        )
        return answer(_objects(control, model, [changed])[0])

    @pages.delete(_ENDPOINT)
    @described(Operation(answer=objects.ModelEndpoint, refusals=(409,)))
    def stop(model_id: int, endpoint_id: int) -> Response:
        """Let nothing answer for a model in an environment; its versions run on."""
        model, endpoint = control.endpoint(model_id, endpoint_id)
        stopped = control.registry.endpoints.stop(model.name, endpoint.environment)
        return answer(_objects(control, model, [stopped])[0])


def _objects(control: Control, model: Model, endpoints: Iterable[ModelEndpoint]) -> list[objects.ModelEndpoint]:
    # In this order: whatever a rule names is there by now, and so is every environment.
    versions, places = control.registry.deployments.find(model.name), control.places()
    shown = model_object(model, control.registry.projects.get(model.project).id)
    return [model_endpoint_object(one, shown, versions, places) for one in endpoints]


def _rule(control: Control, body: RuleBody, model: Model, environment: str) -> Rule:
    def version(endpoint_id: str, path: str) -> int:
        endpoint = control.registry.deployments.with_id(parse_id(endpoint_id, path))
        if (endpoint.model, endpoint.environment) != (model.name, environment):
            raise BadRequestError(
                f"{path}: {endpoint_id} is {endpoint.model}/{endpoint.version} in {endpoint.environment}",
                expected=f"a version of {model.name} in {environment}",
            )
        return endpoint.version

    if not body.destinations:
        raise BadRequestError(
            "rule.destinations: is empty", expected="one destination or more; DELETE stops an endpoint"
        )
    destinations = [
        {"version": version(_named(one, path), path), "weight": one.weight}
        for one, path in ((one, f"rule.destinations[{index}]") for index, one in enumerate(body.destinations))
    ]
    mirror = None if body.mirror is None else version(body.mirror.id, "rule.mirror")
    return convert({"destinations": destinations, "mirror": mirror}, Rule, source="rule")


def _named(destination: DestinationBody, path: str) -> str:
    if destination.version_endpoint_id is not None:
        return destination.version_endpoint_id
    if destination.version_endpoint is not None:
        return destination.version_endpoint.id
    raise BadRequestError(f"{path}: names no version endpoint", expected="a version_endpoint_id")
