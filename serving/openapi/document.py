"""The document itself: every route of an application and every address of a dialect, as OpenAPI 3.1."""

import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from importlib import metadata
from typing import Any, Final, NamedTuple

import msgspec
from flask import Flask

from serving.openapi.operation import JSON, NOTHING, Asking, Operation, Shape, is_for_people, operation_of
from serving.openapi.shapes import Refusal

_CONTROL: Final = "/merlin/v1"
_TOKEN: Final = "token"  # noqa: S105  # a scheme's name
_TAGS: Final = (  # the first whose prefix an address has
    ("/v1", "TensorFlow Serving", "Predictions, status and metadata as TensorFlow Serving has them."),
    ("/v2", "Open Inference Protocol", "What Triton's and KServe's clients speak, version 2."),
    ("/mlflow", "MLflow scoring", "Each model as MLflow's scoring server has one."),
    ("/merlin/models", "Merlin's predictions", "What Merlin's clients ask a model's endpoint."),
    (_CONTROL, "Merlin's control API", "Projects, models, versions, and which of them answer."),
    ("", "The tier", "Health, metrics and this document."),
    (None, "Not offered", "What Merlin has and there is otherwise: each says what there is instead."),
)
_MEANINGS: Final[Mapping[str, str]] = {
    "model": "Name of a model.",
    "version": "Number of a version.",
    "number": "Number of a version.",
    "label": "`stable`: the version with the largest share; `canary`: the next one.",
    "project_id": "Id of a project.",
    "model_id": "Id of a model.",
    "endpoint_id": "Id of an endpoint.",
}
_VARIABLE: Final = re.compile(r"<(?:(?P<kind>int)(?:\(max=(?P<most>\d+)\))?:)?(?P<name>\w+)>")
_OTHERS: Final = frozenset({"HEAD", "OPTIONS"})


class _Entry(NamedTuple):
    rule: str
    method: str
    summary: str
    description: str
    operation: Operation

    @property
    def path(self) -> str:
        return _VARIABLE.sub(lambda found: f"{{{found['name']}}}", self.rule)

    @property
    def is_control(self) -> bool:
        return self.rule.startswith(_CONTROL)

    @property
    def tag_number(self) -> int:
        if self.operation.status == HTTPStatus.NOT_IMPLEMENTED:
            return len(_TAGS) - 1
        return next(number for number, (prefix, *_) in enumerate(_TAGS) if self.rule.startswith(prefix or ""))


def document(app: Flask, askings: Iterable[Asking], *, has_tokens: bool) -> dict[str, Any]:
    """Return the document.

    Parameters
    ----------
    app
        Its routes.
    askings
        The addresses that are answered in front of it.
    has_tokens
        Whether the control API needs a token.
    """
    entries = sorted([*_of_routes(app), *_of_dialects(askings)], key=lambda one: (one.tag_number, one.path))
    shapes = _Shapes([one.operation for one in entries])
    paths: dict[str, dict[str, object]] = {}
    for entry in entries:
        item = paths.setdefault(entry.path, {"parameters": _path_parameters(entry.rule)})
        item[entry.method.lower()] = _operation(entry, shapes, needs_token=has_tokens and entry.is_control)
    used = {one.tag_number for one in entries}
    schemes = {_TOKEN: {"type": "http", "scheme": "bearer", "description": "Of `yarnmill serving token new`."}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "YarnMill's serving tier",
            "version": metadata.version("yarnmill"),
            "description": "Models over REST, in the words of the clients that people already have.",
        },
        "tags": [{"name": _TAGS[n][1], "description": _TAGS[n][2]} for n in sorted(used)],
        "paths": paths,
        "components": {"schemas": shapes.components, **({"securitySchemes": schemes} if has_tokens else {})},
    }


def _of_routes(app: Flask) -> Iterator[_Entry]:
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if is_for_people(view):
            continue
        operation = operation_of(view)
        if operation is None:
            raise TypeError(f"{rule.rule}: {view.__qualname__} is not described")
        summary, _, rest = (view.__doc__ or "").partition("\n")
        for method in sorted((rule.methods or set()) - _OTHERS):
            yield _Entry(rule.rule, method, summary.strip(), " ".join(rest.split()), operation)


def _of_dialects(askings: Iterable[Asking]) -> Iterator[_Entry]:
    for one in askings:
        for address in one.addresses:
            yield _Entry(address, "POST", one.summary, "", one.operation)


class _Shapes:
    """The schemas of all types that operations name."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        kinds: list[Any] = [Refusal]
        for one in operations:
            for shape in (one.answer, one.body, *one.also.values()):
                kinds += [kind for kind in _kinds(shape) if kind not in kinds]
        template = "#/components/schemas/{name}"
        schemas, self.components = msgspec.json.schema_components(kinds, ref_template=template)
        self._of = list(zip(kinds, schemas, strict=True))

    def schema(self, shape: Shape) -> dict[str, Any]:
        """Return the schema of a shape."""
        found = [next(schema for kind, schema in self._of if kind == wanted) for wanted in _kinds(shape)]
        return found[0] if len(found) == 1 else {"anyOf": found}

    def answer(self, meaning: str, shape: Shape, media_type: str) -> dict[str, Any]:
        """Return an answer."""
        if media_type == NOTHING:
            return {"description": meaning}
        if shape is not None:
            content = {"schema": self.schema(shape)}
        else:  # MLflow's servers answer a ping with a line that is no JSON, and call it so
            content = {} if media_type == JSON else {"schema": {"type": "string"}}
        return {"description": meaning, "content": {media_type: content}}


def _kinds(shape: Shape) -> tuple[Any, ...]:
    if shape is None:
        return ()
    return shape if isinstance(shape, tuple) else (shape,)


def _operation(entry: _Entry, shapes: _Shapes, *, needs_token: bool) -> dict[str, object]:
    one = entry.operation
    answers = {one.status: shapes.answer(HTTPStatus(one.status).phrase, one.answer, one.media_type)}
    refused = {*one.refusals, *(_refusals_of_control(entry, needs_token=needs_token) if entry.is_control else ())}
    for status in sorted(refused):
        answers[status] = shapes.answer(HTTPStatus(status).phrase, one.also.get(status, Refusal), JSON)
    changes = entry.method != "GET"
    described: dict[str, object] = {
        "tags": [_TAGS[entry.tag_number][1]],
        "summary": entry.summary,
        "operationId": re.sub(r"\W+", "_", f"{entry.method.lower()}_{entry.path}").strip("_"),
        "responses": {str(status): answer for status, answer in answers.items()},
    }
    told = [entry.description] if entry.description else []
    if needs_token:
        told.append(f"Needs the role {one.role if changes else 'reader'}.")
        described["security"] = [{_TOKEN: []}]
    if told:
        described["description"] = " ".join(told)
    if one.query or one.headers:
        described["parameters"] = [
            {"name": name, "in": place, "description": meaning, "schema": {"type": "string"}}
            for place, found in (("query", one.query), ("header", one.headers))
            for name, meaning in found.items()
        ]
    if one.body is not None and changes:
        content = {JSON: {"schema": shapes.schema(one.body)}, **{other: {} for other in one.bodies}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _refusals_of_control(entry: _Entry, *, needs_token: bool) -> set[int]:
    # 503 is what a registry that does not answer comes to, 403 what a page of another site asks for.
    found = {403, 503} | ({401} if needs_token else set())
    return found | ({404} if "<" in entry.rule else set())


def _path_parameters(rule: str) -> list[dict[str, object]]:
    return [
        {
            "name": found["name"],
            "in": "path",
            "required": True,
            "description": _MEANINGS.get(found["name"], f"Id of a {found['name'].removesuffix('_id')}."),
            "schema": _schema_of_variable(found["kind"], found["most"]),
        }
        for found in _VARIABLE.finditer(rule)
    ]


def _schema_of_variable(kind: str | None, most: str | None) -> dict[str, object]:
    if kind is None:
        return {"type": "string", "minLength": 1, "pattern": "^[^/]+$"}
    return {"type": "integer", "minimum": 0, **({"maximum": int(most)} if most else {})}
