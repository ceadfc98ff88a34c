"""The versions of a model, by pages and labels."""

import re
from typing import Final

from flask import Blueprint, Response, request

from serving.control import objects
from serving.control.bodies import ROW
from serving.control.control import Control
from serving.control.rendering import answer, version_endpoint_object, version_object
from serving.openapi.operation import Operation, described
from serving.refusals import BadRequestError
from yarnmill.registry.records import Model, ModelVersion
from yarnmill.registry.search import Query

_MOST_LISTED: Final = 1000
_LIMIT: Final = re.compile(r"[1-9][0-9]{0,3}")
_LABELS: Final = re.compile(r"\s*labels:\s*(?P<choices>.*)", re.DOTALL)
_CHOICE: Final = re.compile(r"\s*(?P<key>[^\s,()]+)\s+in\s+\((?P<values>[^()]*)\)\s*(?:,|$)")

_QUERY: Final = {
    "limit": f"How many at most, up to {_MOST_LISTED}; without it all.",
    "cursor": "What the page before had as its header `Next-Cursor`.",
    "search": "Labels, as `labels: stage in (trial, final), team in (a)`.",
}


def add_versions(pages: Blueprint, control: Control) -> None:
    """Add the addresses that read versions."""

    @pages.get(f"/models/<{ROW}:model_id>/versions")
    @described(Operation(answer=list[objects.Version], query=_QUERY, refusals=(400,)))
    def versions(model_id: int) -> Response:
        """List versions, newest first: all of them, or ``limit`` after ``cursor``; ``search`` names labels."""
        model, limit = control.model(model_id), _limit()
        query = Query(
            model=model.name,
            label_choices=parse_search(request.args.get("search", "")),
            before=f"{model.name}/{request.args['cursor']}" if request.args.get("cursor") else None,
            limit=(limit or model.versions) + 1,  # one more tells whether there is another page
        )
        found = control.registry.search.versions(query)
        page = found[:limit]
        response = answer(_with_endpoints(control, model, page))
        if len(found) > len(page):
            response.headers["Next-Cursor"] = str(page[-1].version)
        return response

    @pages.get(f"/models/<{ROW}:model_id>/versions/<{ROW}:number>")
    @described(Operation(answer=objects.Version))
    def version(model_id: int, number: int) -> Response:
        """Answer one version."""
        model = control.model(model_id)
        return answer(_with_endpoints(control, model, [control.registry.versions.get(model.name, number)])[0])


def parse_search(text: str) -> dict[str, tuple[str, ...]]:
    """Return the labels that a search is for and the values that each may have.

    Raises
    ------
    BadRequestError
        If it is none like ``labels: stage in (trial, final), team in (a)``.
    """
    if not text.strip():
        return {}
    found = None if "\0" in text else _LABELS.fullmatch(text)  # which PostgreSQL has no place for
    rest = None if found is None else found["choices"].strip()
    choices: dict[str, tuple[str, ...]] = {}
    while rest:
        choice = _CHOICE.match(rest)
        if choice is None:
            rest = None
            break
        choices[choice["key"]] = tuple(value.strip() for value in choice["values"].split(","))
        rest = rest[choice.end() :]
    if rest is None:
        raise BadRequestError(f"search: {text[:100]!r}", expected="labels: key in (value, value), key in (value)")
    return choices


def _limit() -> int | None:
    text = request.args.get("limit", "")
    if text and not (_LIMIT.fullmatch(text) and int(text) <= _MOST_LISTED):
        raise BadRequestError(f"limit: {text[:40]!r}", expected=f"a number from 1 to {_MOST_LISTED}")
    return int(text) if text else None


def _with_endpoints(control: Control, model: Model, versions: list[ModelVersion]) -> list[objects.Version]:
    endpoints = control.registry.deployments.find(model.name)
    places = control.places()
    of = {
        one.version: [version_endpoint_object(each, places) for each in endpoints if each.version == one.version]
        for one in versions
    }
    return [version_object(one, model, of[one.version]) for one in versions]
