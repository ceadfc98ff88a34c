"""TensorFlow Serving's classify and regress, its labels, texts as Base64, and what is missing."""

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.columns import CellError, column_decoder
from serving.dialect import PredictCall
from serving.refusals import BadRequestError
from serving.tensors import Tensor, column_of
from serving.tfexamples import EXAMPLES
from yarnmill.bundle.manifest import Field
from yarnmill.registry.records import Destination, Rule

if TYPE_CHECKING:
    from conftest import Platform
    from flask.testing import FlaskClient
    from registered import Registry

    from serving.models import ModelTable

EXAMPLE: dict[str, Any] = {"user_id": [7], "features": [1.0, 2.0]}
CALL = PredictCall(columns={}, rows=1, by_row=True)
classify, regress = EXAMPLES


def answer(dialect: Any, **outputs: Any) -> Any:
    rendered = dialect.render({name: np.asarray(values) for name, values in outputs.items()}, CALL, "rater", 1)
    return msgspec.json.decode(rendered.body)["result"]


def test_examples_are_rows_of_lists_or_values(rater: "FlaskClient") -> None:
    body = {"signature_name": "serving_default", "examples": [EXAMPLE, {**EXAMPLE, "user_id": 8}]}
    assert rater.post("/v1/models/rater:regress", json=body).json == {"result": [10.5, 11.5]}
    assert rater.post("/v1/models/rater/versions/1:classify", json=body).json == {
        "result": [[["1", 10.5]], [["1", 11.5]]]
    }


def test_the_context_belongs_to_every_example(rater: "FlaskClient") -> None:
    body = {"context": {"features": [1, 2]}, "examples": [{"user_id": 7}, EXAMPLE]}
    assert rater.post("/v1/models/rater:regress", json=body).json == {"result": [10.5, 10.5]}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "examples: is null"),
        ({"examples": []}, "examples: is a list of 0"),
        ({"examples": [7]}, "examples[0]: is 7"),
        ({"examples": [EXAMPLE], "context": []}, "context: is a list of 0"),
        ({"examples": [EXAMPLE], "rows": 1}, "rows: unknown key"),
        ({"examples": [EXAMPLE], "signature_name": "x"}, "signature_name: is 'x'"),
        ({"examples": [EXAMPLE, {**EXAMPLE, "user_id": [1, 2]}]}, "examples[1].user_id: is a list of 2"),
        ({"examples": [{**EXAMPLE, "colour": 1}]}, "examples[0].colour: unknown input"),
        ({"examples": [{"user_id": 1}]}, "examples[0].features: missing"),
    ],
)
def test_what_is_no_example_is_refused_by_its_place(rater: "FlaskClient", body: Any, error: str) -> None:
    for question in ("classify", "regress"):
        refused = rater.post(f"/v1/models/rater:{question}", json=body)
        assert refused.status_code == 400
        assert error in (refused.json or {})["error"]
    assert rater.post("/v1/models/nobody:regress", json=body).status_code == 404
    assert rater.get("/v1/models/rater:regress").status_code == 405


def test_classes_come_from_texts_or_places() -> None:
    scores = [[0.25, 0.75], [0.5, 0.5]]
    assert answer(classify, p=scores) == [[["0", 0.25], ["1", 0.75]], [["0", 0.5], ["1", 0.5]]]
    named = answer(classify, c=np.array([["cat", "dog"]] * 2, dtype=object), p=scores)
    assert named == [[["cat", 0.25], ["dog", 0.75]], [["cat", 0.5], ["dog", 0.5]]]
    assert answer(classify, label=np.array(["cat"], dtype=object), p=[0.5]) == [[["cat", 0.5]]]


@pytest.mark.parametrize(
    ("dialect", "outputs", "error"),
    [
        (regress, {"p": [[0.1, 0.9]]}, "not one number a row"),
        (regress, {"p": [0.1], "q": [0.2]}, "not one number a row"),
        (regress, {"p": np.array(["x"], dtype=object)}, "not one number a row"),
        (classify, {"p": [0.1], "q": [0.2]}, "not classes and scores"),
        (classify, {"c": np.array([["a"]], dtype=object), "p": [[0.1, 0.9]]}, "other classes than scores"),
        (regress, {"p": [np.nan]}, "the model gave nan as p of row 0"),
    ],
)
def test_a_model_that_answers_something_else_says_so(dialect: Any, outputs: dict[str, Any], error: str) -> None:
    with pytest.raises(Exception, match=error):
        answer(dialect, **outputs)


@pytest.mark.usefixtures("registry_of_two")
def test_labels_name_the_largest_share_and_the_next(client: "FlaskClient", table: "ModelTable") -> None:
    table.refresh()
    for label, version in (("stable", "2"), ("canary", "1")):
        asked = client.post(
            f"/v1/models/rater/labels/{label}:predict", json={"inputs": {"user_id": [1], "features": [[0, 0]]}}
        )
        assert asked.headers["X-Model-Version"] == version
        status = client.get(f"/v1/models/rater/labels/{label}").json
        assert [one["version"] for one in (status or {})["model_version_status"]] == [version]
        document = client.get(f"/v1/models/rater/labels/{label}/metadata").json
        assert (document or {})["model_spec"]["version"] == version
    for address in ("/v1/models/rater/labels/old", "/v1/models/rater/labels/old/metadata"):
        refused = client.get(address)
        assert (refused.status_code, "stable" in refused.text) == (404, True)
    assert client.post("/v1/models/rater/labels/old:predict", json={}).status_code == 404


@pytest.fixture
def registry_of_two(platform: "Platform") -> "Registry":
    """Deploy two versions, the second with the larger share."""
    for bias in (1.0, 2.0):
        platform.deploy("rater", bias)
    rule = Rule(destinations=(Destination(version=1, weight=30.0), Destination(version=2, weight=70.0)))
    platform.registry.endpoints.route("rater", rule)
    return platform.registry


def test_texts_may_come_as_base64() -> None:
    decode = column_decoder(Field(name="t", dtype="string"))
    assert list(decode(["a", {"b64": "w6Q="}])) == ["a", "ä"]  # type: ignore[arg-type]  # an array
    for wrong in ({"b64": "?"}, {"b64": "/w=="}, {"b64": 7}, {"b64": "YQ==", "x": 1}, {}):
        with pytest.raises(CellError) as caught:
            decode(["a", wrong])
        assert caught.value.row == 1


@given(st.lists(st.lists(st.floats(width=32) | st.none(), min_size=3, max_size=3), min_size=1, max_size=5))
def test_what_may_be_missing_is_nan_or_null(rows: list[list[float | None]]) -> None:
    decode = column_decoder(Field(name="x", dtype="float32", shape=(3,), missing=True))
    strict = column_decoder(Field(name="x", dtype="float32", shape=(3,)))
    plain = np.array(rows, np.float32)
    if np.isinf(plain).any():
        with pytest.raises(CellError):
            decode(rows)
        return
    np.testing.assert_array_equal(decode(rows), plain)
    if np.isnan(plain).any():
        with pytest.raises(CellError):
            strict(rows)


def test_only_floats_may_be_missing() -> None:
    with pytest.raises(ValueError, match="int64 has no NaN"):
        Field(name="x", dtype="int64", missing=True)


def test_what_may_be_missing_comes_in_tensors_too() -> None:
    field = Field(name="x", dtype="float64", missing=True)
    for datatype, values in (("FP32", np.array([1, np.nan], "<f4").tobytes()), ("FP64", [1, None])):
        column = column_of(Tensor("x", datatype, (2,), values), field)  # type: ignore[arg-type]  # bytes or a list
        np.testing.assert_array_equal(np.asarray(column), [1.0, np.nan])
    with pytest.raises(BadRequestError, match="is inf"):
        column_of(Tensor("x", "FP32", (2,), np.array([1, np.inf], "<f4").tobytes()), field)
