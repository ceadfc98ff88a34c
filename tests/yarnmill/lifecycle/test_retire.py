"""Versions that go take with them what only they had, and nothing else."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from racing import said_until_killed
from trained import REPORT, Train, write_output

from yarnmill.blobs import BlobName, open_store
from yarnmill.bundle.store import read_bundle_manifest, verify_stored
from yarnmill.cli.main import run, yarnmill
from yarnmill.config import Config, load_config
from yarnmill.errors import NotFoundError
from yarnmill.lifecycle.deploy import deploy
from yarnmill.lifecycle.publish import publish
from yarnmill.lifecycle.retire import retire
from yarnmill.registry import Registry
from yarnmill.registry.engine import open_engine, writing
from yarnmill.registry.retention import Policy
from yarnmill.registry.schema import VERSION_BLOB
from yarnmill.report import RunReport

pytestmark = pytest.mark.programs

NEWEST = Policy(keep=1, served_within_days=0)


@pytest.fixture
def registry(config: Config, train: Train) -> Registry:
    """Return a registry with three versions of rater; all share a graph, each has weights of its own."""
    for number in (1, 2, 3):
        publish(train(str(number), numbered(number)), "rater", "torch", config)
    return Registry(config.registry_url)


def numbered(number: int) -> RunReport:
    return msgspec.structs.replace(REPORT, run_id=f"run-{number}", metrics={"test_auc": 0.7 + number / 100})


def test_what_only_they_had_goes(registry: Registry, config: Config) -> None:
    deploy("rater", 1, config)
    store = open_store(config.storage.blobs)
    gone = registry.versions.get("rater", 2)
    manifest = read_bundle_manifest(store, gone.bundle_id)
    retired = retire(registry, NEWEST, registry.retention.plan(NEWEST))
    assert ([one.version for one in retired.versions], retired.deleted_blobs) == ([2], 2)
    with pytest.raises(NotFoundError):
        read_bundle_manifest(store, gone.bundle_id)
    assert {file.path for file in manifest.files if not store.exists(file.sha256)} == {"native/weights.pt"}
    for number in (1, 3):
        verify_stored(store, registry.versions.get("rater", number).bundle_id)
    assert retire(registry, NEWEST, registry.retention.plan(NEWEST)).versions == ()


def test_publishing_it_again_brings_it_back(registry: Registry, config: Config, train: Train) -> None:
    retire(registry, NEWEST, registry.retention.plan(NEWEST))
    again = publish(train("again", numbered(1)), "rater", "torch", config)
    assert again.version == 4  # the weights are others
    first = registry.versions.get("rater", 1)
    assert first.retired_at is not None


def test_the_plan_is_shown_before_anything_goes(
    registry: Registry, config: Config, settings: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["models", "gc", "--keep", "1", "--served-within-days", "0", *settings, "--home", str(home)]
    capsys.readouterr()
    assert run(yarnmill, [*command, "--output", "json"]) == 0
    planned = json.loads(capsys.readouterr().out)["would_retire"]
    assert [one["version"] for one in planned] == [1, 2]
    assert registry.retention.collectable() == []
    assert run(yarnmill, command) == 0
    assert "--apply" in capsys.readouterr().out
    assert run(yarnmill, [*command, "--apply"]) == 0
    assert "2 versions retired, 4 blobs deleted" in capsys.readouterr().out
    verify_stored(open_store(config.storage.blobs), registry.versions.get("rater", 3).bundle_id)


def test_what_no_version_has_goes_and_nothing_else(
    registry: Registry, config: Config, settings: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(config.storage.blobs)
    stranger = store.put(io.BytesIO(b"left by a publication that died")).id
    mine = store.put(io.BytesIO(b"mine"), name=BlobName(account="ml", container="notes", name="mine")).id
    command = ["blobs", "gc", "--kept", "0 s", *settings, "--home", str(home), "--output", "json"]

    def told(*options: str) -> dict[str, list[str]]:
        capsys.readouterr()
        assert run(yarnmill, [*command, *options]) == 0
        answer = json.loads(capsys.readouterr().out)
        return {kind: [one.get("id") or one["blob"] for one in found] for kind, found in answer.items()}

    assert told("--unreferenced", "1 d") == {"unreferenced": [], "plan": [], "collected": []}
    assert told("--unreferenced", "0 s") == {"unreferenced": [stranger], "plan": [], "collected": []}
    assert store.exists(stranger)
    done = told("--unreferenced", "0 s", "--collect")
    assert done == {"unreferenced": [stranger], "plan": [stranger], "collected": [stranger]}
    assert (store.exists(stranger), store.exists(mine)) == (False, True)
    for version in registry.versions.find("rater"):
        verify_stored(store, version.bundle_id)


def test_what_an_older_registry_did_not_note_is_found_out_first(registry: Registry, config: Config) -> None:
    """A version whose blobs are not noted shares its graph with those that go."""
    engine = open_engine(config.registry_url)
    with writing(engine) as connection:
        connection.execute(sa.delete(VERSION_BLOB))
    assert len(registry.retention.unlisted()) == 3
    store = open_store(config.storage.blobs)
    store.delete(registry.versions.get("rater", 3).bundle_id)
    with pytest.raises(NotFoundError):
        retire(registry, NEWEST, registry.retention.plan(NEWEST))
    assert registry.versions.get("rater", 1).retired_at is None
    store.undelete(registry.versions.get("rater", 3).bundle_id)
    assert retire(registry, NEWEST, registry.retention.plan(NEWEST)).deleted_blobs == 4
    verify_stored(store, registry.versions.get("rater", 3).bundle_id)


LIFE = """
import random, sys
from contextlib import suppress
from pathlib import Path
from yarnmill.blobs import open_store
from yarnmill.bundle.store import blobs_of, put_bundle
from yarnmill.config import load_config
from yarnmill.errors import ConflictError, NotFoundError
from yarnmill.lifecycle.promote import promote
from yarnmill.lifecycle.publish import pack_output, store_and_register
from yarnmill.lifecycle.retire import retire
from yarnmill.registry import Registry
from yarnmill.registry.gates import Gate, GateRule
from yarnmill.registry.retention import Policy
home, seed = sys.argv[1], int(sys.argv[2])
config = load_config(None, [f"storage.blobs=file://{home}/blobs"], home=home)
chance, registry, policy = random.Random(seed), Registry(config.registry_url), Policy(keep=2, served_within_days=0)
gate = Gate(rules=(GateRule(metric="test_auc", against="serving", at_least=-1.0),))
print("ready", flush=True)
for step in range(10_000):
    folder = Path(home) / "work" / f"{seed}-{step}"
    folder.mkdir(parents=True)
    manifest = pack_output(f"file://{home}/runs/{chance.randrange(8)}", "torch", folder, config)
    version = store_and_register(registry, "rater", folder, manifest, config)
    try:
        promote("rater", version.version, gate, config)
    except (ConflictError, NotFoundError) as problem:
        print("passed over", type(problem).__name__, flush=True)  # the other one was quicker
    for one in registry.deployments.find("rater"):  # what runs stays
        with suppress(ConflictError):  # it serves
            registry.deployments.undeploy("rater", one.version)
    retire(registry, policy, registry.retention.plan(policy))
"""


def test_lives_killed_anywhere_are_whole_when_one_is_lived_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for number in range(8):
        write_output(f"file://{home}/runs/{number}", str(number), numbered(number))
    config = load_config(None, [f"storage.blobs=file://{home}/blobs"], home=str(home))
    store, policy = open_store(config.storage.blobs), Policy(keep=2, served_within_days=0)
    for turn in range(4):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda seed: said_until_killed(LIFE, str(home), seed, 6.0), (2 * turn, 2 * turn + 1)))
        registry = Registry(config.registry_url)
        retire(registry, policy, registry.retention.plan(policy))
        versions = registry.versions.find("rater") if registry.versions.models() else []
        assert [version.version for version in versions] == list(range(1, len(versions) + 1))
        kept = [version for version in versions if version.retired_at is None]
        for version in kept:
            verify_stored(store, version.bundle_id)
        for endpoint in registry.endpoints.find():
            assert set(endpoint.rule.versions) <= {version.version for version in kept}
        serving = {one.version for one in registry.deployments.find("rater") if one.status == "serving"}
        assert serving == {version for one in registry.endpoints.find() for version in one.rule.versions}
    assert len(versions) > 2
    assert {"retire", "restore"} <= {entry.action for entry in registry.audit("rater")}
    assert all(verdict.passed for verdict in registry.verdicts.find("rater"))
    assert deploy("rater", kept[-1].version, config).rule.versions == (kept[-1].version,)
