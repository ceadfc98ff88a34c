"""Endpoints with several versions: who answers, what a mirror sees, and what a broken version does not do."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import requests
from registered import let_run

from serving.app import create_app
from serving.arms import place_in_layer
from serving.metrics import Metrics
from serving.models import ModelTable
from serving.predict import PredictRoute
from serving.shadow import largest_difference
from yarnmill.registry.records import Destination, Layer, Rule

if TYPE_CHECKING:
    from conftest import Clock, Platform, Start
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

VERSION = "X-Model-Version"
ROW = {"instances": [{"user_id": 1, "features": [0, 0]}]}


def let_share(platform: "Platform", model: str, shares: dict[int, float], mirror: int | None = None) -> None:
    rule = Rule(destinations=tuple(Destination(version=v, weight=w) for v, w in shares.items()), mirror=mirror)
    running = {one.version for one in platform.registry.deployments.find(model)}
    for version in set(rule.versions) - running:
        let_run(platform.registry, model, version)
    platform.registry.endpoints.route(model, rule)


def ask(client: "FlaskClient", unit: str | None = None, path: str = "/v1/models/rater:predict") -> "TestResponse":
    return client.post(path, json=ROW, headers={} if unit is None else {"X-Unit-Id": unit})


@pytest.fixture
def two(platform: "Platform") -> tuple[int, int]:
    """Return two published versions that add 1 and 2."""
    return platform.publish("rater", 1.0)[0], platform.publish("rater", 2.0)[0]


def test_a_unit_is_always_answered_by_the_same_version(
    platform: "Platform", table: ModelTable, client: "FlaskClient", two: tuple[int, int]
) -> None:
    let_share(platform, "rater", {two[0]: 50, two[1]: 50})
    table.refresh()
    of_unit = {unit: ask(client, unit).headers["X-Model-Version"] for unit in map(str, range(60))}
    assert set(of_unit.values()) == {"1", "2"}
    for unit, version in of_unit.items():
        answer = ask(client, unit)
        assert answer.headers["X-Model-Version"] == version
        assert answer.json == {"predictions": [1.0 + int(version)]}
    assert {ask(client).headers["X-Model-Version"] for _ in range(60)} == {"1", "2"}
    for version in two:
        answer = ask(client, path=f"/v1/models/rater/versions/{version}:predict")
        assert answer.json == {"predictions": [1.0 + version]}


@pytest.mark.slow
def test_experiments_on_parts_of_one_layer_share_no_unit(
    platform: "Platform", table: ModelTable, client: "FlaskClient", two: tuple[int, int]
) -> None:
    for model in ("other", "third"):
        for bias in (1.0, 2.0):
            platform.publish(model, bias)
    parts = {"rater": ("ranking", 0, 40), "other": ("ranking", 40, 100), "third": ("colours", 0, 50)}
    for model, (layer, start, stop) in parts.items():
        destinations = (Destination(version=two[0], weight=60), Destination(version=two[1], weight=40))
        for version in two:
            let_run(platform.registry, model, version)
        rule = Rule(destinations=destinations, layer=Layer(name=layer, start=start, stop=stop))
        platform.registry.endpoints.route(model, rule)
    table.refresh()
    units = [str(number) for number in range(200)]
    tried = {
        model: {unit for unit in units if ask(client, unit, f"/v1/models/{model}:predict").headers[VERSION] == "2"}
        for model in parts
    }
    assert not tried["rater"] & tried["other"]
    assert tried["rater"] & tried["third"]
    assert tried["other"] & tried["third"]
    for _ in range(30):
        assert ask(client).headers[VERSION] == "1"  # whoever has no name takes no part
    text = client.get("/metrics").text
    counted = sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith('yarnmill_arm_requests_total{model="rater"')
    )
    assert counted == sum(place_in_layer("ranking", unit) < 4_000 for unit in units)
    listed = client.get("/v1/models").json
    assert [one["rule"]["layer"] for one in (listed or {})["models"]] == [
        "ranking:40-100",
        "ranking:0-40",
        "colours:0-50",
    ]


def test_status_and_metrics_tell_of_both(
    platform: "Platform", table: ModelTable, client: "FlaskClient", two: tuple[int, int]
) -> None:
    let_share(platform, "rater", {two[0]: 99.99, two[1]: 0.01})
    table.refresh()
    for _ in range(3):
        ask(client, "somebody")
    client.post("/v1/models/rater:predict", data=b"{", headers={"X-Unit-Id": "somebody"})
    statuses = client.get("/v1/models/rater").json
    assert statuses is not None
    assert [(one["version"], one["state"]) for one in statuses["model_version_status"]] == [
        ("1", "AVAILABLE"),
        ("2", "AVAILABLE"),
    ]
    listed = client.get("/v1/models").json
    assert listed is not None
    assert listed["models"][0]["rule"] == {"shares": {"1": 99.99, "2": 0.01}, "mirror": None, "layer": None}
    assert listed["models"][0]["answering_version"] == 1
    text = client.get("/metrics").text
    assert 'yarnmill_arm_requests_total{model="rater",status="200",version="1"} 3.0' in text
    assert 'yarnmill_arm_requests_total{model="rater",status="400",version="1"} 1.0' in text
    assert 'yarnmill_arm_seconds_count{model="rater",version="1"} 3.0' in text


def test_a_rule_answers_as_a_whole_or_not_at_all(
    platform: "Platform", table: ModelTable, clock: "Clock", client: "FlaskClient", two: tuple[int, int]
) -> None:
    platform.answer("rater", two[0])
    table.refresh()
    blob = platform.blob_of_model(2.0, "rater")
    whole = blob.read_bytes()
    blob.unlink()
    let_share(platform, "rater", {two[0]: 1, two[1]: 99})
    table.refresh()
    slot = table.snapshot.slots["rater"]
    assert blob.name in slot.failure
    assert table.snapshot.is_ready
    assert {ask(client, str(unit)).headers["X-Model-Version"] for unit in range(20)} == {"1"}
    assert ask(client, path="/v1/models/rater/versions/2:predict").status_code == 503
    before = table.find("rater", two[0])
    blob.write_bytes(whole)
    clock.now = table.snapshot.slots["rater"].retry_at
    table.refresh()
    assert {ask(client, str(unit)).headers["X-Model-Version"] for unit in range(200)} == {"1", "2"}
    assert table.find("rater", two[0]) is before  # not opened again


def test_a_mirror_is_asked_and_never_heard(platform: "Platform", table: ModelTable, two: tuple[int, int]) -> None:
    let_share(platform, "rater", {two[0]: 100}, mirror=two[1])
    table.refresh()
    app = create_app(table, Metrics(), max_body_bytes=100_000)
    route = app.wsgi_app
    assert isinstance(route, PredictRoute)
    client = app.test_client()
    for unit in range(5):
        answer = ask(client, str(unit))
        assert (answer.headers["X-Model-Version"], answer.json) == ("1", {"predictions": [2.0]})
    assert client.post("/v1/models/rater:predict", data=b"{").status_code == 400  # not worth a copy
    ask(client, path="/v1/models/rater/versions/1:predict")  # nor is what was asked for by number
    route._shadow.wait()  # noqa: SLF001  # nothing else tells when
    text = client.get("/metrics").text
    assert 'yarnmill_mirror_requests_total{model="rater",outcome="answered"} 5.0' in text
    assert 'yarnmill_mirror_difference_sum{model="rater"} 5.0' in text  # 3 beside 2, five times
    assert 'outcome="failed"' not in text


def test_a_mirror_that_fails_costs_nothing(platform: "Platform", table: ModelTable) -> None:
    good, _ = platform.publish("rater", 1.0)
    bad, _ = platform.publish("rater", 2.0)
    let_share(platform, "rater", {good: 100}, mirror=bad)
    table.refresh()
    app = create_app(table, Metrics(), max_body_bytes=100_000)
    route = app.wsgi_app
    assert isinstance(route, PredictRoute)
    mirror = table.find("rater", bad).predictor
    mirror.predict = None  # type: ignore[method-assign, assignment]
    client = app.test_client()
    assert ask(client).json == {"predictions": [2.0]}
    route._shadow.wait()  # noqa: SLF001  # as above
    assert 'yarnmill_mirror_requests_total{model="rater",outcome="failed"} 1.0' in client.get("/metrics").text


def test_what_a_mirror_has_no_room_for_is_dropped_and_counted(
    platform: "Platform", table: ModelTable, two: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.shadow._MOST_WAITING_BYTES", 10)
    let_share(platform, "rater", {two[0]: 100}, mirror=two[1])
    table.refresh()
    client = create_app(table, Metrics(), max_body_bytes=100_000).test_client()
    assert ask(client).json == {"predictions": [2.0]}
    assert 'yarnmill_mirror_requests_total{model="rater",outcome="dropped"} 1.0' in client.get("/metrics").text


def test_differences_are_those_of_the_numbers_that_both_have() -> None:
    one = {"a": np.array([1.0, 2.0]), "b": np.array([1, 5]), "text": np.array(["x", "y"])}
    assert largest_difference(one, {"a": np.array([1.0, 2.5]), "b": np.array([1, 2])}) == 3.0
    assert largest_difference(one, {"c": np.array([1.0])}) is None
    assert largest_difference(one, {"a": np.array([1.0]), "text": np.array(["x", "z"])}) is None


@pytest.mark.programs
@pytest.mark.parametrize("server", ["gunicorn"], indirect=True)
def test_shares_change_under_load_and_no_request_fails(
    platform: "Platform", start_tier: "Start", two: tuple[int, int]
) -> None:
    platform.answer("rater", two[0])
    units = [str(number) for number in range(40)]
    with start_tier("--set", "serving.workers=2") as tier, requests.Session() as session:
        seen: dict[float, Counter[str]] = {}

        def version_of(unit: str) -> str:
            answer = session.post(
                f"{tier.url}/v1/models/rater:predict", json=ROW, headers={"X-Unit-Id": unit}, timeout=20
            )
            assert answer.status_code == 200
            return answer.headers["X-Model-Version"]

        for share in (5.0, 50.0, 95.0, 50.0, 100.0):
            let_share(platform, "rater", {two[1]: share} | ({two[0]: 100 - share} if share < 100 else {}))
            with ThreadPoolExecutor(4) as pool:
                seen[share] = Counter(pool.map(version_of, units * 8))
        while set(map(version_of, units)) != {"2"}:
            pass
        assert set(seen[100.0] | seen[50.0]) == {"1", "2"}
