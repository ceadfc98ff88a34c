"""Requests that come together are one call of the model, and each gets what it would have got alone."""

import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import eventually

from serving.app import create_app
from serving.batching import BatchingPredictor, batched
from serving.metrics import Metrics
from yarnmill.bundle.manifest import Field, Signature
from yarnmill.config import BatchingSettings, load_config
from yarnmill.errors import ConfigurationError
from yarnmill.flavours.predictor import Column
from yarnmill.units import Seconds

if TYPE_CHECKING:
    from conftest import Platform, Start

HOURS = 9_000.0
POISON = 13.0
Outputs = dict[str, npt.NDArray[np.generic]]


class Held:
    """A model whose first call lasts for as long as a test says: what comes meanwhile comes together.

    It doubles ``x`` and adds how many terms a row's bag has; ``POISON`` makes a call of it fail.
    """

    signature = Signature(
        inputs=(Field(name="x", dtype="float64"), Field(name="bag", dtype="bag", required=False)),
        outputs=(Field(name="y", dtype="float64"),),
    )

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.goes_on = threading.Event()
        self.begun = threading.Event()

    def predict(self, columns: Mapping[str, Column]) -> Outputs:
        values = np.asarray(columns["x"], np.float64)
        self.calls.append(len(values))
        if not self.begun.is_set():
            self.begun.set()
            assert self.goes_on.wait(60)
        if POISON in values:
            raise ArithmeticError("thirteen")
        bags = columns.get("bag", [{}] * len(values))
        return {"y": 2 * values + [len(bag) for bag in bags]}


class Asking:
    """A batching predictor over a held model, and threads that ask it."""

    def __init__(self, pool: ThreadPoolExecutor, rows: int, wait_s: float) -> None:
        self.model = Held()
        self.metrics = Metrics()
        settings = BatchingSettings(rows=rows, wait=Seconds(wait_s))
        self.predictor = BatchingPredictor(self.model, settings, "held", self.metrics)
        self._pool = pool

    def ask(self, *values: float, bags: list[dict[str, float]] | None = None) -> "Future[Outputs]":
        columns: dict[str, Column] = {"x": np.array(values)}
        if bags is not None:
            columns["bag"] = bags
        return self._pool.submit(self.predictor.predict, columns)

    def wait_for(self, rows: int) -> None:
        assert eventually(lambda: self.predictor.waiting_rows == rows)


@contextmanager
def busy(rows: int, wait_s: float = HOURS) -> Iterator[Asking]:
    """Yield a predictor whose model is being asked one row until the block ends, if no test lets it go on before."""
    with ThreadPoolExecutor(16) as pool:
        asking = Asking(pool, rows, wait_s)
        first = asking.ask(0.5)
        assert asking.model.begun.wait(60)
        try:
            yield asking
        finally:
            asking.model.goes_on.set()
        assert first.result(60)["y"].tolist() == [1.0]


def result(asked: "Future[Outputs]") -> list[float]:
    values: list[float] = asked.result(60)["y"].tolist()
    return values


def test_what_comes_while_the_model_is_asked_is_one_call() -> None:
    with busy(rows=100) as asking:
        answers = [asking.ask(number, -number) for number in range(5)]
        asking.wait_for(10)
        asking.model.goes_on.set()
        assert [result(one) for one in answers] == [[2.0 * number, -2.0 * number] for number in range(5)]
        assert asking.model.calls == [1, 10]
        assert asking.predictor.waiting_rows == 0
        assert result(asking.ask(7)) == [14.0]  # alone, and at once
    text = asking.metrics.render().decode()
    assert 'yarnmill_batch_rows_count{model="held"} 3.0' in text
    assert 'yarnmill_batch_rows_sum{model="held"} 12.0' in text


def test_a_batch_that_is_full_goes_at_once() -> None:
    with busy(rows=4) as asking:
        full = [asking.ask(1, 2), asking.ask(3), asking.ask(4)]
        assert [result(one) for one in full] == [[2.0, 4.0], [6.0], [8.0]]
        one = asking.ask(1, 2, 3)
        asking.wait_for(3)
        other = asking.ask(4, 5)  # no room beside it: that one goes
        assert result(one) == [2.0, 4.0, 6.0]
        asking.model.goes_on.set()
        assert result(other) == [8.0, 10.0]
    assert asking.model.calls == [1, 4, 3, 2]


def test_nobody_waits_longer_than_they_may_for_a_call_that_hangs() -> None:
    with busy(rows=4, wait_s=0.001) as asking:
        assert result(asking.ask(1)) == [2.0]
        assert result(asking.ask(2)) == [4.0]


def test_what_is_a_batch_by_itself_waits_for_nobody() -> None:
    with busy(rows=4) as asking:
        assert result(asking.ask(1, 2, 3, 4, 5)) == [2.0, 4.0, 6.0, 8.0, 10.0]
        assert asking.predictor.predict({"x": np.empty(0)})["y"].shape == (0,)


def test_bags_are_joined_and_requests_with_other_inputs_are_not() -> None:
    with busy(rows=4) as asking:
        with_bags = [asking.ask(1, bags=[{"a": 1.0}]), asking.ask(2, 3, bags=[{}, {"a": 1.0, "b": 2.0}])]
        asking.wait_for(3)
        without = asking.ask(4)
        assert [result(one) for one in with_bags] == [[3.0], [4.0, 8.0]]
        assert result(without) == [8.0]
    assert asking.model.calls == [1, 3, 1]


def test_a_request_that_the_model_fails_on_fails_alone() -> None:
    with busy(rows=100) as asking:
        good, bad = [asking.ask(1), asking.ask(2)], asking.ask(3, POISON)
        asking.wait_for(4)
        asking.model.goes_on.set()
        assert [result(one) for one in good] == [[2.0], [4.0]]
        with pytest.raises(ArithmeticError, match="thirteen"):
            bad.result(60)
        assert sorted(asking.model.calls) == [1, 1, 1, 2, 4]
        assert result(asking.ask(5)) == [10.0]
    assert 'yarnmill_failed_batches_total{model="held"} 1.0' in asking.metrics.render().decode()


def test_a_model_that_does_not_answer_row_by_row_is_asked_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with busy(rows=100) as asking:
        answers = [asking.ask(1), asking.ask(2)]
        asking.wait_for(2)
        monkeypatch.setattr(asking.model, "predict", lambda columns: {"y": 2 * columns["x"][:1]})
        asking.model.goes_on.set()
        assert [result(one) for one in answers] == [[2.0], [4.0]]


sizes = st.lists(st.integers(1, 5), min_size=1, max_size=30)


@settings(max_examples=30)
@given(sizes, st.integers(2, 8), st.sampled_from([0.0, 0.0005]))
def test_everybody_gets_their_own_rows(requested: list[int], rows: int, wait_s: float) -> None:
    with ThreadPoolExecutor(8) as pool:
        asking = Asking(pool, rows, wait_s)
        asking.model.goes_on.set()
        starts = np.cumsum([100, *requested])
        asked = [range(start, start + size) for start, size in zip(starts, requested, strict=False)]
        answers = [asking.ask(*map(float, values)) for values in asked]
        assert [result(one) for one in answers] == [[2.0 * value for value in values] for values in asked]
    assert sum(asking.model.calls) == sum(requested)
    assert max(asking.model.calls) <= max(rows, *requested)


@pytest.mark.slow
def test_versions_are_not_mixed_while_they_are_swapped_and_bad_requests_are_refused_alone(platform: "Platform") -> None:
    metrics = Metrics()
    together = {"rater": BatchingSettings(rows=8, wait=Seconds(0.001))}
    for bias in (100.0, 200.0):
        platform.deploy("rater", bias)
    platform.deploy("other", 0.0)
    table = platform.open_table(lambda: 0.0, prepare=batched(together, metrics))
    table.refresh()
    assert isinstance(table.find("rater").predictor, BatchingPredictor)
    assert not isinstance(table.find("other").predictor, BatchingPredictor)
    app = create_app(table, metrics, max_body_bytes=10_000)
    swapped = threading.Event()
    seen: Counter[tuple[str, int]] = Counter()

    def ask(client: int) -> None:
        http, number = app.test_client(), 0
        while number < 40 or not swapped.is_set():
            number += 1
            if number % 7 == client % 7:
                bad = http.post("/v1/models/rater:predict", json={"instances": [{"user_id": "x"}]})
                assert bad.status_code == 400
            user = 1_000 * client + number
            rows = [{"user_id": user, "features": [1, 0]}, {"user_id": user, "features": [0, 0]}][: 1 + number % 2]
            answer = http.post("/v1/models/rater:predict", json={"instances": rows})
            version = answer.headers["X-Model-Version"]
            expected = [user + 100.0 * int(version) + one["features"][0] for one in rows]  # type: ignore[index]
            assert answer.json == {"predictions": expected}
            seen[version, answer.status_code] += 1

    with ThreadPoolExecutor(6) as pool:
        clients = [pool.submit(ask, client) for client in range(6)]
        for version in (1, 2, 1, 2):
            platform.answer("rater", version)
            table.refresh()
        swapped.set()
        for client in clients:
            client.result(60)
    assert {status for _, status in seen} == {200}
    text = metrics.render().decode()
    rows = float(text.partition('yarnmill_rows_total{model="rater"} ')[2].split()[0])
    assert f'yarnmill_batch_rows_sum{{model="rater"}} {rows}' in text


def test_settings_that_are_none_are_refused() -> None:
    for override in ("serving.batching.rater={rows: 1, wait: 1 ms}", "serving.batching.rater={rows: 8, wait: soon}"):
        with pytest.raises(ConfigurationError, match=r"serving\.batching"):
            load_config(overrides=[override])
    given = load_config(overrides=["serving.batching.rater={rows: 8, wait: 500 us}"]).serving.batching
    assert given == {"rater": BatchingSettings(rows=8, wait=Seconds(0.0005))}


# score = sum(features) + bias, after as many turns of a loop as the largest user_id says.
LOOPING = """<ir_version: 9, opset_import: ["" : 19]>
rater (int64[N] user_id, float[N, 2] features) => (float[N] score)
<int64[1] axes = {{1}}, float bias = {{{bias}}}, float one = {{1}}, bool goes_on = {{1}}>
{{
    turns = ReduceMax <keepdims = 0> (user_id)
    shift = Loop (turns, goes_on, bias) <body = turn (int64 n, bool before, float value) => (bool after, float same)
        {{ after = Identity (before) same = Mul (value, one) }}>
    sum = ReduceSum <keepdims = 0> (features, axes)
    score = Add (sum, shift)
}}"""


def unread(ports: set[int]) -> bool:
    """Return whether any of these clients' bytes still wait to be read by a server of this machine."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    theirs = [line for line in lines if int(line[2].rpartition(":")[2], 16) in ports]
    return len(theirs) < len(ports) or any(int(line[4].rpartition(":")[2], 16) for line in theirs)


def answer_to(client: socket.socket) -> bytes:
    """Return the body of a client's answer, and leave: a server that stops waits for its clients to do so."""
    with client, HTTPResponse(client) as answer:
        answer.begin()
        return answer.read()


@pytest.mark.programs
def test_a_stop_answers_those_that_wait(platform: "Platform", start_tier: "Start") -> None:
    version, _ = platform.publish("rater", 0.5, graph=LOOPING)
    platform.answer("rater", version)
    batching = "serving.batching.rater={rows: 8, wait: 60 s}"
    with start_tier("--workers", "1", "--set", batching, "--set", "serving.threads=16") as tier:
        address = ("127.0.0.1", int(tier.url.rpartition(":")[2]))
        clients = [socket.create_connection(address, timeout=60) for _ in range(4)]
        for number, client in enumerate(clients):
            turns = 0 if number else 300_000
            body = f'{{"instances": [{{"user_id": {turns}, "features": [{number}, 0]}}]}}'
            head = f"POST /v1/models/rater:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
            client.sendall(f"{head}\r\n\r\n{body}".encode())
            assert eventually(lambda client=client: not unread({client.getsockname()[1]}))  # type: ignore[misc]
        tier.process.terminate()
        answers = [answer_to(client) for client in clients]
    assert answers == [f'{{"predictions":[{number}.5]}}'.encode() for number in range(4)]
    assert "Traceback" not in tier.log.read_text()
