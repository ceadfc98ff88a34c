"""Counters of several tiers as a real Prometheus has scraped them: added up, through restarts, and read by a ramp."""

import json
import re
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
import requests
import yaml
from prometheus import prometheus_program
from waiting import eventually

from serving.metrics import Metrics
from yarnmill.cli.main import run, yarnmill
from yarnmill.errors import ConfigurationError
from yarnmill.experiments.sources import Prometheus
from yarnmill.experiments.tallies import Growth
from yarnmill.registry import Rule

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from conftest import Platform, Start

SLOW_S = 0.1
LISTENS = re.compile(r"Listening on.* address=(?P<address>127\.0\.0\.1:\d+)")
StartPrometheus = Callable[[Mapping[str, Sequence[str]]], AbstractContextManager[str]]


@pytest.fixture
def start_prometheus(tmp_path: Path) -> StartPrometheus:
    """Return what starts a Prometheus that scrapes addresses, by job, three times a second; it yields its URL.

    The first scrape comes five seconds after the start: so often it takes up new targets, and nothing sets that.
    """
    program = prometheus_program("prometheus")

    @contextmanager
    def start(jobs: Mapping[str, Sequence[str]]) -> Iterator[str]:
        scraped = [{"job_name": job, "static_configs": [{"targets": list(targets)}]} for job, targets in jobs.items()]
        every = {"scrape_interval": "300ms", "scrape_timeout": "300ms"}
        file = tmp_path / "prometheus.yml"
        file.write_text(yaml.safe_dump({"global": every, "scrape_configs": scraped}))
        command = [program, f"--config.file={file}", f"--storage.tsdb.path={tmp_path / 'series'}"]
        command += ["--web.listen-address=127.0.0.1:0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            lines = []
            try:
                for line in process.stderr:
                    lines.append(line)
                    if found := LISTENS.search(line):
                        break
                else:
                    raise AssertionError("".join(lines))
                rest = threading.Thread(target=process.stderr.read)  # a full pipe would stop it
                rest.start()
                url = f"http://{found['address']}"
                assert eventually(lambda: requests.get(f"{url}/-/ready", timeout=10).status_code == 200)
                yield url
            finally:
                process.terminate()
                process.wait(timeout=20)
            rest.join()

    return start


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Threaded(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Scraped:
    """A tier's counters at an address, without the tier: a test says what was counted."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self._server = make_server("127.0.0.1", 0, self._answer, Threaded, Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.server_port}"

    def _answer(self, _environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain; version=0.0.4")])
        return [self.metrics.render()]

    def answers(self, version: int, *seconds: float, score: float = 0.5) -> None:
        for one in seconds:
            self.metrics.count_arm_answer("rater", version, one, score)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def two() -> Iterator[tuple[Scraped, Scraped]]:
    tiers = Scraped(), Scraped()
    for tier in tiers:
        tier.answers(2, 0.01)
    yield tiers
    for tier in tiers:
        tier.stop()


def wait_for_scrapes(url: str, tiers: int) -> None:
    """Wait until so many tiers have been scraped since this call."""
    now = time.time()

    def scraped() -> bool:
        query = {"query": "timestamp(yarnmill_models_loaded)"}
        found = requests.get(f"{url}/api/v1/query", query, timeout=10).json()["data"]["result"]
        return sum(float(one["value"][1]) > now for one in found) == tiers

    assert eventually(scraped)


def requests_of(growth: Growth, version: int) -> float:
    growth.look()
    return growth.of_arm(version, SLOW_S).requests


def test_what_grows_is_added_up_over_the_tiers_that_are_scraped(
    start_prometheus: StartPrometheus, two: tuple[Scraped, Scraped]
) -> None:
    one, other = two
    with start_prometheus({"rank": [one.address, other.address], "else": []}) as url:
        growth = Growth("rater", Prometheus(url, {"job": "rank"}))
        wait_for_scrapes(url, 2)
        assert growth.look() == ()
        growth.since_the_start()
        assert growth.of_arm(2, SLOW_S).requests == 2
        one.answers(2, 0.01)
        growth.begin()  # what it has scraped by now does not say whether that was before
        growth.look()
        wait_for_scrapes(url, 2)
        assert requests_of(growth, 2) == 0
        one.answers(2, 0.01, 0.3, score=2.0)
        assert eventually(lambda: requests_of(growth, 2) == 2)
        other.answers(2, 5.0, score=4.0)
        other.answers(1, 0.01)
        other.metrics.count_arm_refusal("rater", 2, 400)
        other.metrics.count_arm_answer("another", 2, 0.1, 1.0)
        assert eventually(lambda: requests_of(growth, 2) == 4)
        seen = growth.of_arm(2, SLOW_S)
        assert (seen.errors, seen.timed, seen.slower) == (1, 3, 2)
        assert (seen.scores.count, seen.scores.total, seen.scores.squares) == (3, 8.0, 24.0)
        one.metrics = Metrics()  # started anew
        one.answers(2, 0.01)
        assert eventually(lambda: requests_of(growth, 2) == 5)
        assert Growth("rater", Prometheus(url, {"job": "nobody"})).look() == (
            f'{url}: it scrapes no serving tier with job="nobody"',
        )
        assert Growth('ra"ter', Prometheus(url, {})).look() == ()
        for tier in two:
            tier.stop()
        assert eventually(lambda: growth.look() == (f'{url}: it scrapes no serving tier with job="rank"',))
        assert growth.of_arm(2, SLOW_S).requests == 5
        (trouble,) = Growth("rater", Prometheus(f"{url}/elsewhere", {})).look()
        assert "404" in trouble
    (trouble,) = growth.look()
    assert "refused" in trouble


def test_what_is_no_prometheus_is_refused_or_said(two: tuple[Scraped, Scraped]) -> None:
    with pytest.raises(ConfigurationError, match="no address"):
        Prometheus("prometheus:9090", {})
    with pytest.raises(ConfigurationError, match="no label's name"):
        Prometheus("http://prometheus:9090", {"job}": "x"})
    (trouble,) = Growth("rater", Prometheus(f"http://{two[0].address}", {})).look()  # it answers whatever is asked
    assert "JSON" in trouble


@pytest.mark.parametrize("server", ["gunicorn"], indirect=True)
def test_a_ramp_over_two_tiers_that_a_prometheus_scrapes(
    platform: "Platform", start_tier: "Start", start_prometheus: StartPrometheus, capsys: pytest.CaptureFixture[str]
) -> None:
    platform.deploy("rater", 1.0)
    platform.publish("rater", 2.0)
    failed: list[str] = []
    stop = threading.Event()

    def load(url: str) -> None:
        row = {"instances": [{"user_id": 1, "features": [0, 0]}]}
        with requests.Session() as session:
            while not stop.is_set():
                answer = session.post(f"{url}/v1/models/rater:predict", json=row, timeout=20)
                if answer.status_code != 200:
                    failed.append(answer.text)

    home = ["--home", str(platform.home)]
    with start_tier("--workers", "1") as one, start_tier("--workers", "1") as other:
        addresses = [tier.url.removeprefix("http://") for tier in (one, other)]
        with start_prometheus({"rank": addresses}) as url:
            threads = [threading.Thread(target=load, args=(tier.url,)) for tier in (one, other)]
            for thread in threads:
                thread.start()
            ramp = ["experiments", "ramp", "rater", "2", *home, "--poll", "500 ms", "--slower", "100", "--least", "20"]
            try:
                wait_for_scrapes(url, 2)
                options = ["--prometheus", url, "--select", "job=rank", "--hold", "200 ms", "--shares", "20,100"]
                assert run(yarnmill, [*ramp, *options, "--output", "json"]) == 0
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
            outcome = json.loads(capsys.readouterr().out)
            assert (outcome["state"], [step["share"] for step in outcome["steps"]]) == ("finished", [20.0, 100.0])
            assert all(step["after"]["requests"] >= 20 for step in outcome["steps"])
            assert platform.registry.endpoints.get("rater").rule == Rule.only(2)
            counted = sum(answered_by(tier.url) for tier in (one, other))

            def shown() -> float:
                show = ["experiments", "show", "rater", *home, "--set", f"serving.prometheus={url}", "--output", "json"]
                assert run(yarnmill, show) == 0
                requested: float = json.loads(capsys.readouterr().out)["arms"][0]["tally"]["requests"]
                return requested

            assert eventually(lambda: shown() == counted)
    assert failed == []
    assert run(yarnmill, [*ramp, "--prometheus", url]) == 0  # it answers everything already
    assert run(yarnmill, ["experiments", "show", "rater", *home, "--prometheus", url]) == 10
    assert "no answer from" in capsys.readouterr().err
    wrong = [["--prometheus", url, "--tier", url], ["--prometheus", url, "--select", "rank"], ["--select", "job=rank"]]
    for options in wrong:
        assert run(yarnmill, ["experiments", "show", "rater", *home, *options]) == 2


def answered_by(url: str) -> float:
    text = requests.get(f"{url}/metrics", timeout=10).text
    return float(text.partition('yarnmill_requests_total{model="rater",status="200"} ')[2].split()[0])
