"""Whatever is sent to the control API: a 4xx with a text, never a 500, and no change."""

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from conftest import Merlin

pytestmark = pytest.mark.slow

HUGE = ("0", "2147483648", str(2**63), str(2**64), "9" * 50, "9" * 5000, "-1", "1.5", "x", "%00", "1%2F2")
DEPLOY = ("POST", "/models/1/versions/2/endpoint")
DEPLOY_AGAIN = ("PUT", "/models/1/versions/2/endpoint/2")
ROUTE = ("POST", "/models/1/endpoints")
CHANGE = ("PUT", "/models/1/endpoints/1")
CHANGES = (DEPLOY, DEPLOY_AGAIN, ROUTE, CHANGE)


def rule(**destination: Any) -> dict[str, Any]:
    return {"rule": {"destinations": [{"version_endpoint_id": "2", "weight": 100, **destination}]}}


@pytest.mark.parametrize(("method", "path"), CHANGES)
@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "the body is empty"),
        (b"{", "the body is not JSON"),
        (b"\xff\xfe{}", "the body"),
        (b'{"rule": NaN}', "the body is not JSON"),
        (b"[" * 100_000, "the body"),
        (b"[]", "Expected `object`, got `array`"),
        (b"null", "Expected `object`, got `null`"),
        (b'{"environment_name": 7, "rule": {"destinations": []}}', "environment_name: Expected `str | null`"),
    ],
)
def test_a_body_that_is_none_is_told_why(asked: "Merlin", method: str, path: str, body: bytes, error: str) -> None:
    assert error in asked.refused(method, path, body, status=400)


@pytest.mark.parametrize(
    ("body", "error", "status"),
    [
        ({}, "missing key", 400),
        ({"rule": {"destinations": []}}, "rule.destinations: is empty", 400),
        ({"rule": {"destinations": [{"weight": 100}]}}, "rule.destinations[0]: names no version endpoint", 400),
        (rule(weight="all"), "rule.destinations[0].weight: Expected `float`", 400),
        (rule(weight=99), "the weights add up to 99 %", 400),
        (rule(weight=-100), "weight -100.0 is no share", 400),
        (rule(weight=1e300), "is no share in percent", 400),
        (rule(version_endpoint_id=2), "rule.destinations[0].version_endpoint_id: Expected `str | null`", 400),
        (rule(version_endpoint_id="1b4e28ba"), "expected the id of a version endpoint", 400),
        (rule(version_endpoint_id="9" * 30), "expected the id of a version endpoint", 400),
        (rule(version_endpoint_id="2147483648"), "expected the id of a version endpoint", 400),
        (rule(version_endpoint_id="\N{ARABIC-INDIC DIGIT SEVEN}"), "expected the id of a version endpoint", 400),
        (rule(version_endpoint_id="99"), "version endpoint 99: no such endpoint", 404),
        ({"rule": {**rule()["rule"], "mirror": {"id": "2"}}}, "a version is named twice", 400),
        ({"rule": {**rule()["rule"], "mirror": {}}}, "rule.mirror.id: missing key", 400),
        ({**rule(), "updated_at": "yesterday"}, "updated_at: Invalid RFC3339", 400),
        ({**rule(), "updated_at": "2026-01-01T00:00:00"}, "somebody else changed it", 409),
        ({**rule(), "environment_name": "nowhere"}, "stays in its environment", 400),
    ],
)
def test_a_rule_that_cannot_be_meant_is_told_why(asked: "Merlin", body: object, error: str, status: int) -> None:
    assert error in asked.refused(*CHANGE, body, status=status)
    assert asked.registry.endpoints.get("rater").revision == 1


@pytest.mark.parametrize(
    ("body", "error", "status"),
    [
        ({"status": "sleeping"}, "status: Invalid enum value 'sleeping'", 400),
        ({"env_vars": {}}, "env_vars: Expected `array | null`", 400),
        ({"transformer": {"enabled": "yes"}}, "transformer.enabled: Expected `bool | null`", 400),
        ({"environment_name": "nowhere"}, "nowhere: no such environment", 404),
        ({"environment_name": "\0"}, "cannot name an environment", 400),
    ],
)
def test_a_deployment_that_cannot_be_meant_is_told_why(asked: "Merlin", body: object, error: str, status: int) -> None:
    assert error in asked.refused(*DEPLOY, body, status=status)


@pytest.mark.parametrize("number", HUGE)
def test_an_id_that_no_row_can_have_is_not_found(asked: "Merlin", number: str) -> None:
    for path in (
        f"/projects/{number}",
        f"/projects/1/models/{number}",
        f"/models/{number}/versions",
        f"/models/1/versions/{number}",
        f"/models/1/versions/{number}/endpoint",
        f"/models/1/versions/1/endpoint/{number}",
        f"/models/1/endpoints/{number}",
    ):
        asked.refused("GET", path, status=404)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/projects/7", "project 7: no such project"),
        ("/projects/7/models", "project 7: no such project"),
        ("/projects/1/models/7", "model 7: no such model"),
        ("/models/7/versions", "model 7: no such model"),
        ("/models/1/versions/7", "rater has no version 7"),
        ("/models/1/versions/7/endpoint", "rater has no version 7"),
        ("/models/1/versions/1/endpoint/2", "rater/1 has no endpoint 2"),
        ("/models/1/versions/1/endpoint/7", "version endpoint 7: no such endpoint"),
        ("/models/1/endpoints/7", "model endpoint 7: no such endpoint"),
        ("/nothing", "Not Found"),
    ],
)
def test_what_is_not_there_is_not_found(asked: "Merlin", path: str, error: str) -> None:
    assert error in asked.refused("GET", path, status=404)


@pytest.mark.parametrize(
    "query",
    [
        *({"limit": limit} for limit in ("0", "-1", "x", "1001", "9" * 30, "1.5", "\N{ARABIC-INDIC DIGIT SEVEN}")),
        *({"cursor": cursor} for cursor in ("0", "x", "9" * 30, "1/2")),
        *(
            {"search": search}
            for search in ("x", "labels", "labels:x", "labels:a in", "labels:a in (b", "labels:a in (\0)", "name:x")
        ),
    ],
)
def test_a_page_that_cannot_be_meant_is_told_why(asked: "Merlin", query: dict[str, str]) -> None:
    answer = asked.client.get("/merlin/v1/models/1/versions", query_string=query)
    assert (answer.status_code, list(answer.json)) == (400, ["error"])


def test_a_body_over_the_limit_is_refused(asked: "Merlin") -> None:
    assert "Too Large" in asked.refused(*DEPLOY, b" " * 100_001, status=413)


def test_the_wrong_method_is_told_in_json(asked: "Merlin") -> None:
    assert "Method Not Allowed" in asked.refused("DELETE", "/environments", status=405)


@pytest.mark.parametrize("origin", ["https://example.com", "null", "http://localhost:8500", "http://[", "x"])
def test_a_page_of_another_site_changes_nothing(asked: "Merlin", origin: str) -> None:
    for method, path in (*CHANGES, ("DELETE", "/models/1/endpoints/1")):
        answer = asked.client.open(f"/merlin/v1{path}", method=method, data=b"{}", headers={"Origin": origin})
        assert (answer.status_code, list(answer.json)) == (403, ["error"])
    own = asked.client.put("/merlin/v1/models/1/endpoints/1", data=b"{}", headers={"Origin": "http://localhost"})
    assert own.status_code == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
DESTINATIONS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "version_endpoint_id": JSON,
            "version_endpoint": JSON | st.fixed_dictionaries({"id": JSON}),
            "weight": JSON,
        },
    )
    | JSON,
    max_size=2,
)
RULES = st.fixed_dictionaries({}, optional={"destinations": DESTINATIONS | JSON, "mirror": JSON})
BODIES = st.binary(max_size=100) | (
    JSON | st.fixed_dictionaries({}, optional={"rule": RULES | JSON, "environment_name": JSON, "updated_at": JSON})
).map(lambda body: json.dumps(body).encode())


@settings(max_examples=300)
@given(BODIES)
def test_no_rule_makes_it_fail(asked: "Merlin", body: bytes) -> None:
    for method, path in (ROUTE, CHANGE):
        answer = asked.client.open(f"/merlin/v1{path}", method=method, data=body)
        assert 400 <= answer.status_code < 500, (answer.status_code, answer.text)
        assert list(answer.json) == ["error"]


KEYS = ("environment_name", "protocol", "resource_request", "env_vars", "secrets", "transformer", "logger", "x")


@settings(max_examples=300)
@given(st.fixed_dictionaries({"status": JSON.filter(lambda one: one is not None)}, optional=dict.fromkeys(KEYS, JSON)))
def test_no_deployment_makes_it_fail(asked: "Merlin", body: dict[str, Any]) -> None:
    for method, path in (DEPLOY, DEPLOY_AGAIN):
        answer = asked.client.open(f"/merlin/v1{path}", method=method, data=json.dumps(body))
        assert answer.status_code in {400, 501}, (answer.status_code, answer.text)
        assert list(answer.json) == ["error"]


@settings(max_examples=200)
@given(st.text(max_size=30), st.text(max_size=30))
def test_no_address_makes_it_fail(asked: "Merlin", text: str, query: str) -> None:
    part = quote(text, safe="")
    for path in (f"/projects/{part}", f"/models/{part}/versions", f"/models/1/endpoints/{part}", f"/{part}"):
        answer = asked.client.get(f"/merlin/v1{path}", query_string={"search": query, "name": query, "cursor": query})
        assert answer.status_code in {200, 308, 400, 404, 405}
