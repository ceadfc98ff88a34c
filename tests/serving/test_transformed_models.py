"""Models behind a transformer in the tier: asked by entities alone, with features of the snapshot that is deployed."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from registered import let_run
from snapshots import CLIENTS, DAY, GOODS
from werkzeug.test import TestResponse

from serving.app import create_app
from serving.metrics import Metrics
from serving.models import ModelTable
from serving.predictionlog.log import PredictionLog
from yarnmill.config import load_config
from yarnmill.predictions import Span, read_predictions
from yarnmill.registry.records import Destination, Rule

if TYPE_CHECKING:
    from conftest import Clock, Platform

MERLIN = "/merlin/models/rater/v1/predict"
PREDICT = "/v1/models/rater:predict"
TRANSFORMER = """
inputs:
  - {name: goods, json_path: "$.basket[*].goods", dtype: int64}
lookups:
  - {table: shop.goods, entities: {goods: goods}, features: [{name: price, default: 0}, odd]}
outputs: {user_id: goods, features: [price, odd]}
"""
BODY = {"basket": [{"goods": 33}, {"goods": 36}, {"goods": 1}]}
PRICE = ("price", "float64", None), ("odd", "float64", 0.0)


def let_goods_answer(
    platform: "Platform", rows: Mapping[int, tuple[float, float]] = GOODS, ds: dt.date = DAY
) -> tuple[int, str]:
    version, bundle_id = platform.publish_snapshot("shop.goods", ("goods", "int64"), PRICE, rows, ds)
    platform.answer("shop.goods", version)
    return version, bundle_id


def ask(client: FlaskClient, body: object, path: str = PREDICT) -> TestResponse:
    return client.post(path, data=json.dumps(body))


@pytest.fixture
def transformed(platform: "Platform", table: ModelTable, client: FlaskClient) -> FlaskClient:
    let_goods_answer(platform)
    platform.deploy("rater", 0.5, transformer=TRANSFORMER)
    table.refresh()
    return client


@pytest.mark.parametrize("path", [MERLIN, PREDICT, "/v1/models/rater/versions/1:predict"])
def test_entities_are_all_that_a_request_brings(transformed: FlaskClient, path: str) -> None:
    answer = ask(transformed, BODY, path)
    assert answer.json == {"predictions": [33 + 330 + 1 + 0.5, 36 + 360 + 0.5, 1.5]}
    assert answer.headers["X-Feature-Snapshots"] == "shop.goods/1 ds=2026-01-31"
    assert answer.headers["X-Model-Version"] == "1"
    metrics = transformed.get("/metrics").text
    assert 'yarnmill_feature_lookups_total{outcome="known",table="shop.goods"} 2.0' in metrics
    assert 'yarnmill_feature_lookups_total{outcome="unknown",table="shop.goods"} 1.0' in metrics


def test_a_model_without_a_transformer_says_nothing_of_snapshots(transformed: FlaskClient, platform: Any) -> None:
    platform.deploy("plain", 0.5)
    transformed.application.wsgi_app._table.refresh()  # type: ignore[attr-defined]  # noqa: SLF001
    answer = ask(transformed, {"instances": [{"user_id": 1, "features": [1, 1]}]}, "/v1/models/plain:predict")
    assert answer.json == {"predictions": [3.5]}
    assert "X-Feature-Snapshots" not in answer.headers


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"basket": [{"goods": 33}, {"goods": "x"}]}, "$.basket[1].goods: is 'x'; expected an integer (int64)"),
        ({"basket": []}, "$.basket: is empty"),
        ({"instances": [[1]]}, "$.basket: is missing"),
        ([1], "the body is a list of 1"),
    ],
)
def test_a_bad_request_is_told_its_place(transformed: FlaskClient, body: object, complaint: str) -> None:
    answer = ask(transformed, body)
    assert answer.status_code == 400
    assert complaint in answer.json["error"]  # type: ignore[index]


def test_tensors_and_frames_bring_what_the_model_itself_takes(transformed: FlaskClient) -> None:
    tensors = [
        {"name": "user_id", "shape": [1], "datatype": "INT64", "data": [1]},
        {"name": "features", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]},
    ]
    answer = ask(transformed, {"inputs": tensors}, "/v2/models/rater/infer")
    assert answer.json["outputs"][0]["data"] == [4.5]  # type: ignore[index]
    rows = {"dataframe_records": [{"user_id": 1, "features": [1, 2]}]}
    frame = transformed.post(
        "/mlflow/rater/invocations", data=json.dumps(rows), headers={"Content-Type": "application/json"}
    )
    assert frame.json == {"predictions": [4.5]}


def test_a_newer_snapshot_is_taken_and_a_broken_one_is_not(
    transformed: FlaskClient, platform: "Platform", table: ModelTable, clock: "Clock"
) -> None:
    newer = {number: (price + 1, odd) for number, (price, odd) in GOODS.items()}
    let_goods_answer(platform, newer, DAY + dt.timedelta(days=1))
    table.refresh()
    answer = ask(transformed, {"basket": [{"goods": 33}]})
    assert answer.json == {"predictions": [33 + 331 + 1 + 0.5]}
    assert answer.headers["X-Feature-Snapshots"] == "shop.goods/2 ds=2026-02-01"

    worse = {number: (-price, odd) for number, (price, odd) in GOODS.items()}
    version, _ = platform.publish_snapshot("shop.goods", ("goods", "int64"), PRICE, worse, DAY + dt.timedelta(days=2))
    marks = np.array(list(worse.values())).tobytes()
    blobs = [path for path in (platform.home / "blobs").rglob("*") if path.is_file() and marks in path.read_bytes()]
    for path in blobs:  # a byte of the numbers is another one
        path.chmod(0o600)
        path.write_bytes(path.read_bytes().replace(marks, b"\1" + marks[1:]))
    assert len(blobs) == 1
    platform.answer("shop.goods", version)
    table.refresh()
    answer = ask(transformed, {"basket": [{"goods": 33}]})
    assert answer.headers["X-Feature-Snapshots"] == "shop.goods/2 ds=2026-02-01"
    entry = next(one for one in transformed.get("/v1/models").json["models"] if one["model"] == "shop.goods")  # type: ignore[index]
    assert (entry["version"], entry["answering_version"]) == (3, 2)
    assert "reason" in entry

    platform.registry.endpoints.roll_back("shop.goods")
    clock.now += 100
    table.refresh()
    assert ask(transformed, BODY).headers["X-Feature-Snapshots"] == "shop.goods/2 ds=2026-02-01"


def test_without_a_snapshot_the_model_waits_for_one(
    platform: "Platform", table: ModelTable, client: FlaskClient
) -> None:
    platform.deploy("rater", 0.5, transformer=TRANSFORMER)
    table.refresh()
    refused = ask(client, BODY)
    assert refused.status_code == 503
    assert refused.json == {
        "error": "features shop.goods: no snapshot is deployed here; to mend it: yarnmill features publish shop.goods"
    }
    let_goods_answer(platform)
    table.refresh()
    assert ask(client, BODY).status_code == 200
    platform.registry.endpoints.stop("shop.goods")
    platform.deploy("shop.goods", 1.0)  # a model that took the table's name
    table.refresh()
    assert "the model of this name is no snapshot" in ask(client, BODY).json["error"]  # type: ignore[index]


def test_a_transformer_that_does_not_fit_leaves_the_version_before(
    transformed: FlaskClient, platform: "Platform", table: ModelTable
) -> None:
    platform.deploy("rater", 1.5, transformer=TRANSFORMER.replace("[price, odd]}", "[price]}"))
    table.refresh()
    assert ask(transformed, BODY).headers["X-Model-Version"] == "1"
    reason = transformed.get("/readyz").json["models"][0]["reason"]  # type: ignore[index]
    assert "transformer.yaml: outputs.features: price is a number; expected: numbers, [2] a row; these are 1" in reason


def test_a_mirror_reads_requests_by_its_own_transformer(
    transformed: FlaskClient, platform: "Platform", table: ModelTable
) -> None:
    second, _ = platform.publish("rater", 1.5, transformer=TRANSFORMER.replace("user_id: goods", "user_id: odd"))
    let_run(platform.registry, "rater", second)
    only_first = (Destination(version=1, weight=100.0),)
    platform.registry.endpoints.route("rater", Rule(destinations=only_first, mirror=second))
    table.refresh()
    assert ask(transformed, BODY).json == {"predictions": [33 + 330 + 1 + 0.5, 36 + 360 + 0.5, 1.5]}
    transformed.application.wsgi_app._shadow.wait()  # type: ignore[attr-defined]  # noqa: SLF001
    metrics = transformed.get("/metrics").text
    assert 'yarnmill_mirror_requests_total{model="rater",outcome="answered"} 1.0' in metrics
    named = ask(transformed, BODY, f"/v1/models/rater/versions/{second}:predict")
    assert named.json == {"predictions": [1 + 330 + 1 + 1.5, 360 + 1.5, 1.5]}


def test_a_snapshot_answers_by_itself_too(platform: "Platform", table: ModelTable, client: FlaskClient) -> None:
    features = ("spent", "float64", -1.0), ("words", "bag", None)
    version, _ = platform.publish_snapshot("shop.clients", ("client", "string"), features, CLIENTS)
    platform.answer("shop.clients", version)
    table.refresh()
    answer = ask(client, {"instances": ["ann", "nobody"]}, "/v1/models/shop.clients:predict")
    known = {"spent": 1.5, "words": {"red": 1.0, "blue": 2.0}}
    assert answer.json == {"predictions": [known, {"spent": -1.0, "words": {}}]}
    asked = {"inputs": [{"name": "client", "shape": [1], "datatype": "BYTES", "data": ["ann"]}]}
    tensors = ask(client, asked, "/v2/models/shop.clients/infer").json["outputs"]  # type: ignore[index]
    assert [one["data"] for one in tensors] == [[1.5], ['{"red":1.0,"blue":2.0}']]


def test_the_log_has_what_the_model_got_and_where_it_came_from(platform: "Platform", table: ModelTable) -> None:
    let_goods_answer(platform)
    platform.deploy("rater", 0.5, transformer=TRANSFORMER)
    platform.deploy("plain", 0.5)
    table.refresh()
    settings = load_config(None, [f"serving.log.url=file://{platform.home}/log"]).serving.log
    log = PredictionLog(settings, Metrics())
    client = create_app(table, Metrics(), max_body_bytes=100_000, log=log).test_client()
    assert ask(client, BODY).status_code == 200
    assert (
        ask(client, {"instances": [{"user_id": 1, "features": [1, 1]}]}, "/v1/models/plain:predict").status_code == 200
    )
    log.stop()
    hour = Span(dt.datetime.now(dt.UTC) - dt.timedelta(hours=1))
    found = {
        model: [
            row for batch in read_predictions(f"file://{platform.home}/log", model, hour) for row in batch.to_pylist()
        ]
        for model in ("rater", "plain")
    }
    first = next(row for row in found["rater"] if row["row_id"] == 0)
    assert dict(first["features"]["numbers"]) == {"features[0]": 330.0, "features[1]": 1.0}
    assert dict(first["features"]["integers"]) == {"user_id": 33}
    assert {row["snapshots"] for row in found["rater"]} == {"shop.goods/1 ds=2026-01-31"}
    assert {row["snapshots"] for row in found["plain"]} == {None}
