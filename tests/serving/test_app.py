"""Every address of the tier, in one process: what it answers, and that no body whatever makes it fail."""

import json
from typing import TYPE_CHECKING, Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.models import ModelTable

if TYPE_CHECKING:
    from conftest import Platform

ROW: dict[str, Any] = {"user_id": 7, "features": [1.0, 2.0]}
PREDICT = "/v1/models/rater:predict"


def error_of(client: FlaskClient, body: bytes | str, status: int = 400, address: str = PREDICT) -> str:
    answer = client.post(address, data=body)
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/json"
    assert list(answer.json) == ["error"]
    error: str = answer.json["error"]
    return error


def test_rows_and_columns_answer_in_their_own_form(rater: FlaskClient) -> None:
    rows = rater.post(PREDICT, json={"signature_name": "serving_default", "instances": [ROW, ROW]})
    assert rows.json == {"predictions": [10.5, 10.5]}
    columns = rater.post(PREDICT, json={"inputs": {"user_id": [7, 8], "features": [[1, 2], [1, 2]]}})
    assert columns.json == {"outputs": [10.5, 11.5]}


def test_any_content_type_is_taken_as_json(rater: FlaskClient) -> None:
    body = json.dumps({"instances": [ROW]})
    for content_type in (None, "text/plain", "application/x-www-form-urlencoded"):
        assert rater.post(PREDICT, data=body, content_type=content_type).json == {"predictions": [10.5]}


def test_a_version_has_an_address_of_its_own(rater: FlaskClient) -> None:
    assert rater.post("/v1/models/rater/versions/1:predict", json={"instances": [ROW]}).status_code == 200
    for version in ("2", "-1", "one", "1" * 30, ""):
        assert rater.post(f"/v1/models/rater/versions/{version}:predict", json={"instances": [ROW]}).status_code == 404


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", "the body is empty"),
        ("{", "not JSON"),
        ("[1]", "the body is a list of 1"),
        ("null", "the body is null"),
        (b"\xff\xfe", "not UTF-8"),
        ("[" * 2000 + "]" * 2000, "nested too deep"),
        (
            '{"instances": [{"user_id": 1, "features": [NaN, 1]}]}',
            "instances[0].features[0]: is nan; expected a finite",
        ),
        (
            '{"inputs": {"user_id": [1], "features": [[1, -Infinity]]}}',
            "inputs.features[0][1]: is -inf; expected a finite",
        ),
        ('{"instances": [{"user_id": NaN, "features": [1, 1]}]}', "instances[0].user_id: is nan; expected an integer"),
        ('{"ä": "ä", "instances": [Infinity}', "not JSON"),
        ("NaN" + "[" * 2000, "not JSON"),
        ('{"\\ud800": NaN}', "\\ud800: unknown key"),
        ('{"instances": ' + "[" * 1200 + "NaN" + "]" * 1200 + "}", "nested too deep"),
        ('{"instances": [1e999]}', "not JSON"),
        ("{}", "neither instances nor inputs"),
        ('{"instances": [], "inputs": {}}', "both instances and inputs"),
        ('{"instances": []}', "instances: is empty"),
        ('{"instances": {}}', "instances: is an object"),
        ('{"instances": null}', "instances: is null"),
        ('{"rows": []}', "rows: unknown key"),
        ('{"signature_name": ["x"], "instances": [1]}', "signature_name: is a list of 1"),
        ('{"instances": [{"features": [1, 2]}]}', "instances[0].user_id: missing; expected int64"),
        ('{"instances": [{"user_id": 1}]}', "instances[0].features: missing; expected float32[2]"),
        ('{"instances": [{"user_id": 1.5, "features": [1, 2]}]}', "instances[0].user_id: is 1.5; expected an integer"),
        (
            '{"instances": [{"user_id": 1, "features": [1, 2, 3]}]}',
            "instances[0].features: is a list of 3; expected a list",
        ),
        (
            '{"instances": [{"user_id": 1, "features": [1, 1e39]}]}',
            "instances[0].features[1]: is 1e+39; expected a finite",
        ),
        ('{"inputs": {"user_id": [1]}}', "inputs.features: missing"),
    ],
)
def test_a_bad_body_is_told_what_is_wrong(rater: FlaskClient, body: bytes | str, error: str) -> None:
    assert error in error_of(rater, body)


def test_a_body_over_the_limit_is_refused(rater: FlaskClient) -> None:
    assert "97.7 KiB" in error_of(rater, b" " * 100_001, 413)
    assert rater.post(PREDICT, data=json.dumps({"instances": [ROW]}) + " " * 90_000).status_code == 200


def test_what_is_not_there_is_said_in_json(rater: FlaskClient) -> None:
    assert "nobody" in error_of(rater, json.dumps({"instances": [ROW]}), 404, "/v1/models/nobody:predict")
    for address in ("/v2/nothing", "/v1/models/nobody", "/v1/models/nobody/metadata", "/v1/models/rater/versions/9"):
        answer = rater.get(address)
        assert answer.status_code == 404
        assert list(answer.json) == ["error"]


def test_the_server_is_alive_in_each_protocols_words(rater: FlaskClient) -> None:
    said = {address: rater.get(address).json for address in ("/", "/healthz", "/v2/health/live")}
    assert said == {"/": {"status": "alive"}, "/healthz": {"status": "ok"}, "/v2/health/live": {"live": True}}
    assert rater.post("/").status_code == 405


def test_the_wrong_method_is_told_the_right_one(rater: FlaskClient) -> None:
    for answer in (rater.get(PREDICT), rater.put(PREDICT)):
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    answer = rater.post("/healthz")
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


def test_a_compressed_body_is_refused(rater: FlaskClient) -> None:
    assert rater.post(PREDICT, data=b"x", headers={"Content-Encoding": "gzip"}).status_code == 415


def test_a_model_that_gives_no_number_is_an_error_of_the_server(
    platform: "Platform", table: ModelTable, client: FlaskClient
) -> None:
    platform.deploy("rater", 0.5, divisor=0.0)
    table.refresh()
    body = json.dumps({"instances": [ROW, ROW]})
    assert "gave inf as score of row 0" in error_of(client, body, 500)


def test_status_and_metadata_speak_tensorflow_serving(rater: FlaskClient) -> None:
    status = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for address in ("/v1/models/rater", "/v1/models/rater/versions/1"):
        assert rater.get(address).json == {"model_version_status": [status], "name": "rater", "ready": True}
    metadata = rater.get("/v1/models/rater/metadata").json
    assert metadata["model_spec"] == {"name": "rater", "signature_name": "", "version": "1"}
    definition = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert definition["inputs"]["user_id"]["dtype"] == "DT_INT64"
    sizes = [dim["size"] for dim in definition["inputs"]["features"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", "2"]
    assert definition["outputs"]["score"]["dtype"] == "DT_FLOAT"
    assert [field["name"] for field in metadata["yarnmill"]["signature"]["inputs"]] == ["user_id", "features"]


def test_readiness_and_list_follow_the_table(platform: "Platform", table: ModelTable, client: FlaskClient) -> None:
    assert client.get("/readyz").status_code == 503
    assert client.post(PREDICT, json={"instances": [ROW]}).status_code == 503
    platform.deploy("rater", 0.5)
    platform.deploy("broken", 1.5)
    platform.blob_of_model(1.5, "broken").unlink()
    table.refresh()
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert (ready.json["endpoints"], ready.json["answering"]) == (2, 1)
    assert [(entry["model"], entry["state"]) for entry in ready.json["models"]] == [
        ("broken", "END"),
        ("rater", "AVAILABLE"),
    ]
    assert [entry["model"] for entry in client.get("/v1/models").json["models"]] == ["broken", "rater"]
    assert client.get("/healthz").status_code == 200


def test_many_models_share_few_series(rater: FlaskClient) -> None:
    for number in range(300):
        rater.post(f"/v1/models/guess{number}:predict", json={"instances": [ROW]})
    text = rater.get("/metrics").text
    (line,) = [
        line for line in text.splitlines() if line.startswith('yarnmill_requests_total{model="(other)",status="404"}')
    ]
    assert float(line.split()[-1]) >= 300
    assert "guess" not in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
ROWS = st.lists(st.fixed_dictionaries({}, optional={"user_id": JSON, "features": JSON, "x": JSON}) | JSON, max_size=3)
COLUMNS = st.fixed_dictionaries({}, optional={"user_id": JSON, "features": JSON})
BODIES = (
    st.binary(max_size=200)
    | JSON.map(json.dumps)
    | ROWS.map(lambda rows: json.dumps({"instances": rows}))
    | COLUMNS.map(lambda columns: json.dumps({"inputs": columns}))
)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(BODIES)
def test_no_body_makes_it_fail(rater: FlaskClient, body: bytes | str) -> None:
    answer = rater.post(PREDICT, data=body)
    assert answer.status_code in {200, 400}
    assert list(answer.json) in (["error"], ["predictions"], ["outputs"])


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_no_address_makes_it_fail(rater: FlaskClient, text: str) -> None:
    for address in (f"/v1/models/{text}:predict", f"/v1/models/rater/versions/{text}:predict", f"/v1/models/{text}"):
        assert rater.post(address, json={"instances": [ROW]}).status_code in {200, 308, 404, 405}
