"""MLflow's scoring protocol: its own client against the tier, the forms of bodies, and what is refused."""

import json
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from serving.decoding import SignatureDecoder
from serving.dialect import Form
from serving.mlflow_scoring import MlflowScoring
from serving.refusals import RequestError
from yarnmill.bundle.manifest import Field, Signature

if TYPE_CHECKING:
    from conftest import Platform, Start
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

ROWS = [{"user_id": 1, "features": [1, 2]}, {"user_id": 2, "features": [0, 0.5]}]
SCORES = [4.5, 3.0]
SCALARS = SignatureDecoder(
    Signature(
        inputs=(
            Field(name="user", dtype="int64"),
            Field(name="age", dtype="float32", default=30.0, required=False),
            Field(name="city", dtype="string"),
        ),
        outputs=(Field(name="score", dtype="float32"),),
    )
)
VECTOR = SignatureDecoder(
    Signature(
        inputs=(Field(name="features", dtype="float32", shape=(3,)),), outputs=(Field(name="score", dtype="float32"),)
    )
)


def invoke(client: "FlaskClient", body: Any, **more: Any) -> "TestResponse":
    sent = {"json": body} if isinstance(body, dict) else {"data": body}
    return client.post("/mlflow/rater/invocations", **sent, **more)


def decoded(decoder: SignatureDecoder, body: str, content_type: str = "application/json") -> dict[str, Any]:
    call = MlflowScoring().decode(body.encode(), Form(content_type, None), decoder)
    return {name: np.asarray(column).tolist() for name, column in call.columns.items()}


CLIENT = """
import json, sys
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

host, port, rows = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
client, frame = ScoringServerClient(host, f"{port}/mlflow/rater"), pd.DataFrame(rows)
client.wait_server_ready(timeout=20)
seen = {
    "version": client.get_version(),
    "of a frame": client.invoke(frame)["predictions"],
    "as a frame": client.invoke(frame).get_predictions()[0].tolist(),
}
for name, ask in (("refused", lambda: client.invoke(frame[["user_id"]])),
                  ("unknown", ScoringServerClient(host, f"{port}/mlflow/nobody").ping)):
    try:
        ask()
    except Exception as problem:
        seen[name] = str(problem)
print(json.dumps(seen))
"""


@pytest.mark.programs
def test_mlflows_own_client(platform: "Platform", start_tier: "Start") -> None:
    platform.deploy("rater", 0.5)
    with start_tier() as tier:
        host, _, port = tier.url.removeprefix("http://").rpartition(":")
        # A program of its own: MLflow warns of itself when it is imported, and warnings are errors here.
        command = [sys.executable, "-c", CLIENT, host, port, json.dumps(ROWS)]
        seen = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert seen["version"] == metadata.version("mlflow")
    assert [seen[name] for name in ("of a frame", "as a frame")] == [SCORES] * 2
    assert "BAD_REQUEST" in seen["refused"]
    assert "dataframe_split.data[0].features: missing" in seen["refused"]
    assert "404" in seen["unknown"]


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": ROWS},
        {"instances": ROWS},
        {"inputs": {"user_id": [1, 2], "features": [[1, 2], [0, 0.5]]}},
        {
            "dataframe_split": {
                "index": [0, 1],
                "columns": ["features", "user_id"],
                "data": [[[1, 2], 1], [[0, 0.5], 2]],
            }
        },
    ],
)
def test_the_four_forms_give_the_same(rater: "FlaskClient", body: dict[str, Any]) -> None:
    answer = invoke(rater, body)
    assert (answer.status_code, answer.json) == (200, {"predictions": SCORES})
    assert answer.headers["X-Model-Version"] == "1"
    assert rater.post("/mlflow/rater/versions/1/invocations", json=body).json == answer.json


def test_csv() -> None:
    text = 'city,user,age\nRome,1,20.5\n"New York, NY",2,\n'
    assert decoded(SCALARS, text, "text/csv; charset=utf-8") == {
        "user": [1, 2],
        "age": [20.5, 30.0],
        "city": ["Rome", "New York, NY"],
    }


def test_the_columns_of_a_frame_are_the_elements_of_an_only_vector() -> None:
    expected = {"features": [[1.0, 2.0, 3.0]]}
    assert decoded(VECTOR, "a,b,c\n1,2,3\n", "text/csv") == expected
    assert decoded(VECTOR, '{"dataframe_split": {"columns": [0, 1, 2], "data": [[1, 2, 3]]}}') == expected
    assert decoded(VECTOR, '{"dataframe_records": [{"a": 1, "b": 2, "c": 3}]}') == expected
    assert decoded(VECTOR, '{"dataframe_records": [{"features": [1, 2, 3]}]}') == expected
    assert decoded(VECTOR, '{"instances": [[1, 2, 3]]}') == expected


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        ("{}", "application/json", "none of them; expected one of dataframe_split"),
        ('{"instances": [], "inputs": {}}', "application/json", "instances and inputs"),
        ('{"instances": [1], "x": 1}', "application/json", "x: unknown key"),
        ('{"instances": []}', "application/json", "instances: is a list of 0"),
        ('{"instances": [1], "params": {"k": 1}}', "application/json", "params: models here have none"),
        ('{"dataframe_split": []}', "application/json", "dataframe_split: is a list of 0"),
        ('{"dataframe_split": {"columns": {}, "data": []}}', "application/json", "dataframe_split.columns"),
        ('{"dataframe_split": {"columns": ["a"], "data": 1}}', "application/json", "dataframe_split.data: is 1"),
        ('{"dataframe_split": {"columns": ["a"], "data": []}}', "application/json", "dataframe_split.data: is empty"),
        ('{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}', "application/json", "dataframe_split.data[0]"),
        ('{"dataframe_records": [1]}', "application/json", "dataframe_records: is a list of 1"),
        ('{"dataframe_records": [{"user": 1, "city": 2}]}', "application/json", "dataframe_records[0].city: is 2"),
        ('{"dataframe_records": [{"user": 1}]}', "application/json", "dataframe_records[0].city: missing"),
        ("user,city\nx,Rome\n", "text/csv", "csv[0].user: is 'x'"),
        ("user,city\n1\n", "text/csv", "csv[0]: has 1 values"),
        ("user,city\n", "text/csv", "csv: is empty"),
        ("", "text/csv", "the body is empty"),
        ('user,"city\n', "text/csv", "the body is no CSV"),
        ("user", "text/plain", "Content-Type: text/plain"),
        ('{"dataframe_split": {"columns": ["user", "town"], "data": [[1, "x"]]}}', "", "data[0].town: unknown input"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(body: str, content_type: str, reason: str) -> None:
    with pytest.raises(RequestError) as refusal:
        MlflowScoring().decode(body.encode(), Form(content_type, None), SCALARS)
    assert reason in refusal.value.text


def test_refusals_are_mlflows_documents(rater: "FlaskClient") -> None:
    answer = invoke(rater, b"{")
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["error_code"] == "BAD_REQUEST"
    assert "not JSON" in answer.json["message"]
    unknown = rater.post("/mlflow/nobody/invocations", json={"instances": [1]})
    assert (unknown.status_code, unknown.json and unknown.json["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert rater.get("/mlflow/rater/invocations").status_code == 405
    assert rater.get("/mlflow/rater/health").status_code == 200
    assert rater.get("/mlflow/rater/versions/2/ping").status_code == 404
