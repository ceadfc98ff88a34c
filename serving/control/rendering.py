"""Records of the registry as Merlin's objects."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

import msgspec
from flask import Response

from serving.control import objects
from serving.control.control import Place
from yarnmill.bundle.manifest import Flavour
from yarnmill.registry.records import Model, ModelEndpoint, ModelVersion, Project, VersionEndpoint

_TYPES: Final[Mapping[Flavour, objects.ModelType]] = {
    "xgboost": "xgboost",
    "tensorflow": "tensorflow",
    "sklearn": "sklearn",
    "torch": "pytorch",
    "python": "pyfunc",
}
"""Every other flavour is a custom model to Merlin's clients."""

_OF_VERSION: Final = (
    *("bundle_id", "flavour", "metrics", "run_id", "application_id", "inputs", "code_version", "parent", "created_by"),
    *("retired_at",),
)
"""What Merlin has no field for stands among a version's properties."""


def answer(found: objects.MerlinObject | Sequence[objects.MerlinObject | str], status: int = HTTPStatus.OK) -> Response:
    """Return an object, or a list, as an answer."""
    return Response(msgspec.json.encode(found), status=status, mimetype="application/json")


def nothing() -> Response:
    """Return the answer that something is done, and that there is nothing to say of it."""
    response = Response(status=HTTPStatus.NO_CONTENT)
    del response.headers["Content-Type"]
    return response


def project_object(project: Project) -> objects.Project:
    """Return a project."""
    return objects.Project(
        id=project.id,
        name=project.name,
        team=project.team,
        administrators=project.administrators,
        readers=project.readers,
        labels=[objects.Label(key=key, value=value) for key, value in project.labels.items()],
        created_at=project.created_at,
    )


def model_object(model: Model, project_id: int) -> objects.Model:
    """Return a model."""
    return objects.Model(
        id=model.id,
        project_id=project_id,
        name=model.name,
        type=_TYPES.get(model.flavour, "custom"),
        created_at=model.created_at,
    )


def version_object(version: ModelVersion, model: Model, endpoints: list[objects.VersionEndpoint]) -> objects.Version:
    """Return a version with its endpoints."""
    return objects.Version(
        id=version.version,
        model_id=model.id,
        endpoints=endpoints,
        labels=version.labels,
        properties={name: getattr(version, name) for name in _OF_VERSION},
        created_at=version.created_at,
        mlflow_run_id=version.tracking_run_id,
    )


def version_endpoint_object(endpoint: VersionEndpoint, places: Mapping[str, Place]) -> objects.VersionEndpoint:
    """Return a version endpoint."""
    place = places[endpoint.environment]
    address = f"{place.url}/v1/models/{endpoint.model}/versions/{endpoint.version}"
    return objects.VersionEndpoint(
        id=str(endpoint.id),
        version_id=endpoint.version,
        status=endpoint.status,
        message=endpoint.message,
        environment_name=endpoint.environment,
        environment=place.environment,
        resource_request=place.environment.default_resource_request,
        created_at=endpoint.created_at,
        updated_at=endpoint.changed_at,
        # A tier opens the versions that a rule names, and no others.
        url=address if place.url and endpoint.status == "serving" else None,
        deployment_mode="raw_deployment",
        protocol="HTTP_JSON",
    )


def model_endpoint_object(
    endpoint: ModelEndpoint, model: objects.Model, versions: Iterable[VersionEndpoint], places: Mapping[str, Place]
) -> objects.ModelEndpoint:
    """Return a model endpoint; ``versions`` are those of its model in all environments, read after it."""
    place = places[endpoint.environment]
    here = {one.version: one for one in versions if one.environment == endpoint.environment}

    def version(number: int) -> objects.VersionEndpoint:
        return version_endpoint_object(here[number], places)

    rule = endpoint.rule
    return objects.ModelEndpoint(
        id=endpoint.id,
        model_id=model.id,
        model=model,
        status="serving" if rule.destinations else "terminated",
        rule=objects.Rule(
            destinations=[
                objects.Destination(
                    version_endpoint_id=str(here[one.version].id),
                    version_endpoint=version(one.version),
                    weight=round(one.weight),
                )
                for one in rule.destinations
            ],
            mirror=None if rule.mirror is None else version(rule.mirror),
        ),
        environment_name=endpoint.environment,
        environment=place.environment,
        protocol="HTTP_JSON",
        updated_at=endpoint.changed_at,
        # Merlin's clients ask for predictions at this address and `/v1/predict`.
        url=f"{place.url}/merlin/models/{endpoint.model}" if place.url and rule.destinations else None,
    )
