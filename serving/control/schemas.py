"""Model schemas as Merlin's clients keep them."""

from http import HTTPStatus
from typing import Final

from flask import Blueprint, Response

from serving.control import objects
from serving.control.bodies import ROW, SchemaBody, read_body
from serving.control.control import Control
from serving.control.rendering import answer, nothing
from serving.openapi.operation import NOTHING, Operation, described
from yarnmill.registry.records import ModelSchema

_SCHEMAS: Final = f"/models/<{ROW}:model_id>/schemas"
_SCHEMA: Final = f"{_SCHEMAS}/<{ROW}:schema_id>"


def add_schemas(pages: Blueprint, control: Control) -> None:
    """Add the addresses of model schemas."""

    @pages.get(_SCHEMAS)
    @described(Operation(answer=list[objects.ModelSchema]))
    def schemas(model_id: int) -> Response:
        """List a model's schemas."""
        found = control.registry.schemas.find(control.model(model_id).name)
        return answer([_object(model_id, one) for one in found])

    @pages.put(_SCHEMAS)
    @described(Operation(answer=objects.ModelSchema, body=SchemaBody, refusals=(400, 413)))
    def put_schema(model_id: int) -> Response:
        """Make a schema, or change the one whose `id` the body has."""
        body, model = read_body(SchemaBody), control.model(model_id).name
        kept = control.registry.schemas
        put = kept.update(model, body.id, body.spec) if body.id else kept.create(model, body.spec)
        return answer(_object(model_id, put))

    @pages.get(_SCHEMA)
    @described(Operation(answer=objects.ModelSchema))
    def schema(model_id: int, schema_id: int) -> Response:
        """Answer one schema."""
        return answer(_object(model_id, control.registry.schemas.get(control.model(model_id).name, schema_id)))

    @pages.delete(_SCHEMA)
    @described(Operation(status=HTTPStatus.NO_CONTENT, media_type=NOTHING))
    def delete_schema(model_id: int, schema_id: int) -> Response:
        """Take a schema away."""
        control.registry.schemas.delete(control.model(model_id).name, schema_id)
        return nothing()


def _object(model_id: int, schema: ModelSchema) -> objects.ModelSchema:
    return objects.ModelSchema(id=schema.id, model_id=model_id, spec=schema.spec)
