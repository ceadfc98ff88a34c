"""Snapshots of features and models behind transformers, published and deployed by the commands that people type."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from snapshots import DAY, write_snapshot
from trained import REPORT, Train

from yarnmill.blobs import open_store
from yarnmill.bundle.store import read_bundle_manifest
from yarnmill.cli.main import run, yarnmill
from yarnmill.config import Config
from yarnmill.lifecycle.publish import publish
from yarnmill.registry import Registry

pytestmark = pytest.mark.programs

TRANSFORMER = """
inputs: [{name: client, json_path: "$.clients[*]", dtype: string}]
lookups: [{table: shop.clients, entities: {client: client}, features: [number]}]
outputs: {user_id: number}
"""


@pytest.fixture
def snapshot(tmp_path: Path) -> str:
    features = [("number", "float64", -1.0), ("words", "bag", None)]
    rows = {"ann": (7.0, {"red": 1.0}), "bob": (8.0, {})}
    return write_snapshot(tmp_path / "snapshot", "shop.clients", ("client", "string"), features, rows)


@pytest.fixture
def transformer(tmp_path: Path) -> Path:
    path = tmp_path / "transformer.yaml"
    path.write_text(TRANSFORMER)
    return path


class Commands:
    """Runs commands on the platform of a test."""

    def __init__(self, home: Path, settings: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        self._end = ["--home", str(home), *settings]
        self._capsys = capsys

    def __call__(self, *words: str, status: int = 0) -> str:
        """Run one; return what it printed, or what it complained about if it is to fail."""
        self._capsys.readouterr()
        assert run(yarnmill, [*words, *self._end]) == status
        seen = self._capsys.readouterr()
        return seen.err if status else seen.out

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--output", "json"))


@pytest.fixture
def command(home: Path, settings: list[str], capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(home, settings, capsys)


def test_a_snapshot_is_a_version_of_its_table_and_answers(command: Commands, snapshot: str, config: Config) -> None:
    assert command.json("features", "ls") == []
    published = command.json("features", "publish", "shop.clients", "--made", snapshot)
    assert (published["model"], published["version"], published["created"]) == ("shop.clients", 1, True)
    again = command.json("features", "publish", "shop.clients", "--made", snapshot)
    assert (again["version"], again["created"]) == (1, False)
    (listed,) = command.json("features", "ls")
    assert dt.datetime.fromisoformat(listed.pop("created_at")) <= dt.datetime.now(dt.UTC)
    assert listed == {"table": "shop.clients", "version": 1, "ds": DAY.isoformat(), "entities": 2, "answers": True}
    assert "answers" in command("features", "ls")
    registry = Registry(config.registry_url)
    version = registry.versions.get("shop.clients", 1)
    assert (version.flavour, registry.versions.models("features")[0].name) == ("features", "shop.clients")
    manifest = read_bundle_manifest(open_store(version.blobs_url), version.bundle_id)
    assert {"keys/0.npy", "numbers.npy", "bags/1/values.npy", "example.json"} <= {file.path for file in manifest.files}
    assert "all sound" in command("bundle", "verify", version.bundle_id)


def test_a_snapshot_of_another_table_is_refused(command: Commands, snapshot: str) -> None:
    assert "a snapshot of shop.clients" in command("features", "publish", "shop.goods", "--made", snapshot, status=2)
    words = ("features", "publish", "shop.clients", "--made", snapshot, "--ds", "2026-01-01")
    assert "--made names a snapshot that is there" in command(*words, status=2)
    assert command("features", "publish", "shop.clients", "--made", f"{snapshot}-none", status=3)


def test_a_snapshot_that_is_to_wait_does_not_answer(command: Commands, snapshot: str) -> None:
    assert "shop.clients version 1" in command("features", "publish", "shop.clients", "--made", snapshot, "--no-deploy")
    assert [one["answers"] for one in command.json("features", "ls")] == [False]


def test_a_model_behind_a_transformer_is_deployed_once_its_features_answer(
    command: Commands, train: Train, snapshot: str, transformer: Path, config: Config
) -> None:
    output = train("one", REPORT)
    plain = publish(output, "rater", "torch", config)
    published = publish(output, "rater", "torch", config, transformer=transformer)
    assert (plain.version, published.version) == (1, 2)
    assert publish(output, "rater", "torch", config, transformer=transformer).created is False
    manifest = read_bundle_manifest(open_store(config.storage.blobs), published.bundle_id)
    assert "transformer.yaml" in {file.path for file in manifest.files}

    complaint = command("models", "deploy", "rater", "2", status=3)
    assert "features shop.clients: no snapshot answers in production" in complaint
    assert "yarnmill features publish shop.clients" in complaint
    command("features", "publish", "shop.clients", "--made", snapshot)
    assert "version 2 answers" in command("models", "deploy", "rater", "2")


def test_a_transformer_that_does_not_fit_is_refused_before_anything_is_stored(
    command: Commands, train: Train, transformer: Path
) -> None:
    output = train("one", REPORT)
    words = ("models", "publish", output, "--model", "rater", "--flavour", "torch", "--transformer")
    transformer.write_text(TRANSFORMER.replace("number}", "client}"))
    complaint = command(*words, str(transformer), status=2)
    assert f"{transformer}: outputs.user_id: client is a text" in complaint
    assert "one column of numbers" in complaint
    assert "no such file" in command(*words, f"{transformer}.none", status=3)
    assert command.json("models", "list") == []


def test_a_simulation_shows_each_step_and_the_answer(
    command: Commands, train: Train, snapshot: str, transformer: Path, config: Config, tmp_path: Path
) -> None:
    publish(train("one", REPORT), "rater", "torch", config, transformer=transformer)
    request = tmp_path / "request.json"
    request.write_text('{"clients": ["bob", "nobody"]}')
    simulate = ("serving", "simulate", "--request", str(request))
    missing = command(*simulate, "--model", "rater", "1", status=3)
    assert "features shop.clients: no snapshot answers in the default environment" in missing
    command("features", "publish", "shop.clients", "--made", snapshot)
    assert command.json(*simulate, "--model", "rater", "1") == {
        "rows": 2,
        "sources": ["shop.clients/1 ds=2026-01-31"],
        "steps": [
            {"part": "inputs", "name": "", "columns": {"client": ["bob", "nobody"]}},
            {"part": "lookups", "name": "shop.clients/1 ds=2026-01-31", "columns": {"number": [8.0, -1.0]}},
        ],
        "asked": {"user_id": [8, -1]},
        "outputs": {"probability": [8.0, -1.0]},
    }
    shown = command(*simulate, "--transformer", str(transformer))
    assert "the model gets" in shown
    assert "the model answers" not in shown
    request.write_text('{"clients": ["bob", 7]}')
    bad = command(*simulate, "--model", "rater", "1", status=21)
    assert f"{request}: $.clients[1]: is 7" in bad
    assert "expected: a string" in bad
    request.write_text("[]")
    assert "no object" in command(*simulate, "--transformer", str(transformer), status=21)
    assert "no transformer" in command(*simulate, status=2)
