"""Ramps on a real tier: a good version comes to answer everything, a bad one goes back; killed, it goes on."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import pytest
import requests
from waiting import eventually

from serving.app import create_app
from serving.metrics import Metrics
from serving.models import ModelTable
from serving.predict import PredictRoute
from yarnmill.cli.main import run, yarnmill
from yarnmill.config import Config, load_config
from yarnmill.errors import ConflictError
from yarnmill.experiments.ramp import Ramp
from yarnmill.experiments.sources import Tiers
from yarnmill.experiments.tallies import Growth
from yarnmill.lifecycle.ramp import Ramping, planned
from yarnmill.registry import Rule
from yarnmill.registry.records import Destination
from yarnmill.units import Seconds

if TYPE_CHECKING:
    from conftest import Clock, Platform, Start

pytestmark = pytest.mark.slow

ROW = {"instances": [{"user_id": 1, "features": [0, 0]}]}
QUICK = Ramp(shares=(5.0, 50.0, 100.0), hold_s=Seconds(20), least=100, errors=0.05, slower=None)


def both(share: float) -> Rule:
    return Rule(destinations=(Destination(version=1, weight=100 - share), Destination(version=2, weight=share)))


class Traffic:
    """A tier that is asked whenever a ramp pauses: 400 requests in ten seconds. What fails does so as told."""

    def __init__(self, table: ModelTable, clock: "Clock") -> None:
        self._table, self._clock = table, clock
        self._app = create_app(table, Metrics(), max_body_bytes=100_000)
        self._client = self._app.test_client()
        self.meanwhile: Callable[[], None] = lambda: None
        self.is_silent = False

    def sleep(self, _seconds: float) -> None:
        self._clock.now += 10.0
        self.meanwhile()
        self._table.refresh()
        for number in range(400):
            self._client.post("/v1/models/rater:predict", json=ROW, headers={"X-Unit-Id": str(number)})
        route = self._app.wsgi_app
        assert isinstance(route, PredictRoute)
        route._shadow.wait()  # noqa: SLF001  # nothing else tells when

    def read(self, _url: str) -> str:
        if self.is_silent:
            raise OSError("connection refused")
        return self._client.get("/metrics").text


@pytest.fixture
def traffic(platform: "Platform", table: ModelTable, clock: "Clock") -> Traffic:
    """Return the traffic of a tier at which version 1 answers, which adds 1; version 2, which adds 2, is there."""
    platform.deploy("rater", 1.0)
    platform.publish("rater", 2.0)
    table.refresh()
    return Traffic(table, clock)


@pytest.fixture
def config(platform: "Platform") -> Config:
    return load_config(None, (), home=str(platform.home))


def ramping(traffic: Traffic, clock: "Clock", config: Config, ramp: Ramp, said: list[str] | None = None) -> Ramping:
    growth = Growth("rater", Tiers(["http://tier"], traffic.read))
    progress = (lambda _line: None) if said is None else said.append
    return Ramping("rater", 2, ramp, config, growth, clock=clock, sleep=traffic.sleep, progress=progress)


def break_version(table: ModelTable, version: int) -> None:
    served = table.snapshot.slots["rater"].served
    if served is not None and version in served.versions:
        served.versions[version].predictor.predict = None  # type: ignore[method-assign, assignment]


def test_a_version_that_is_no_worse_comes_to_answer_everything(
    platform: "Platform", traffic: Traffic, clock: "Clock", config: Config
) -> None:
    said: list[str] = []
    outcome = ramping(traffic, clock, config, msgspec.structs.replace(QUICK, dark_s=Seconds(10)), said).run()
    assert (outcome.state, outcome.before, outcome.reason) == ("finished", 1, "")
    assert [step.share for step in outcome.steps] == [0.0, 5.0, 50.0, 100.0]
    assert all(step.after.requests >= QUICK.least and step.after.errors == 0 for step in outcome.steps)
    assert outcome.steps[1].seconds >= 50  # a twentieth of 400 requests in ten seconds: not 100 of them at once
    assert outcome.steps[2].before.scores.mean == 2.0
    assert outcome.steps[2].after.scores.mean == 3.0
    assert platform.registry.endpoints.get("rater").rule == Rule.only(2)
    assert said[0] == "rater/2: is mirrored to"
    assert said[-1] == "rater/2: answers everything"
    again = ramping(traffic, clock, config, QUICK).run()
    assert (again.state, again.steps, again.revision) == ("finished", (), outcome.revision)


@pytest.mark.parametrize("dark_s", [0.0, 30.0])
def test_a_version_that_fails_goes_back_and_the_audit_says_why(
    platform: "Platform", table: ModelTable, traffic: Traffic, clock: "Clock", config: Config, dark_s: float
) -> None:
    traffic.meanwhile = lambda: break_version(table, 2)
    outcome = ramping(traffic, clock, config, msgspec.structs.replace(QUICK, dark_s=Seconds(dark_s))).run()
    assert outcome.state == "rolled back"
    assert outcome.reason.startswith("errors +")
    assert [step.share for step in outcome.steps] == [0.0 if dark_s else 5.0]
    assert platform.registry.endpoints.get("rater").rule == Rule.only(1)
    last = platform.registry.audit("rater")[-1]
    assert last.after["reason"] == outcome.reason


def test_a_version_that_scores_otherwise_goes_back_where_that_is_looked_at(
    traffic: Traffic, clock: "Clock", config: Config
) -> None:
    outcome = ramping(traffic, clock, config, msgspec.structs.replace(QUICK, drift=0.2)).run()
    assert outcome.state == "rolled back"
    assert outcome.reason.startswith("mean score +")


def test_a_version_that_nobody_can_watch_goes_back(
    platform: "Platform", traffic: Traffic, clock: "Clock", config: Config
) -> None:
    traffic.is_silent = True
    outcome = ramping(traffic, clock, config, QUICK).run()
    assert outcome.reason == "nobody can see how it does: no tier answered 5 times in a row"
    assert platform.registry.endpoints.get("rater").rule == Rule.only(1)


def test_a_ramp_goes_on_where_an_earlier_one_was_killed(
    platform: "Platform", traffic: Traffic, clock: "Clock", config: Config
) -> None:
    def stop() -> None:
        if platform.registry.endpoints.get("rater").rule == both(50.0):
            raise KeyboardInterrupt

    traffic.meanwhile = stop
    with pytest.raises(KeyboardInterrupt):
        ramping(traffic, clock, config, QUICK).run()
    traffic.meanwhile = lambda: None
    outcome = ramping(traffic, clock, config, QUICK).run()
    assert [step.share for step in outcome.steps] == [50.0, 100.0]
    assert outcome.state == "finished"


def test_a_rule_that_somebody_else_sets_meanwhile_stands(
    platform: "Platform", traffic: Traffic, clock: "Clock", config: Config
) -> None:
    traffic.meanwhile = lambda: platform.registry.endpoints.route("rater", both(20.0)) and None
    with pytest.raises(ConflictError, match="revision"):
        ramping(traffic, clock, config, QUICK).run()
    assert platform.registry.endpoints.get("rater").rule == both(20.0)


def test_what_a_ramp_will_let_stand() -> None:
    dark = msgspec.structs.replace(QUICK, dark_s=Seconds(1))
    mirrored = Rule(destinations=Rule.only(1).destinations, mirror=2)
    assert planned(dark, Rule.only(1), 2) == [
        (0.0, mirrored),
        (5.0, both(5.0)),
        (50.0, both(50.0)),
        (100.0, Rule.only(2)),
    ]
    assert planned(dark, mirrored, 2)[0] == (0.0, mirrored)
    assert [share for share, _ in planned(dark, both(7.5), 2)] == [50.0, 100.0]
    assert planned(dark, Rule.only(2), 2) == []
    three = Rule(destinations=(*both(50.0).destinations[:1], Destination(version=3, weight=50.0)))
    for wrong in (three, Rule(destinations=Rule.only(1).destinations, mirror=3), Rule(destinations=())):
        with pytest.raises(ConflictError, match="the rule that stands is"):
            planned(dark, wrong, 2)


@pytest.mark.programs
@pytest.mark.parametrize("server", ["gunicorn"], indirect=True)
def test_the_commands_on_a_tier_under_load(
    platform: "Platform", start_tier: "Start", capsys: pytest.CaptureFixture[str]
) -> None:
    platform.deploy("rater", 1.0)
    platform.publish("rater", 2.0)
    failed: list[str] = []
    stop = threading.Event()
    with start_tier() as tier:

        def load() -> None:
            with requests.Session() as session:
                while not stop.is_set():
                    answer = session.post(f"{tier.url}/v1/models/rater:predict", json=ROW, timeout=20)
                    if answer.status_code != 200:
                        failed.append(answer.text)

        thread = threading.Thread(target=load)
        thread.start()
        command = ["experiments", "ramp", "rater", "2", "--shares", "20,100", "--home", str(platform.home)]
        options = ["--hold", "1 s", "--least", "20", "--slower", "100", "--poll", "200 ms", "--tier", tier.url]
        try:
            assert run(yarnmill, [*command, "--plan"]) == 0
            assert capsys.readouterr().out == "    20 %   1: 80 %, 2: 20 %\n   100 %   2: 100 %\n"
            assert run(yarnmill, [*command, *options, "--drift", "0.2"]) == 20
            out, err = capsys.readouterr()
            assert out == "rater: version 2 went back to 1 (revision 3)\n"
            assert "back to version 1: mean score +0.50 [" in err
            program = [sys.executable, "-m", "yarnmill.cli.main", *command, *options, "--least", "1000000"]
            with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as started:
                assert eventually(lambda: platform.registry.endpoints.get("rater").rule != Rule.only(1))
                started.send_signal(signal.SIGKILL)
            assert (
                run(yarnmill, ["experiments", "show", "rater", "--home", str(platform.home), "--tier", tier.url]) == 0
            )
            shown = capsys.readouterr().out
            assert "80 %" in shown
            assert "more errors than 1" in shown
            assert run(yarnmill, [*command, *options, "--output", "json"]) == 0
            done = json.loads(capsys.readouterr().out)
            assert (done["state"], [step["share"] for step in done["steps"]]) == ("finished", [20.0, 100.0])
        finally:
            stop.set()
            thread.join()
    assert failed == []
