"""Publishing, tracking and the commands around them, on a real model and a real MLflow store."""

import datetime as dt
import json
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from trained import REPORT, Train

from yarnmill.blobs import open_store
from yarnmill.bundle.pack import verify_bundle
from yarnmill.bundle.store import fetch_bundle, read_bundle_manifest
from yarnmill.cli.main import run, yarnmill
from yarnmill.config import Config, load_config
from yarnmill.errors import ClusterUnavailableError, ConfigurationError, JobFailedError, NotFoundError
from yarnmill.lifecycle.publish import pack_output, publish, store_and_register
from yarnmill.registry import Registry
from yarnmill.registry.search import Query
from yarnmill.registry.tracking import Tracking, track_pending

pytestmark = pytest.mark.programs


def test_an_output_becomes_a_version_once(output: str, config: Config, tmp_path: Path) -> None:
    said: list[str] = []
    first = publish(output, "rater", "torch", config, said.append)
    again = publish(output, "rater", "torch", config, said.append)
    assert (first.version, first.created, again.created) == (1, True, False)
    assert again.bundle_id == first.bundle_id
    assert "up to date" in said[-1]
    registry = Registry(config.registry_url)
    assert [version.bundle_id for version in registry.versions.find("rater")] == [first.bundle_id]
    manifest = verify_bundle(fetch_bundle(open_store(config.storage.blobs), first.bundle_id, tmp_path / "cache"))
    assert {"model.onnx", "native/weights.pt"} <= {file.path for file in manifest.files}
    assert (manifest.lineage.inputs, manifest.lineage.application_id) == (REPORT.inputs, REPORT.application_id)
    assert (manifest.metrics, manifest.created_at) == (REPORT.metrics, REPORT.finished_at)


def test_the_same_output_is_the_same_bundle_anywhere(output: str, config: Config, tmp_path: Path) -> None:
    elsewhere = load_config(None, [f"storage.blobs=file://{tmp_path}/other"], home=str(tmp_path / "other-home"))
    assert publish(output, "rater", "torch", config).bundle_id == publish(output, "rater", "torch", elsewhere).bundle_id


def test_every_version_has_one_mlflow_run(output: str, train: Train, config: Config) -> None:
    later = msgspec.structs.replace(REPORT, run_id="run-2", finished_at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC))
    publish(output, "rater", "torch", config)
    publish(train("two", later), "rater", "torch", config)
    publish(output, "rater", "torch", config)
    runs = Tracking(config.tracking_uri).runs()
    assert [(each.name, each.model, each.version, each.run_id) for each in runs] == [
        ("rater-2", "rater", "2", "run-2"),
        ("rater-1", "rater", "1", "run-1"),
    ]
    assert (runs[1].metrics, runs[1].application_id, runs[1].state) == (
        REPORT.metrics,
        REPORT.application_id,
        "finished",
    )
    assert runs[1].at == REPORT.finished_at
    registry = Registry(config.registry_url)
    assert registry.versions.untracked() == []
    assert {version.tracking_run_id for version in registry.versions.find("rater")} == {
        each.tracking_run_id for each in runs
    }


def test_recording_twice_gives_one_run(output: str, config: Config) -> None:
    published = publish(output, "rater", "torch", config)
    version = Registry(config.registry_url).versions.get("rater", published.version)
    manifest = read_bundle_manifest(open_store(config.storage.blobs), published.bundle_id)
    tracking = Tracking(config.tracking_uri)
    assert tracking.record(version, manifest) == version.tracking_run_id
    assert len(tracking.runs()) == 1


def test_mlflow_being_down_loses_nothing(output: str, config: Config, home: Path) -> None:
    (home / "mlflow.db").rename(home / "kept.db")
    (home / "mlflow.db").mkdir()  # nothing can be opened there
    said: list[str] = []
    published = publish(output, "rater", "torch", config, said.append)
    registry = Registry(config.registry_url)
    assert [version.version for version in registry.versions.untracked()] == [published.version]
    assert "not in MLflow yet" in said[-1]
    with pytest.raises(ClusterUnavailableError, match=r"mlflow\.db"):
        Tracking(config.tracking_uri).runs()
    (home / "mlflow.db").rmdir()
    (home / "kept.db").rename(home / "mlflow.db")
    assert track_pending(registry, Tracking(config.tracking_uri), said.append) == 1
    assert registry.versions.untracked() == []
    assert track_pending(registry, Tracking(config.tracking_uri), said.append) == 0
    assert [each.run_id for each in Tracking(config.tracking_uri).runs()] == [REPORT.run_id]


def test_a_server_of_mlflow_that_is_away_is_told_at_once(output: str, home: Path, settings: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    away = load_config(None, [settings[1], f"registry.tracking=http://ana:secret@127.0.0.1:{port}"], home=str(home))
    said: list[str] = []
    assert publish(output, "rater", "torch", away, said.append).version == 1
    assert said[-1].startswith("1 versions are registered but not in MLflow yet: MLflow at http://ana:***@127.0.0.1:")
    sync = ["mlflow", "sync", "--home", str(home), "--set", settings[1]]
    assert run(yarnmill, [*sync, "--set", f"registry.tracking=http://127.0.0.1:{port}"]) == 10
    back = load_config(None, [settings[1]], home=str(home))
    assert track_pending(Registry(back.registry_url), Tracking(back.tracking_uri), said.append) == 1


def test_a_server_of_mlflow_that_says_nothing_is_left_soon(
    output: str, home: Path, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yarnmill.registry.tracking._ANSWER_S", 0.5)  # the same wait, not half a minute of it
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        tracking = f"registry.tracking=http://127.0.0.1:{server.getsockname()[1]}"
        silent = load_config(None, [settings[1], tracking], home=str(home))
        said: list[str] = []
        assert publish(output, "rater", "torch", silent, said.append).version == 1
    assert said[-1].startswith("1 versions are registered but not in MLflow yet: MLflow at http://127.0.0.1:")
    assert said[-1].endswith("takes the connection and says nothing for 0.5 s")


def test_of_two_who_bring_mlflow_in_step_at_once_one_leaves_a_run(
    output: str, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, mlflow = Registry(config.registry_url), Tracking(config.tracking_uri)
    (tmp_path / "work").mkdir()
    manifest = pack_output(output, "torch", tmp_path / "work", config)
    store_and_register(registry, "rater", tmp_path / "work", manifest, config)
    said: list[str] = []
    create = MlflowClient.create_run

    def create_late(*arguments: Any, **more: Any) -> Run:
        """Begin a run when the other, who found none either, has written its own."""
        monkeypatch.setattr(MlflowClient, "create_run", create)
        assert track_pending(registry, mlflow, said.append) == 1
        return create(*arguments, **more)

    monkeypatch.setattr(MlflowClient, "create_run", create_late)  # the real one, behind the other's in the race
    track_pending(registry, mlflow, said.append)
    assert [each.tracking_run_id for each in mlflow.runs()] == [registry.versions.get("rater", 1).tracking_run_id]
    assert (registry.versions.untracked(), said) == ([], [])


def test_a_version_that_was_trained_from_another_is_its_child(train: Train, config: Config, root: str) -> None:
    first = train("first", REPORT)
    publish(first, "rater", "torch", config)
    read = (f"{root}/runs/nothing", first)
    publish(train("second", msgspec.structs.replace(REPORT, run_id="run-2", inputs=read)), "rater", "torch", config)
    registry = Registry(config.registry_url)
    assert [version.parent for version in registry.versions.find("rater")] == [None, "rater/1"]
    assert [version.name for version in registry.search.versions(Query(parent="rater/1"))] == ["rater/2"]


def test_what_did_not_succeed_is_not_published(train: Train, root: str, config: Config) -> None:
    with pytest.raises(NotFoundError, match=r"report\.json"):
        publish(f"{root}/runs/none", "rater", "torch", config)
    failed = train("failed", msgspec.structs.replace(REPORT, state="failed", exit_reason="out of memory"))
    with pytest.raises(JobFailedError, match="out of memory"):
        publish(failed, "rater", "torch", config)
    with pytest.raises(ConfigurationError, match="cannot name a model"):
        publish(failed, "a/b", "torch", config)
    with pytest.raises(ConfigurationError, match="cannot be a label's key"):
        publish(train("labelled", REPORT), "rater", "torch", config, labels={"": "x"})
    assert Registry(config.registry_url).versions.models() == []
    assert list(open_store(config.storage.blobs).ids()) == []


def test_the_commands_tell_the_same_story(
    output: str, settings: list[str], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(*arguments: str) -> str:
        assert run(yarnmill, [*arguments, *settings, "--home", str(home)]) == 0
        return capsys.readouterr().out

    published = json.loads(
        shown("models", "publish", output, "--model", "rater", "--flavour", "torch", "--output", "json")
    )
    bundle_id = published["bundle_id"]
    assert json.loads(shown("models", "list", "--output", "json"))[0]["versions"] == 1
    assert json.loads(shown("versions", "list", "rater", "--output", "json"))[0]["bundle_id"] == bundle_id
    assert "0.7512" in shown("versions", "list", "rater")
    assert "version 1 answers" in shown("models", "deploy", "rater", "1", "--expected", "0")
    assert json.loads(shown("models", "show", "rater", "--output", "json"))["rules"][0]["rule"]["destinations"] == [
        {"version": 1, "weight": 100.0}
    ]
    assert "create model" in shown("models", "show", "rater")
    assert json.loads(shown("runs", "--output", "json"))[0]["bundle_id"] == bundle_id
    assert "application_1_0001" in shown("runs", "list")
    assert "model.onnx" in shown("bundle", "show", bundle_id)
    assert "largest difference 0)" in shown("bundle", "verify", bundle_id)
    verified = json.loads(shown("bundle", "verify", bundle_id, "--output", "json"))
    assert verified == {"bundle_id": bundle_id, "files": 3, "largest_difference": 0.0}
    cache = str(tmp_path / "cache")
    assert shown("bundle", "fetch", bundle_id, "--cache", cache) == f"{cache}/{bundle_id}\n"
    fetched = json.loads(shown("bundle", "fetch", bundle_id, "--cache", cache, "--output", "json"))
    assert fetched == {"bundle_id": bundle_id, "folder": f"{cache}/{bundle_id}"}
    assert shown("bundle", "fetch", bundle_id) == f"{home}/cache/bundles/{bundle_id}\n"
    assert (
        json.loads(shown("bundle", "show", str(tmp_path / "cache" / bundle_id), "--output", "json"))["flavour"]
        == "torch"
    )
    assert shown("bundle", "pack", output, str(tmp_path / "packed"), "--flavour", "torch").strip() == bundle_id
    repacked = shown("bundle", "pack", output, str(tmp_path / "again"), "--flavour", "torch", "--output", "json")
    assert json.loads(repacked) == {"bundle_id": bundle_id}
    refused = ["bundle", "pack", output, str(tmp_path / "fresh"), "--flavour", "lightgbm", *settings]
    assert run(yarnmill, [*refused, "--home", str(home)]) == 3
    assert not (tmp_path / "fresh").exists()
    assert json.loads(shown("mlflow", "sync", "--output", "json")) == {"done": 0, "behind": 0}
    assert run(yarnmill, ["models", "deploy", "rater", "1", "--expected", "9", "--home", str(home)]) == 4
    assert run(yarnmill, ["models", "deploy", "rater", "2", "--home", str(home)]) == 3
