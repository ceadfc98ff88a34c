"""The feedback endpoint: which labels it takes, and what it says of those that it does not."""

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.app import create_app
from serving.metrics import Metrics
from serving.models import ModelTable
from serving.predictionlog.feedback import parse_labels
from serving.predictionlog.log import PredictionLog
from serving.refusals import BadRequestError
from yarnmill.config import LogSettings
from yarnmill.predictions import Span, read_labels
from yarnmill.units import Mebibytes, Seconds

if TYPE_CHECKING:
    from conftest import Platform
    from flask.testing import FlaskClient

FEEDBACK = "/v1/models/rater/feedback"
LABEL = {"session_id": "a", "row_id": 0, "label": 1}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[PredictionLog]:
    settings = LogSettings(url=f"{tmp_path}/log", share=1.0, flush=Seconds(3600), most_rows=10**6, memory=Mebibytes(1))
    opened = PredictionLog(settings, Metrics())
    yield opened
    opened.stop()


@pytest.fixture
def logging_client(platform: "Platform", table: ModelTable, log: PredictionLog) -> "FlaskClient":
    platform.deploy("rater", 0.5)
    table.refresh()
    return create_app(table, Metrics(), max_body_bytes=100_000, log=log).test_client()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "the body is empty"),
        (b"[]", "the body is a list of 0"),
        (b"\xff", "not UTF-8"),
        ({}, "labels: is missing; expected a list with one label or more"),
        ({"labels": []}, "labels: is empty"),
        ({"labels": {}}, "labels: is an object"),
        ({"labels": [LABEL], "model": "x"}, "model: unknown key"),
        ({"labels": [LABEL, 1]}, "labels[1]: is 1; expected an object with session_id, row_id, label"),
        ({"labels": [{**LABEL, "x": 1}]}, "labels[0].x: unknown key"),
        ({"labels": [{"session_id": "a", "label": 1}]}, "labels[0].row_id: missing"),
        (
            {"labels": [{**LABEL, "session_id": "two words"}]},
            "labels[0].session_id: is 'two words'; expected a session id",
        ),
        ({"labels": [{**LABEL, "session_id": 7}]}, "labels[0].session_id: is 7"),
        ({"labels": [{**LABEL, "row_id": -1}]}, "labels[0].row_id: is -1; expected the row's place"),
        ({"labels": [{**LABEL, "row_id": True}]}, "labels[0].row_id: is true"),
        ({"labels": [{**LABEL, "row_id": 1.0}]}, "labels[0].row_id: is 1.0"),
        ({"labels": [{**LABEL, "row_id": 2**31}]}, "labels[0].row_id: is 2147483648"),
        ({"labels": [{**LABEL, "label": None}]}, "labels[0].label: is null; expected a finite number"),
        ({"labels": [{**LABEL, "label": False}]}, "labels[0].label: is false"),
        ({"labels": [{**LABEL, "label": float("nan")}]}, "labels[0].label: is nan"),
        (b'{"labels": [{"session_id": "a", "row_id": 0, "label": 1' + b"0" * 400 + b"}]}", "the body is not JSON"),
        ({"labels": [{**LABEL, "time": 3}]}, "labels[0].time: is 3; expected a time with its zone"),
        ({"labels": [{**LABEL, "time": "2026-01-02T03:04:05"}]}, "labels[0].time: is '2026-01-02T03:04:05'"),
        ({"labels": [{**LABEL, "time": "yesterday"}]}, "labels[0].time: is 'yesterday'"),
    ],
)
def test_labels_that_cannot_be_meant_are_told_what_is_wrong(
    logging_client: "FlaskClient", body: object, error: str
) -> None:
    answer = logging_client.post(FEEDBACK, data=body if isinstance(body, bytes) else json.dumps(body))
    assert answer.status_code == 400
    assert error in answer.json["error"]  # type: ignore[index]


def test_labels_are_kept_with_their_times(logging_client: "FlaskClient", log: PredictionLog, tmp_path: Path) -> None:
    before = dt.datetime.now(dt.UTC)
    body = {"labels": [LABEL, {**LABEL, "row_id": 1, "label": -0.5, "time": "0001-01-01T00:00:00Z"}]}
    answer = logging_client.post(FEEDBACK, json=body)
    assert (answer.status_code, answer.json) == (202, {"accepted": 2})
    log.stop()
    labels = read_labels(f"{tmp_path}/log", "rater", Span(before)).to_pylist()
    first, second = sorted(labels, key=lambda one: int(one["row_id"]))
    assert before <= first.pop("time") <= dt.datetime.now(dt.UTC)
    assert first == {"session_id": "a", "row_id": 0, "label": 1.0}
    assert (second["label"], second["time"].year) == (-0.5, 1)
    assert read_labels(f"{tmp_path}/log", "other", Span(before)).num_rows == 0


def test_what_cannot_have_labels_is_refused(
    logging_client: "FlaskClient", platform: "Platform", table: ModelTable, client: "FlaskClient"
) -> None:
    body = {"labels": [LABEL]}
    nobody = logging_client.post("/v1/models/nobody/feedback", json=body)
    assert (nobody.status_code, "not deployed here" in nobody.text) == (404, True)
    assert logging_client.get(FEEDBACK).status_code == 405
    assert logging_client.post(FEEDBACK, data=b"x", headers={"Content-Encoding": "gzip"}).status_code == 415
    assert logging_client.post(FEEDBACK, data=b"x" * 100_001).status_code == 413
    unsettled = create_app(platform.open_table(lambda: 0.0), Metrics(), max_body_bytes=1000, log=None).test_client()
    for off in (client, unsettled):
        answer = off.post(FEEDBACK, json=body)
        assert answer.status_code == 501
        assert "serving.log.url" in answer.text
    assert table.snapshot.slots["rater"].served is not None


def test_a_model_whose_endpoints_are_not_loaded_yet_asks_for_patience(platform: "Platform", log: PredictionLog) -> None:
    early = create_app(platform.open_table(lambda: 0.0), Metrics(), max_body_bytes=1000, log=log).test_client()
    assert early.post(FEEDBACK, json={"labels": [LABEL]}).status_code == 503


def test_labels_without_room_are_refused_as_a_whole(
    logging_client: "FlaskClient", log: PredictionLog, tmp_path: Path
) -> None:
    (tmp_path / "log").write_text("no folder")  # what is written there fails
    labels = [{**LABEL, "row_id": number} for number in range(1000)]
    statuses = [logging_client.post(FEEDBACK, json={"labels": labels}).status_code for _ in range(4)]
    assert statuses == [202, 202, 503, 503]
    assert logging_client.post(FEEDBACK, json={"labels": labels[:10]}).status_code == 202
    refused = logging_client.post(FEEDBACK, json={"labels": labels})
    assert "there is no room for 1000 labels" in refused.text
    assert "send them again later" in refused.text
    (tmp_path / "log").unlink()
    log.stop()
    found = read_labels(f"{tmp_path}/log", "rater", Span(dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)))
    assert found.num_rows == 1000
    assert logging_client.post(FEEDBACK, json={"labels": labels[:1]}).status_code == 503  # it ends: nothing is lost


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SOME = st.fixed_dictionaries(
    {"session_id": JSON | st.just("a"), "row_id": JSON | st.just(0), "label": JSON | st.floats()},
    optional={"time": JSON | st.datetimes().map(str) | st.datetimes(timezones=st.just(dt.UTC)).map(str)},
)


@pytest.mark.slow
@given(
    st.binary(max_size=100) | JSON.map(json.dumps) | st.lists(SOME, max_size=3).map(lambda x: json.dumps({"labels": x}))
)
def test_no_body_makes_it_fail(body: Any) -> None:
    with suppress(BadRequestError):
        assert parse_labels(body if isinstance(body, bytes) else body.encode(errors="surrogatepass"))
