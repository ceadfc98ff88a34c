"""The tier against its own document, with whatever schemathesis makes of it: no 5xx, no answer that is not in it.

What is drawn is always the same, and bounded: some requests for each operation, half of them as the document has them
and half of them not. Ids and names are drawn from few, so that most of them are there.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

if TYPE_CHECKING:
    from conftest import Merlin

pytestmark = pytest.mark.slow

EXAMPLES = 6
CHECKED = [status_code_conformance, content_type_conformance, response_schema_conformance]
DRAWN: dict[str, list[Any]] = {
    "model": ["rater", "nobody"],
    "version": [1, 2, 7],
    "number": [1, 2, 7],
    "label": ["stable", "canary"],
    "model_id": [1, 7, 2**31 - 1],
    "project_id": [1, 7],
    "endpoint_id": [1, 2, 7],
    "schema_id": [1, 7],
    "job_id": [1, 2, 7],
    "prediction_job_id": ["1", "7", "one"],
    "cluster": ["production", "moon"],
    "namespace": ["default", "films"],
    "component_type": ["model", "pdb", "mood"],
    "model_name": ["", "rater", "nobody"],
    "version_id": ["1", "7", "one"],
}
ROW: dict[str, Any] = {
    "type": "object",
    "properties": {
        "user_id": {"type": "integer", "minimum": 0, "maximum": 1000},
        "features": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"enum": [0.5, -1, 3]}},
    },
    "required": ["user_id", "features"],
    "additionalProperties": False,
}


def narrowed(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document whose ids, names and rows are mostly those that there are."""
    for item in document["paths"].values():
        for part in item.values():
            for parameter in part if isinstance(part, list) else part.get("parameters", ()):
                if parameter["name"] in DRAWN:
                    parameter["schema"] = {"enum": DRAWN[parameter["name"]]}
    shapes = document["components"]["schemas"]
    for shape, key in (("ByRow", "instances"), ("OfInstances", "instances"), ("Examples", "examples")):
        shapes[shape]["properties"][key]["items"] = {"anyOf": [ROW, {}]}
    shapes["DestinationBody"]["properties"]["version_endpoint_id"] = {"enum": ["1", "2", "7"]}
    for shape in ("SourceBody", "SinkBody"):
        shapes[shape]["properties"]["uri"] = {"enum": ["rows", "../rows"]}
    shapes["ProjectBody"]["properties"]["name"] = {"enum": ["drawn", "drawn-too"]}
    shapes["ProjectBody"]["required"] = ["name"]
    return document


def asked_of(operation: Any, mode: GenerationMode, token: str) -> set[int]:
    """Ask an operation whatever is drawn for it; return the statuses that it answered."""
    declared = {int(status) for status in operation.definition.raw["responses"]}
    statuses: set[int] = set()

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Case) -> None:
        answer = case.call(headers={"Authorization": f"Bearer {token}"})
        statuses.add(answer.status_code)
        assert answer.status_code < 500 or (answer.status_code == 501 and 501 in declared), answer.text
        case.validate_response(answer, checks=CHECKED)

    with suppress(Unsatisfiable):  # what takes nothing cannot be asked wrongly
        ask()
    return statuses


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_the_tier_answers_as_its_document_says(fuzzed: "tuple[Merlin, str]", mode: GenerationMode) -> None:
    merlin, token = fuzzed
    document: Any = merlin.client.get("/openapi.json").json
    schema = schemathesis.openapi.from_dict(narrowed(document))
    schema.app = merlin.client.application
    schema.validate()
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 90
    statuses = set[int]().union(*(asked_of(operation, mode, token) for operation in operations))
    wanted = {200, 201, 400, 404, 409, 501} if mode == GenerationMode.POSITIVE else {400, 404}
    assert statuses >= wanted
