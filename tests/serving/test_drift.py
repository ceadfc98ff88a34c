"""Drift at the tier: what requests bring is counted beside them, added up over workers, and compared on a page."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
import requests
from registered import let_run
from waiting import eventually

from serving.app import create_app
from serving.dialect import PredictCall
from serving.metrics import Metrics
from serving.predict import PredictRoute
from serving.profiles import Profiles
from yarnmill.bundle.manifest import Field, Signature
from yarnmill.cli.main import run, yarnmill
from yarnmill.drift.reference import Reference, make_reference
from yarnmill.registry import Rule

if TYPE_CHECKING:
    from conftest import Clock, Platform, Start
    from flask.testing import FlaskClient

    from serving.models import ModelTable

SIGNATURE = Signature(
    inputs=(Field(name="user_id", dtype="int64"), Field(name="features", dtype="float32", shape=(2,))),
    outputs=(Field(name="score", dtype="float32"),),
)
NAMES = ["user_id", "features[0]", "features[1]", "score"]
PREDICT = "/v1/models/rater:predict"


def rows(count: int, seed: int, shift: float = 0.0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 2)).astype(np.float32)
    features[:, 1] += np.float32(shift)
    return {"user_id": rng.integers(0, 5, count), "features": features}


def answers(columns: dict[str, Any], bias: float = 1.0) -> dict[str, Any]:
    return {"score": (columns["features"].sum(axis=1) + columns["user_id"] + bias).astype(np.float32)}


def instances(columns: dict[str, Any]) -> list[dict[str, Any]]:
    pairs = zip(columns["user_id"].tolist(), columns["features"].tolist(), strict=True)
    return [{"user_id": user, "features": features} for user, features in pairs]


@pytest.fixture
def reference() -> Reference:
    columns = rows(1_000, 1)
    return make_reference(SIGNATURE, columns, answers(columns), 1_000)


@pytest.fixture
def table(platform: "Platform", table: "ModelTable", reference: Reference) -> "ModelTable":
    platform.deploy("rater", 1.0, reference=reference)
    table.refresh()
    return table


def worker(table: "ModelTable", profiles: Profiles) -> "FlaskClient":
    return create_app(table, Metrics(), max_body_bytes=1_000_000, profiles=profiles).test_client()


def series_of(client: "FlaskClient", path: str = "/v1/models/rater/drift") -> dict[str, Any]:
    (version,) = client.get(path).json["versions"]
    return {one["name"]: one for one in version["series"]}


def test_requests_like_the_reference_are_steady_and_others_are_named(table: "ModelTable") -> None:
    client = worker(table, Profiles(Metrics()))
    for each in instances(rows(300, 2)):
        assert client.post(PREDICT, json={"instances": [each]}).status_code == 200
    found = series_of(client)
    assert list(found) == NAMES
    assert {one["verdict"] for one in found.values()} == {"steady"}
    assert {one["now"]["rows"] for one in found.values()} == {300}
    moved = rows(500, 3, shift=1.5)
    body = {"inputs": {name: column.tolist() for name, column in moved.items()}}
    assert client.post(PREDICT, json=body).status_code == 200
    found = series_of(client, "/v1/models/rater/versions/1/drift")
    assert found["features[1]"]["verdict"] == "drifted"
    assert found["features[1]"]["distance"]["p_value"] < 1e-9
    assert {found[name]["verdict"] for name in ("user_id", "features[0]")} == {"steady"}


def test_the_gauges_say_how_far_the_worst_series_is_and_how_many_have_drifted(
    table: "ModelTable", tmp_path: Path, clock: "Clock"
) -> None:
    metrics = Metrics()
    profiles = Profiles(metrics, tmp_path, clock, window_s=60.0)
    client = create_app(table, metrics, max_body_bytes=1_000_000, profiles=profiles).test_client()

    def shown() -> list[float]:
        profiles.count()
        profiles.show()
        lines = client.get("/metrics").text.splitlines()
        names = ("yarnmill_drift_psi_max", "yarnmill_drifted_series")
        return [float(line.split()[-1]) for name in names for line in lines if line.startswith(name + "{")]

    assert shown() == []
    assert client.post(PREDICT, json={"instances": instances(rows(400, 2))}).status_code == 200
    psi, drifted = shown()
    assert psi < 0.1
    assert drifted == 0.0
    assert client.post(PREDICT, json={"instances": instances(rows(400, 3, shift=3.0))}).status_code == 200
    psi, drifted = shown()
    assert psi > 0.5
    assert drifted == 2.0  # the feature, and the score that it is part of
    clock.now = 500.0
    assert shown() == [0.0, 0.0]


def test_what_is_counted_is_what_the_reference_would_count(table: "ModelTable", reference: Reference) -> None:
    client = worker(table, Profiles(Metrics()))
    asked = rows(50, 4)
    for start in range(0, 50, 7):
        part = {name: column[start : start + 7] for name, column in asked.items()}
        assert client.post(PREDICT, json={"instances": instances(part)}).status_code == 200
    (version,) = client.get("/v1/models/rater/profiles").json["versions"]
    expected = reference.count(SIGNATURE, asked, answers(asked), 50)
    assert [tuple(one["counts"]) for one in version["profiles"]] == [one.counts for one in expected]
    assert version["reference"]["rows"] == 1_000


def test_workers_add_up_and_counts_outlive_them(table: "ModelTable", tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    one, other = Profiles(Metrics(), folder), Profiles(Metrics(), folder)
    for profiles in (one, other):
        client = worker(table, profiles)
        assert client.post(PREDICT, json={"instances": instances(rows(40, 5))}).status_code == 200
    one.stop()
    (folder / "0-later.json").write_text('{"counted": [], "more": 1}')
    assert series_of(worker(table, other))["score"]["now"]["rows"] == 80
    other.stop()
    assert series_of(worker(table, Profiles(Metrics(), folder)))["score"]["now"]["rows"] == 80
    assert len(list(folder.iterdir())) == 3


def test_counts_are_of_this_window_and_the_one_before(table: "ModelTable", tmp_path: Path, clock: "Clock") -> None:
    profiles = Profiles(Metrics(), tmp_path, clock, window_s=60.0)
    client = worker(table, profiles)

    def seen(now: float) -> int:
        clock.now = now
        profiles.count()
        assert client.post(PREDICT, json={"instances": instances(rows(1, 6))}).status_code == 200
        found: int = series_of(client)["score"]["now"]["rows"]
        profiles.save()
        return found

    assert [seen(now) for now in (600.0, 659.0, 661.0, 719.0, 721.0, 900.0)] == [1, 2, 3, 4, 3, 1]


def test_files_that_nobody_writes_any_more_go(table: "ModelTable", tmp_path: Path) -> None:
    (tmp_path / "1-dead.json").write_text("{}")
    os.utime(tmp_path / "1-dead.json", (0, 0))
    profiles = Profiles(Metrics(), tmp_path)
    worker(table, profiles).post(PREDICT, json={"instances": instances(rows(1, 6))})
    profiles.stop()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("1-")] == []


def test_what_there_is_no_room_for_is_dropped_and_counted(table: "ModelTable", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.profiles._MOST_WAITING_BYTES", 10)  # else 32 MiB would have to wait
    metrics = Metrics()
    client = create_app(table, metrics, max_body_bytes=100_000).test_client()
    assert client.post(PREDICT, json={"instances": instances(rows(1, 6))}).status_code == 200
    assert 'yarnmill_profiled_requests_total{outcome="dropped"} 1.0' in client.get("/metrics").text
    assert client.get("/v1/models/rater/drift").json["versions"][0]["reason"] == "nobody has asked it lately"


def test_nothing_is_lost_or_counted_twice_whoever_asks_meanwhile(table: "ModelTable", tmp_path: Path) -> None:
    profiles = Profiles(Metrics(), tmp_path)
    served, columns = table.find("rater"), rows(2, 6)
    call, outputs = PredictCall(columns=columns, rows=2, by_row=True), answers(columns)

    def ask(number: int) -> None:
        for each in range(300):
            profiles.offer(served, call, outputs, 100)
            if each % 100 == number:
                profiles.save()
                profiles.show()
                profiles.of_version(served)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    assert profiles.of_version(served).profiles[0].rows == 8 * 300 * 2


def test_what_cannot_be_counted_is_counted_as_that(
    table: "ModelTable", reference: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    served = table.find("rater")
    other = msgspec.structs.replace(served, reference=msgspec.structs.replace(reference, series=()))
    metrics = Metrics()
    profiles = Profiles(metrics)
    columns = rows(3, 7)
    for _ in range(2):
        profiles.offer(other, PredictCall(columns=columns, rows=3, by_row=True), answers(columns), 100)
        profiles.count()
    assert 'yarnmill_profiled_requests_total{outcome="failed"} 2.0' in metrics.render().decode()
    assert caplog.text.count("is not counted") == 1


def test_a_mirror_is_watched_too(platform: "Platform", table: "ModelTable", reference: Reference) -> None:
    second, _ = platform.publish("rater", 5.0, reference=reference)
    let_run(platform.registry, "rater", second)
    platform.registry.endpoints.route("rater", Rule(destinations=Rule.only(1).destinations, mirror=second))
    table.refresh()
    app = create_app(table, Metrics(), max_body_bytes=1_000_000)
    route, client = app.wsgi_app, app.test_client()
    assert isinstance(route, PredictRoute)
    for each in instances(rows(200, 2)):
        assert client.post(PREDICT, json={"instances": [each]}).status_code == 200
        route._shadow.wait()  # noqa: SLF001  # nothing else tells when
    live, mirror = client.get("/v1/models/rater/drift").json["versions"]
    assert (live["version"], live["rows"], live["verdict"]) == (1, 200, "steady")
    assert (mirror["version"], mirror["rows"], mirror["verdict"]) == (2, 200, "drifted")  # it adds 5, not 1


def test_a_version_without_a_reference_costs_nothing_and_says_so(platform: "Platform", table: "ModelTable") -> None:
    platform.deploy("plain", 2.0)
    table.refresh()
    client = worker(table, Profiles(Metrics()))
    assert client.post("/v1/models/plain:predict", json={"instances": instances(rows(1, 6))}).status_code == 200
    (version,) = client.get("/v1/models/plain/drift").json["versions"]
    assert (version["verdict"], version["reason"]) == ("unknown", "its bundle has no reference")
    assert client.get("/v1/models/nobody/drift").status_code == 404
    assert client.get("/v1/models/plain/versions/7/profiles").status_code == 404


def test_a_reference_of_a_later_time_keeps_nobody_from_answering(
    platform: "Platform", table: "ModelTable", reference: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    platform.deploy("later", 3.0, reference=msgspec.structs.replace(reference, schema_version=2))
    table.refresh()
    assert table.find("later").reference is None
    assert "schema version 2" in caplog.text


@pytest.mark.programs
def test_the_command_on_a_tier_of_two_workers(
    platform: "Platform", start_tier: "Start", reference: Reference, capsys: pytest.CaptureFixture[str]
) -> None:
    platform.deploy("rater", 1.0, reference=reference)
    platform.deploy("plain", 2.0)
    command = ["models", "drift", "rater", "--home", str(platform.home)]
    with start_tier("--workers", "2") as tier:

        def ask(columns: dict[str, Any]) -> None:
            for each in instances(columns):  # a connection each, so that both workers are asked
                answer = requests.post(f"{tier.url}{PREDICT}", json={"instances": [each]}, timeout=20)
                assert answer.status_code == 200

        def counted() -> int:
            (version,) = requests.get(f"{tier.url}/v1/models/rater/drift", timeout=20).json()["versions"]
            found: int = version["rows"]
            return found

        ask(rows(120, 2))
        assert eventually(lambda: counted() == 120)
        assert run(yarnmill, [*command, "--tier", tier.url]) == 0
        shown = capsys.readouterr().out
        assert "rater/1: 120 rows since" in shown
        assert "features[1]" in shown
        assert "steady" in shown
        ask(rows(120, 3, shift=2.0))
        assert eventually(lambda: counted() == 240)
        assert run(yarnmill, [*command, "--tier", tier.url, "--tier", "http://127.0.0.1:1", "--output", "json"]) == 20
        out, err = capsys.readouterr()
        (version,) = json.loads(out)["versions"]
        assert {one["name"]: one["verdict"] for one in version["series"]}["features[1]"] == "drifted"
        assert "no answer from http://127.0.0.1:1" in err
        assert run(yarnmill, [*command, "--tier", tier.url, "--psi", "9", "--version", "1"]) == 0
        assert run(yarnmill, [*command, "--tier", tier.url, "--psi", "-1"]) == 2
        assert run(yarnmill, [*command, "--tier", tier.url, "--version", "7"]) == 3
        assert run(yarnmill, [*command, "--tier", "http://127.0.0.1:1"]) == 10
        assert run(yarnmill, ["models", "drift", "plain", "--home", str(platform.home), "--tier", tier.url]) == 3
        assert "no reference in the bundle of version 1" in capsys.readouterr().err
    with start_tier("--workers", "1") as tier:  # what was counted before the restart is still of this hour
        (version,) = requests.get(f"{tier.url}/v1/models/rater/drift", timeout=20).json()["versions"]
        assert version["rows"] == 240
    assert "Traceback" not in tier.log.read_text()
