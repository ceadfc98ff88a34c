"""Models of TensorFlow and PyTorch in their own form, asked by every kind of client; what one breaks is its own."""

import gc
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask.testing import FlaskClient
from processes import children
from waiting import eventually

from serving.app import create_app
from serving.metrics import Metrics
from serving.models import ModelTable
from yarnmill.bundle.example import Example, write_example
from yarnmill.bundle.manifest import Field, Flavour, Signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Clock, Platform

SIGNATURE = Signature(
    inputs=(Field(name="text", dtype="string"), Field(name="features", dtype="float32", shape=(2,))),
    outputs=(
        Field(name="score", dtype="float32"),
        Field(name="label", dtype="string"),
        Field(name="twice", dtype="float32", shape=(2,)),
    ),
)
FLAVOURS: tuple[Flavour, ...] = ("tensorflow", "torch")
ROWS = [{"text": "good film", "features": [0.5, 1.0]}, {"text": "zürich", "features": [0.0, 0.0]}]
COLUMNS = {name: [row[name] for row in ROWS] for name in ("text", "features")}
BY_ROW = [
    {"score": 4.5, "label": "liked", "twice": [4.5, 9.0]},
    {"score": 0.0, "label": "böse", "twice": [0.0, 0.0]},
]
BY_COLUMN = {"score": [4.5, 0.0], "label": ["liked", "böse"], "twice": [[4.5, 9.0], [0.0, 0.0]]}
TENSORS = [
    {"name": "text", "shape": [2], "datatype": "BYTES", "data": COLUMNS["text"]},
    {"name": "features", "shape": [2, 2], "datatype": "FP32", "data": [0.5, 1.0, 0.0, 0.0]},
]
ANSWERED = [
    {"name": "score", "shape": [2], "datatype": "FP32", "data": [4.5, 0.0]},
    {"name": "label", "shape": [2], "datatype": "BYTES", "data": ["liked", "böse"]},
    {"name": "twice", "shape": [2, 2], "datatype": "FP32", "data": [4.5, 9.0, 0.0, 0.0]},
]
FRAME = {"columns": ["text", "features"], "data": [[row["text"], row["features"]] for row in ROWS]}


def publish(platform: "Platform", flavour: Flavour, native: Path) -> int:
    """Register a version under the flavour's name; its example is what all these models answer without a bias."""
    folder = platform.home / "work" / native.name
    shutil.copytree(native, folder / "native")
    write_example(folder, Example(inputs=COLUMNS, outputs=BY_COLUMN))
    return platform.register(flavour, folder, flavour, SIGNATURE, native.name)[0]


@pytest.fixture(scope="module")
def platform(
    platform_in: "Callable[[Path, str], Platform]", native_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> "Platform":
    """Return a platform that a model of each library, and an ONNX graph beside them, answers on."""
    made = platform_in(tmp_path_factory.mktemp("native") / "home", "")
    for flavour in FLAVOURS:
        made.answer(flavour, publish(made, flavour, native_models / flavour))
    made.deploy("rater", 0.5)
    return made


@pytest.fixture(scope="module")
def table(platform: "Platform", training_python: Path) -> ModelTable:
    """Return a table in which all of them are open: each library is started once for the tests of this module."""
    table = platform.open_table(lambda: 0.0, allow_code=True, training_python=str(training_python))
    table.refresh()
    assert table.snapshot.is_ready
    return table


def open_client(table: ModelTable) -> FlaskClient:
    return create_app(table, Metrics(), max_body_bytes=100_000).test_client()


@pytest.fixture(scope="module")
def client(table: ModelTable) -> FlaskClient:
    return open_client(table)


def ask(client: FlaskClient, model: str, *texts: str) -> tuple[int, Any]:
    instances = [{"text": text, "features": [0.0, 0.0]} for text in texts]
    answer = client.post(f"/v1/models/{model}:predict", json={"instances": instances})
    return answer.status_code, answer.json


def rater_answers(client: FlaskClient) -> bool:
    answer = client.post("/v1/models/rater:predict", json={"instances": [{"user_id": 1, "features": [0.0, 0.0]}]})
    return bool(answer.json == {"predictions": [1.5]})


@pytest.mark.parametrize("model", FLAVOURS)
@pytest.mark.parametrize(
    ("address", "body", "expected"),
    [
        ("/v1/models/{}:predict", {"instances": ROWS}, {"predictions": BY_ROW}),
        ("/v1/models/{}/versions/1:predict", {"inputs": COLUMNS}, {"outputs": BY_COLUMN}),
        ("/merlin/models/{}/v1/predict", {"instances": ROWS}, {"predictions": BY_ROW}),
        ("/v2/models/{}/infer", {"inputs": TENSORS}, {"outputs": ANSWERED}),
        ("/mlflow/{}/invocations", {"dataframe_split": FRAME}, {"predictions": BY_ROW}),
        ("/mlflow/{}/invocations", {"inputs": COLUMNS}, {"predictions": BY_ROW}),
    ],
)
def test_every_client_is_answered(client: FlaskClient, model: str, address: str, body: object, expected: Any) -> None:
    answer = client.post(address.format(model), json=body)
    assert answer.status_code == 200, answer.json
    assert {name: answer.json[name] for name in expected} == expected
    assert answer.headers["X-Model-Version"] == "1"


@pytest.mark.parametrize("model", FLAVOURS)
@pytest.mark.parametrize(
    ("address", "body", "message"),
    [
        ("/v1/models/{}:predict", {"instances": [{**ROWS[0], "text": 7}]}, "instances[0].text: is 7"),
        ("/v1/models/{}:predict", {"inputs": {**COLUMNS, "features": [[0, 0], [0, "a"]]}}, "inputs.features[1][1]"),
        (
            "/v2/models/{}/infer",
            {"inputs": [TENSORS[0], {**TENSORS[1], "datatype": "FP64"}]},
            "inputs.features.datatype",
        ),
        ("/mlflow/{}/invocations", {"dataframe_records": [{"text": "good"}]}, "dataframe_records[0].features: missing"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(
    client: FlaskClient, model: str, address: str, body: object, message: str
) -> None:
    answer = client.post(address.format(model), json=body)
    assert answer.status_code == 400
    assert message in answer.get_data(as_text=True)


@pytest.mark.parametrize("model", FLAVOURS)
def test_what_a_model_raises_is_said_in_one_line(client: FlaskClient, model: str) -> None:
    status, answer = ask(client, model, "raise")
    assert status == 500
    assert "no such text" in answer["error"]
    assert len(answer["error"]) < 500
    assert ask(client, model, "good")[1]["predictions"][0]["score"] == 3.0


def test_one_that_is_killed_comes_back(client: FlaskClient, table: ModelTable) -> None:
    os.kill(process_of(table, "torch"), signal.SIGKILL)
    status, answer = ask(client, "torch", "good")
    assert status == 500
    assert "the model's process: it ended" in answer["error"]
    assert rater_answers(client)
    assert eventually(lambda: ask(client, "torch", "good")[0] == 200)


def test_a_new_version_takes_over_without_a_request_lost(
    platform: "Platform", table: ModelTable, client: FlaskClient, native_models: Path
) -> None:
    before = process_of(table, "torch")
    wanted = publish(platform, "torch", native_models / "torch-10")
    seen: dict[int, set[object]] = {}

    def asking() -> None:
        own = client.application.test_client()
        while wanted not in seen:
            answer = own.post("/v1/models/torch:predict", json={"instances": ROWS})
            version = int(answer.headers["X-Model-Version"])
            seen.setdefault(version, set()).add(answer.json["predictions"][0]["score"])

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(asking)
        platform.answer("torch", wanted)
        table.refresh()
        asked.result()
    assert seen[wanted] == {14.5}
    assert seen.get(1, {4.5}) == {4.5}
    assert eventually(lambda: gc.collect() >= 0 and before not in children())


def test_one_that_hangs_is_ended_and_its_neighbours_answer(client: FlaskClient, table: ModelTable) -> None:
    process = process_of(table, "tensorflow")
    limits = table.find("tensorflow").predictor._program._process._limits  # type: ignore[attr-defined]  # noqa: SLF001  # 30 s is long
    limits.answer_s = 0.5
    status, answer = ask(client, "tensorflow", "hang")
    assert status == 500
    assert "no answer within 0.5 s" in answer["error"]
    assert process not in children()
    assert rater_answers(client)


def process_of(table: ModelTable, model: str) -> int:
    """Return the process that answers for a model."""
    running = table.find(model).predictor._program._process._running  # type: ignore[attr-defined]  # noqa: SLF001  # whose it is nobody else knows
    return int(running._process.pid)  # noqa: SLF001


def test_its_process_counts_and_is_ended_when_there_is_no_room(
    platform_in: "Callable[[Path, str], Platform]",
    native_models: Path,
    training_python: Path,
    clock: "Clock",
    tmp_path: Path,
) -> None:
    made = platform_in(tmp_path / "home", "")
    made.answer("torch", publish(made, "torch", native_models / "torch"))
    made.deploy("rater", 0.5)
    table, before = made.open_table(clock, 100 << 20, allow_code=True, training_python=str(training_python)), children()
    table.refresh()
    assert table.find("torch").memory_bytes > 100 << 20
    (process,) = children() - before
    clock.now += 1
    assert rater_answers(open_client(table))
    assert table.snapshot.slots["torch"].served is None
    assert eventually(lambda: gc.collect() >= 0 and process not in children())


def test_without_its_library_it_is_refused_and_its_neighbours_answer(platform: "Platform", clock: "Clock") -> None:
    table = platform.open_table(clock, allow_code=True)
    table.refresh()
    failure = table.snapshot.slots["tensorflow"].failure
    assert "tensorflow is needed for this model's native form" in failure
    assert "to mend it: yarnmill env build training" in failure
    assert "\n" not in failure
    assert rater_answers(open_client(table))
    guarded = platform.open_table(clock)
    guarded.refresh()
    assert "native form, which is not run here" in guarded.snapshot.slots["torch"].failure
