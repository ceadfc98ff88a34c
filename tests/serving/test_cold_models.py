"""More models than memory: what is asked for is opened, what is not is closed, and every answer is right."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import requests
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from serving.app import create_app
from serving.metrics import Metrics
from serving.models import ModelTable
from serving.refusals import ModelUnavailableError, UnknownModelError
from yarnmill.registry.records import Route

if TYPE_CHECKING:
    from conftest import Clock, Platform, Start

pytestmark = pytest.mark.slow

NAMES = ("anna", "bert", "cleo", "dora")
COLUMNS = {"user_id": np.array([1]), "features": np.zeros((1, 2), np.float32)}


def score(table: ModelTable, model: str, version: int | None = None) -> float:
    return float(table.find(model, version).predictor.predict(COLUMNS)["score"][0])


def open_ones(table: ModelTable) -> set[str]:
    return {model for model, slot in table.snapshot.slots.items() if slot.served is not None}


@pytest.fixture
def four(platform: "Platform") -> int:
    """Deploy four models, which add 1, 2, 3 and 4; return about what one of them takes."""
    for bias, name in enumerate(NAMES, 1):
        platform.deploy(name, float(bias))
    table = platform.open_table(lambda: 0.0)
    table.refresh()
    return table.find("anna").memory_bytes


@pytest.fixture
def table(platform: "Platform", clock: "Clock", four: int) -> ModelTable:
    """Return a table with room for two and a half."""
    table = platform.open_table(clock, four * 5 // 2)
    table.refresh()
    return table


def test_those_asked_for_last_are_open(table: ModelTable, clock: "Clock", four: int) -> None:
    assert table.snapshot.is_ready
    assert len(open_ones(table)) == 2
    for bias, name in enumerate((*NAMES, *NAMES), 1):
        clock.now += 1
        assert score(table, name) == 1.0 + (bias - 1) % 4 + 1
        assert table.snapshot.memory_bytes <= 5 * four // 2
    assert open_ones(table) == {"cleo", "dora"}
    clock.now += 1
    score(table, "cleo")
    clock.now += 1
    score(table, "anna")
    assert open_ones(table) == {"cleo", "anna"}
    with pytest.raises(UnknownModelError, match="version 7 is not deployed"):
        table.find("dora", 7)
    assert "dora" not in open_ones(table)


def test_one_is_open_however_little_room_there_is(platform: "Platform", clock: "Clock", four: int) -> None:
    assert four > 1
    table = platform.open_table(clock, 1)
    table.refresh()
    for bias, name in enumerate(NAMES, 1):
        assert score(table, name, 1) == 1.0 + bias
        assert open_ones(table) == {name}


def test_what_many_ask_for_at_once_is_opened_once(
    table: ModelTable, monkeypatch: pytest.MonkeyPatch, clock: "Clock"
) -> None:
    cold = next(name for name in NAMES if name not in open_ones(table))
    fetched: list[Route] = []
    fetch = table._source.fetch  # noqa: SLF001  # what is counted

    def counting(route: Route) -> object:
        fetched.append(route)
        return fetch(route)

    monkeypatch.setattr(table._source, "fetch", counting)  # noqa: SLF001  # it counts, and fetches as ever
    clock.now += 1
    with ThreadPoolExecutor(16) as pool:
        scores = Counter(pool.map(lambda _: score(table, cold), range(64)))
    assert scores == {2.0 + NAMES.index(cold): 64}
    assert len(fetched) == 1


def test_every_answer_is_right_while_models_come_and_go(platform: "Platform", four: int) -> None:
    ticks = iter(range(10**9))
    table = platform.open_table(lambda: float(next(ticks)), four)
    table.refresh()
    asked = np.random.default_rng(2).integers(0, 4, 200)
    with ThreadPoolExecutor(8) as pool:
        scores = list(pool.map(lambda number: score(table, NAMES[number]), asked))
    assert scores == [2.0 + number for number in asked]
    assert len(open_ones(table)) == 1


def test_a_bad_deployment_leaves_what_is_cold_to_answer(
    platform: "Platform", table: ModelTable, clock: "Clock"
) -> None:
    cold = next(name for name in NAMES if name not in open_ones(table))
    version, _ = platform.publish(cold, 9.0)
    platform.blob_of_model(9.0, cold).unlink()
    platform.answer(cold, version)
    table.refresh()
    assert table.snapshot.slots[cold].failure
    assert table.snapshot.is_ready
    assert table.snapshot.slots[cold].retry_at > clock.now  # the pause is that of the bad one alone
    assert score(table, cold) == 2.0 + NAMES.index(cold)
    assert table.snapshot.slots[cold].wanted.main.version == version
    assert table.snapshot.slots[cold].failure
    good = platform.deploy(cold, 10.0)
    table.refresh()
    assert score(table, cold, good) == 11.0
    assert table.snapshot.slots[cold].failure == ""


def test_a_deployment_opens_what_is_cold(platform: "Platform", table: ModelTable) -> None:
    cold = next(name for name in NAMES if name not in open_ones(table))
    platform.deploy(cold, 9.0)
    table.refresh()
    assert cold in open_ones(table)
    assert score(table, cold) == 10.0


def test_what_cannot_be_opened_again_says_why_and_is_tried_again_later(
    platform: "Platform", table: ModelTable, clock: "Clock"
) -> None:
    cold = next(name for name in NAMES if name not in open_ones(table))
    blob = platform.blob_of_model(1.0 + NAMES.index(cold), cold)
    for bundle in (platform.home / "cache" / "bundles").iterdir():
        for graph in bundle.glob("model.onnx"):
            if graph.read_bytes() == blob.read_bytes()[: graph.stat().st_size]:
                graph.unlink()
    whole = blob.read_bytes()
    blob.unlink()
    with pytest.raises(ModelUnavailableError, match=blob.name):
        score(table, cold)
    blob.write_bytes(whole)
    with pytest.raises(ModelUnavailableError, match=blob.name):
        score(table, cold)
    clock.now = table.snapshot.slots[cold].retry_at
    assert score(table, cold) == 2.0 + NAMES.index(cold)
    assert table.snapshot.slots[cold].failure == ""


def test_what_is_cold_is_available_to_all_who_look(table: ModelTable) -> None:
    client = create_app(table, Metrics(), max_body_bytes=100_000).test_client()
    cold = next(name for name in NAMES if name not in open_ones(table))
    status = client.get(f"/v1/models/{cold}").json
    assert status is not None
    assert [one["state"] for one in status["model_version_status"]] == ["AVAILABLE"]
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json and ready.json["answering"], ready.json and ready.json["open"]) == (200, 4, 2)
    index = client.post("/v2/repository/index").json
    assert [one["state"] for one in index or ()] == ["READY"] * 4
    assert cold not in open_ones(table)


@pytest.mark.programs
@pytest.mark.usefixtures("four")
def test_tritons_client_opens_and_closes(start_tier: "Start") -> None:
    with start_tier("--workers", "1", "--set", "serving.memory=1MiB") as tier:
        client = triton.InferenceServerClient(tier.url.removeprefix("http://"))

        def is_open(model: str) -> bool:
            listed = requests.get(f"{tier.url}/v1/models", timeout=20).json()["models"]
            return bool(next(one["open"] for one in listed if one["model"] == model))

        client.load_model("bert")
        assert is_open("bert")
        client.unload_model("bert")
        assert not is_open("bert")
        assert client.is_model_ready("bert")
        assert is_open("bert")
        metrics = requests.get(f"{tier.url}/metrics", timeout=20).text
        assert "yarnmill_models_open " in metrics
        with pytest.raises(InferenceServerException, match="not deployed here"):
            client.load_model("nobody")
