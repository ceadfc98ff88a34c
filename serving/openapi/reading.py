"""The document as a page shows it: sections of operations, types in words with links to where they are described."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from serving.openapi.operation import NOTHING

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_WORDS: Final = {
    "boolean": "true or false",
    "integer": "whole number",
    "null": "null",
    "number": "number",
    "object": "object",
    "string": "text",
}


class ShownParameter(NamedTuple):
    """A parameter of an operation."""

    name: str
    place: str
    type: Markup
    meaning: str


class ShownContent(NamedTuple):
    """A body or an answer; its media type, and its status."""

    type: Markup
    media_type: str
    status: str = ""


class ShownOperation(NamedTuple):
    """An operation."""

    id: str
    address: str
    text: str
    parameters: list[ShownParameter]
    bodies: list[ShownContent]
    answers: list[ShownContent]
    refusals: str


class ShownSection(NamedTuple):
    """The operations of a tag."""

    name: str
    text: str
    operations: list[ShownOperation]


def sections(document: dict[str, Any]) -> list[ShownSection]:
    """Return the operations of a document, tag by tag."""
    found = list(_operations(document))
    return [
        ShownSection(tag["name"], tag["description"], [one for name, one in found if name == tag["name"]])
        for tag in document["tags"]
    ]


def type_text(schema: dict[str, Any]) -> Markup:
    """Return a schema in words: ``list of Project``, ``text or null``; a name links to its description."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return Markup('<a href="#shape-{0}">{0}</a>').format(name)
    if "anyOf" in schema:
        return Markup(" or ").join(type_text(one) for one in schema["anyOf"])
    if "enum" in schema:
        return Markup(" or ").join(Markup("<code>{}</code>").format(one) for one in schema["enum"])
    kind = schema.get("type")
    inner = schema.get("items" if kind == "array" else "additionalProperties")
    within = type_text(inner) if isinstance(inner, dict) else Markup("anything")
    if kind == "array":
        return Markup("list of {}").format(within)
    if kind == "object" and isinstance(inner, dict):
        return Markup("object of {}").format(within)
    return Markup("moment" if schema.get("format") == "date-time" else _WORDS.get(str(kind), "anything"))  # noqa: S704  # our words


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, ShownOperation]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield item[method]["tags"][0], _shown(method, path, item[method], item["parameters"])


def _shown(method: str, path: str, one: dict[str, Any], of_path: list[dict[str, Any]]) -> ShownOperation:
    refused = [status for status in one["responses"] if int(status) >= HTTPStatus.BAD_REQUEST]
    body = one.get("requestBody", {"content": {}})
    return ShownOperation(
        id=one["operationId"],
        address=f"{method.upper()} {path}",
        text=" ".join(filter(None, (one["summary"], one.get("description", "")))),
        parameters=[
            ShownParameter(each["name"], each["in"], type_text(each["schema"]), each["description"])
            for each in (*of_path, *one.get("parameters", ()))
        ],
        bodies=_contents(body["content"]),
        answers=[
            content
            for status, answer in one["responses"].items()
            if status not in refused
            for content in _contents(answer.get("content", {}), status)
            or [ShownContent(Markup("nothing"), NOTHING, status)]
        ],
        refusals=", ".join(f"{status} {HTTPStatus(int(status)).phrase}" for status in refused),
    )


def _contents(content: dict[str, Any], status: str = "") -> list[ShownContent]:
    return [ShownContent(type_text(each.get("schema", {})), media, status) for media, each in content.items()]
