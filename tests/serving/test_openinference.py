"""The Open Inference Protocol: JSON and binary tensors, health and metadata, and what is refused."""

import json
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.decoding import SignatureDecoder
from serving.dialect import Form
from serving.openinference import OpenInference
from serving.refusals import RequestError
from serving.tensors import datatype_of, raw_bytes
from yarnmill.bundle.manifest import Field, Signature

if TYPE_CHECKING:
    from conftest import Platform, Start
    from flask.testing import FlaskClient

    from serving.models import ModelTable

USERS = {"name": "user_id", "shape": [2], "datatype": "INT64", "data": [1, 2]}
FEATURES = {"name": "features", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 0, 0.5]}
SCORES = [4.5, 3.0]
MIXED = SignatureDecoder(
    Signature(
        inputs=(
            Field(name="x", dtype="float64"),
            Field(name="city", dtype="string", default="", required=False),
            Field(name="terms", dtype="bag", required=False),
        ),
        outputs=(Field(name="score", dtype="float32"),),
    )
)


def infer(client: "FlaskClient", *inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = client.post("/v2/models/rater/infer", json={"inputs": list(inputs), **more})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json or {}
    return document


def decoded(*inputs: Any, raw: bytes = b"") -> dict[str, Any]:
    head = json.dumps({"inputs": inputs}).encode()
    form = Form("application/octet-stream", str(len(head)))
    call = OpenInference().decode(head + raw, form, MIXED)
    return {name: np.asarray(column).tolist() for name, column in call.columns.items()}


def test_json_flat_and_nested(rater: "FlaskClient") -> None:
    expected = {
        "model_name": "rater",
        "model_version": "1",
        "id": "one",
        "outputs": [{"name": "score", "shape": [2], "datatype": "FP32", "data": SCORES}],
    }
    assert infer(rater, USERS, FEATURES, id="one") == expected
    nested = {**FEATURES, "data": [[1, 2], [0, 0.5]]}
    column = {**USERS, "shape": [2, 1], "data": [[1], [2]]}
    assert infer(rater, column, nested, outputs=[{"name": "score"}], id="one") == expected


def test_binary_tensors_both_ways(rater: "FlaskClient") -> None:
    users, features = np.array([1, 2], "<i8").tobytes(), np.array([[1, 2], [0, 0.5]], "<f4").tobytes()
    inputs = [
        {"name": "user_id", "shape": [2], "datatype": "INT64", "parameters": {"binary_data_size": len(users)}},
        {"name": "features", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": len(features)}},
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    answer = rater.post(
        "/v2/models/rater/versions/1/infer",
        data=head + users + features,
        headers={"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"},
    )
    size = int(answer.headers["Inference-Header-Content-Length"])
    (output,) = json.loads(answer.data[:size])["outputs"]
    assert output == {"name": "score", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    assert np.frombuffer(answer.data[size:], "<f4").tolist() == SCORES
    assert answer.headers["Content-Type"] == "application/octet-stream"


def test_texts_and_bags_come_as_bytes() -> None:
    x = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}
    texts = [b"Rome", "Nürnberg".encode()]
    raw = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    city = {"name": "city", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    bag = {"name": "terms", "shape": [2], "datatype": "BYTES", "data": ['["War"]', '{"Drama": 0.5}']}
    assert decoded(x, city, bag, raw=raw) == {
        "x": [1.0, 2.0],
        "city": ["Rome", "Nürnberg"],
        "terms": [{"War": 1.0}, {"Drama": 0.5}],
    }
    assert decoded(x) == {"x": [1.0, 2.0], "city": ["", ""], "terms": [{}, {}]}


X = {"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}
CITY = {"name": "city", "shape": [1], "datatype": "BYTES", "data": ["a"]}
RAW = {"name": "x", "shape": [1], "datatype": "FP64"}
RAW_CITY = {"name": "city", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}}


@pytest.mark.parametrize(
    ("inputs", "raw", "reason"),
    [
        ([], b"", "inputs: is a list of 0"),
        ([1], b"", "inputs[0]: is 1"),
        ([{**X, "more": 1}], b"", "inputs[0].more: unknown key"),
        ([{**X, "name": 1}], b"", "inputs[0].name: is 1"),
        ([{**X, "shape": [0]}], b"", "inputs[0].shape: is a list of 1"),
        ([{**X, "shape": []}], b"", "inputs.x.shape: is []"),
        ([{**X, "shape": [1, 2], "data": [1, 2]}], b"", "inputs.x.shape: is [1, 2]; expected ['rows']"),
        ([{**X, "datatype": "BOOL"}], b"", "inputs.x.datatype: is BOOL; expected FP64"),
        ([{**X, "datatype": "BYTES"}], b"", "inputs.x.datatype: is BYTES; expected FP64"),
        ([{**X, "data": [True]}], b"", "inputs.x.data[0]: is true"),
        ([{**X, "data": ["1"]}], b"", "inputs.x.data[0]: is '1'"),
        ([{**X, "data": [1, 2]}], b"", "inputs.x.data: has 2 values"),
        ([{**X, "data": [[1], 2], "shape": [2]}], b"", "inputs.x.data: lists and values side by side"),
        ([{**X, "data": None}], b"", "inputs[0].data: is null"),
        ([X, X], b"", "inputs.x: is there twice"),
        ([X, {**X, "name": "y"}], b"", "inputs.y: unknown input"),
        ([CITY], b"", "inputs.x: missing"),
        ([X, {**CITY, "shape": [2], "data": ["a", "b"]}], b"", "inputs.city: has 2 rows"),
        ([X, {**CITY, "data": [1]}], b"", "inputs.city.data[0]: is 1"),
        ([X, {**CITY, "name": "terms", "data": ["{"]}], b"", "inputs.terms.data: no JSON"),
        ([X], b"rest", "4 bytes follow the last tensor"),
        ([{**RAW, "parameters": {"binary_data_size": 9}}], b"12345678", "binary_data_size: is 9"),
        ([{**RAW, "parameters": {"binary_data_size": -1}}], b"", "binary_data_size: is -1"),
        ([{**RAW, "parameters": {"binary_data_size": 4}}], b"1234", "inputs.x: has 4 bytes; expected 8"),
        ([{**RAW, "parameters": {"binary_data_size": 8}}], struct.pack("<d", float("nan")), "inputs.x.data[0]: is nan"),
        ([X, RAW_CITY], b"\x09\0\0\0a", "inputs.city: ends in the middle of a text"),
        ([X, RAW_CITY], b"\x01\0\0\0\xff", "inputs.city.data[0]: is not UTF-8"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(inputs: list[Any], raw: bytes, reason: str) -> None:
    with pytest.raises(RequestError) as refusal:
        decoded(*inputs, raw=raw)
    assert reason in refusal.value.text
    assert refusal.value.status == 400


@given(st.binary(max_size=200), st.sampled_from([None, "0", "5", "50", "-1", "x", "9" * 30]))
def test_no_bytes_do_more_than_be_refused(body: bytes, json_bytes: str | None) -> None:
    with pytest.raises(RequestError) as refusal:
        OpenInference().decode(body, Form("", json_bytes), MIXED)
    assert refusal.value.status == 400


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()))


@given(st.lists(VALUES, min_size=1))
def test_no_values_do_more_than_be_refused(data: list[Any]) -> None:
    body = json.dumps({"inputs": [{**X, "shape": [len(data)], "data": data}]}).encode()
    try:
        call = OpenInference().decode(body, Form("", None), MIXED)
    except RequestError as refusal:
        status = refusal.status
    else:
        status = 200
        assert len(np.asarray(call.columns["x"])) == len(data)
    assert status in {200, 400}


def test_an_output_that_is_none_is_refused(rater: "FlaskClient") -> None:
    answer = rater.post("/v2/models/rater/infer", json={"inputs": [USERS, FEATURES], "outputs": [{"name": "nothing"}]})
    assert answer.status_code == 400
    assert answer.json == {"error": "outputs: 'nothing' is none of the model's; expected score"}


def test_outputs_of_text() -> None:
    values = np.array(["a", "bé"])
    assert datatype_of(values) == "BYTES"
    assert raw_bytes(values) == b"\x01\0\0\0a\x03\0\0\0b\xc3\xa9"


def test_health_metadata_and_index(platform: "Platform", table: "ModelTable", client: "FlaskClient") -> None:
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/ready").status_code == 503
    platform.deploy("rater", 1.0)
    table.refresh()
    assert client.get("/v2/health/ready").status_code == 200
    assert client.get("/v2").json["extensions"] == ["binary_tensor_data"]  # type: ignore[index]
    assert client.get("/v2/models/rater").json == client.get("/v2/models/rater/versions/1").json
    assert client.get("/v2/models/rater").json == {
        "name": "rater",
        "versions": ["1"],
        "platform": "yarnmill",
        "inputs": [
            {"name": "user_id", "datatype": "INT64", "shape": [-1]},
            {"name": "features", "datatype": "FP32", "shape": [-1, 2]},
        ],
        "outputs": [{"name": "score", "datatype": "FP32", "shape": [-1]}],
    }
    assert client.get("/v2/models/rater/ready").json == {"name": "rater", "ready": True}
    assert client.get("/v2/models/rater/versions/2/ready").status_code == 404
    assert client.post("/v2/repository/index").json == [
        {"name": "rater", "version": "1", "state": "READY", "reason": ""}
    ]


CLIENT = """
import json, sys
import numpy as np
from tritonclient.http import InferInput, InferRequestedOutput, InferenceServerClient
from tritonclient.utils import InferenceServerException

client = InferenceServerClient(sys.argv[1])
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("rater")
assert not client.is_model_ready("rater", "9")
seen = {"platform": client.get_model_metadata("rater")["platform"], "index": client.get_model_repository_index()}

def inputs(binary):
    users, features = InferInput("user_id", [2], "INT64"), InferInput("features", [2, 2], "FP32")
    users.set_data_from_numpy(np.array([1, 2]), binary_data=binary)
    features.set_data_from_numpy(np.array([[1, 2], [0, 0.5]], np.float32), binary_data=binary)
    return [users, features]

for binary in (True, False):
    output = InferRequestedOutput("score", binary_data=binary)
    seen[f"binary {binary}"] = client.infer("rater", inputs(binary)).as_numpy("score").tolist()
    seen[f"output {binary}"] = client.infer("rater", inputs(binary), outputs=[output]).as_numpy("score").tolist()
seen["version"] = client.infer("rater", inputs(True), model_version="1", request_id="x").get_response()["id"]
try:
    client.infer("rater", inputs(True)[:1])
except InferenceServerException as refusal:
    seen["refused"] = str(refusal)
print(json.dumps(seen))
"""


@pytest.mark.programs
def test_tritons_own_client(platform: "Platform", start_tier: "Start") -> None:
    platform.deploy("rater", 0.5)
    with start_tier() as tier:
        command = [sys.executable, "-c", CLIENT, tier.url.removeprefix("http://")]
        seen = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert [seen[f"{what} {binary}"] for what in ("binary", "output") for binary in (True, False)] == [SCORES] * 4
    assert (seen["platform"], seen["version"]) == ("yarnmill", "x")
    assert [entry["state"] for entry in seen["index"]] == ["READY"]
    assert "[400] inputs.features: missing" in seen["refused"]
