"""From a version to one that answers, past a gate or not; and back."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trained import REPORT, Train

from yarnmill import fs
from yarnmill.blobs import open_store
from yarnmill.bundle.store import read_bundle_manifest
from yarnmill.cli.main import run, yarnmill
from yarnmill.config import Config
from yarnmill.errors import BadDataError, ConflictError, JobFailedError, NotFoundError
from yarnmill.lifecycle.deploy import deploy
from yarnmill.lifecycle.promote import promote
from yarnmill.lifecycle.publish import publish
from yarnmill.lifecycle.scorepairs import ScoreTables, differences
from yarnmill.registry import ModelVersion, Registry, Rule
from yarnmill.registry.gates import Gate, GateRule

pytestmark = pytest.mark.programs

BETTER = Gate(
    rules=(GateRule(metric="test_auc", at_least=0.7), GateRule(metric="test_auc", against="serving", at_least=0.0))
)
SAME_ROWS = Gate(rules=(GateRule(metric="AUC", against="serving", same_rows=True, at_least=-0.01),))


@pytest.fixture
def registry(config: Config) -> Registry:
    return Registry(config.registry_url)


@pytest.fixture
def versions(train: Train, config: Config, registry: Registry) -> list[ModelVersion]:
    """Return three versions of rater, with an AUC of 0.75, 0.72 and 0.78."""
    for number, auc in enumerate((0.75, 0.72, 0.78), start=1):
        report = msgspec.structs.replace(REPORT, run_id=f"run-{number}", metrics={"test_auc": auc})
        publish(train(str(number), report), "rater", "torch", config)
    return registry.versions.find("rater")


def answers(registry: Registry) -> list[Rule]:
    return [endpoint.rule for endpoint in registry.endpoints.find()]


def test_a_version_answers_after_it_was_tried(versions: list[ModelVersion], config: Config, registry: Registry) -> None:
    said: list[str] = []
    endpoint = deploy("rater", 1, config, expected=0, progress=said.append)
    assert (endpoint.rule, endpoint.routes[0].bundle_id) == (Rule.only(1), versions[0].bundle_id)
    assert deploy("rater", 1, config) == endpoint
    assert deploy("rater", 2, config, expected=1).revision == 2
    assert [(one.version, one.status) for one in registry.deployments.find()] == [(1, "running"), (2, "serving")]
    with pytest.raises(ConflictError, match="revision 2, not 1"):
        deploy("rater", 3, config, expected=1)
    assert said == ["rater/1: fetching it, opening it, asking it its example", "rater/1: runs in production"]


@pytest.mark.usefixtures("versions")
def test_a_version_that_cannot_be_fetched_fails_and_what_served_goes_on(config: Config, registry: Registry) -> None:
    deploy("rater", 1, config)
    store, bundle_id = open_store(config.storage.blobs), registry.versions.get("rater", 2).bundle_id
    store.delete(bundle_id)
    with pytest.raises(NotFoundError, match=bundle_id):
        deploy("rater", 2, config)
    endpoint = registry.deployments.get("rater", 2)
    assert endpoint.status == "failed"
    assert bundle_id in endpoint.message
    assert answers(registry) == [Rule.only(1)]
    store.undelete(bundle_id)
    assert deploy("rater", 2, config).rule == Rule.only(2)


@pytest.mark.usefixtures("versions")
def test_a_version_that_only_the_cache_has_fails(config: Config, registry: Registry) -> None:
    deploy("rater", 2, config)
    deploy("rater", 1, config)
    store, version = open_store(config.storage.blobs), registry.versions.get("rater", 2)
    weights = read_bundle_manifest(store, version.bundle_id).files[-1].sha256
    url = fs.join(store.url, "blobs", weights[:2], weights)
    sound = fs.read_bytes(url)
    fs.write_bytes(url, bytes([sound[0] ^ 1]) + sound[1:], overwrite=True)
    with pytest.raises(BadDataError, match=f"{weights} .* is damaged"):
        deploy("rater", 2, config)
    fs.write_bytes(url, sound, overwrite=True)
    store.delete(version.bundle_id)
    with pytest.raises(NotFoundError, match="was deleted"):
        deploy("rater", 2, config)
    assert answers(registry) == [Rule.only(1)]
    assert registry.deployments.get("rater", 2).status == "running"


@pytest.mark.usefixtures("versions")
def test_a_version_that_answers_its_example_otherwise_fails(config: Config, registry: Registry) -> None:
    deploy("rater", 1, config)
    version = registry.versions.get("rater", 2)
    cached = config.home_path / "cache" / "bundles" / version.bundle_id
    deploy("rater", 2, config)
    deploy("rater", 1, config)
    example = cached / "example.json"
    example.write_bytes(example.read_bytes().replace(b"2.0", b"7.0"))  # of the same size: the quick look misses it
    with pytest.raises(BadDataError, match="answers its example otherwise"):
        deploy("rater", 2, config)
    assert answers(registry) == [Rule.only(1)]
    assert registry.deployments.get("rater", 2).status == "running"  # it ran before
    assert "example otherwise" in registry.deployments.history("rater")[0].message


@pytest.mark.usefixtures("versions")
def test_a_gate_lets_the_better_one_pass(config: Config, registry: Registry) -> None:
    first = promote("rater", 1, BETTER, config)
    assert (first.verdict.passed, first.verdict.against, first.revision) == (True, None, 1)
    with pytest.raises(JobFailedError, match=r"test_auc minus serving's >= 0: -0.03"):
        promote("rater", 2, BETTER, config)
    assert answers(registry) == [Rule.only(1)]
    third = promote("rater", 3, BETTER, config)
    assert (third.verdict.against, third.revision) == (1, 2)
    assert [(one.version, one.passed) for one in registry.verdicts.find("rater")] == [(3, True), (2, False), (1, True)]
    assert registry.endpoints.roll_back("rater").rule == Rule.only(1)


def scores(folder: Path, version: ModelVersion, noise: float, *, rows: int = 4000, uids: str = "u") -> str:
    random = np.random.default_rng(7)
    truth = random.normal(size=rows)
    labels = (random.random(rows) < 1 / (1 + np.exp(-2 * truth))).astype(np.float64)
    own = np.random.default_rng(version.version)
    guess = 1 / (1 + np.exp(-(truth + noise * own.normal(size=rows))))
    ids = pa.StructArray.from_arrays([pa.array([f"user-{row % 50}" for row in range(rows)])], names=["user_id"])
    table = pa.table(
        {
            "uid": [f"{uids}{row}" for row in range(rows)],
            "response": labels,
            "weight": np.ones(rows),
            "ids": ids,
            "score": guess,
            "bundle_id": [version.bundle_id] * rows,
        }
    )
    order = np.random.default_rng(version.version).permutation(rows)
    folder.mkdir()
    for part, half in enumerate(np.array_split(order, 2)):
        pq.write_table(table.take(half), folder / f"part-{part}.parquet")
    return folder.as_uri()


def test_both_are_compared_on_the_same_rows(
    versions: list[ModelVersion], config: Config, registry: Registry, tmp_path: Path
) -> None:
    one, two, three = versions
    serving = scores(tmp_path / "one", one, 0.5)
    promote("rater", 1, SAME_ROWS, config)
    worse = ScoreTables(candidate=scores(tmp_path / "two", two, 3.0), serving=serving)
    with pytest.raises(JobFailedError, match=r"over 4,000 rows"):
        promote("rater", 2, SAME_ROWS, config, scores=worse)
    with pytest.raises(JobFailedError, match="no scores of both versions"):
        promote("rater", 3, SAME_ROWS, config)
    better = ScoreTables(candidate=scores(tmp_path / "three", three, 0.1), serving=serving)
    (result,) = promote("rater", 3, SAME_ROWS, config, scores=better).verdict.results
    assert result.rows == 4000
    assert result.low is not None
    assert result.high is not None
    assert -0.01 < result.low < (result.seen or 0.0) < result.high
    assert answers(registry) == [Rule.only(3)]


def test_of_long_tables_the_same_few_rows_are_compared(versions: list[ModelVersion], tmp_path: Path) -> None:
    """Both have them in another order, and in several files."""
    one, two, _ = versions
    tables = ScoreTables(candidate=scores(tmp_path / "two", two, 1.0), serving=scores(tmp_path / "one", one, 1.0))
    (rule,) = SAME_ROWS.rules
    few, every = (differences(tables, [rule], two.bundle_id, one.bundle_id, rows=rows)[rule] for rows in (300, 4000))
    assert (few.rows, every.rows) == (300, 4000)
    assert few.high - few.low > every.high - every.low > 0


def test_scores_of_something_else_are_refused(versions: list[ModelVersion], config: Config, tmp_path: Path) -> None:
    one, two, _ = versions
    promote("rater", 1, SAME_ROWS, config)
    mine, theirs = scores(tmp_path / "two", two, 1.0), scores(tmp_path / "one", one, 1.0)
    for tables, reason in (
        (ScoreTables(candidate=theirs, serving=theirs), f"scores of bundle {one.bundle_id[:12]}"),
        (ScoreTables(candidate=mine, serving=scores(tmp_path / "others", one, 1.0, uids="v")), "share no uid"),
    ):
        with pytest.raises(BadDataError, match=reason):
            promote("rater", 2, SAME_ROWS, config, scores=tables)
    fs.make_folder(tmp_path / "none")
    empty = ScoreTables(candidate=mine, serving=(tmp_path / "none").as_uri())
    with pytest.raises(NotFoundError, match="no scores there"):
        promote("rater", 2, SAME_ROWS, config, scores=empty)


def test_the_commands_tell_the_same_story(
    versions: list[ModelVersion],
    settings: list[str],
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def status(*arguments: str) -> int:
        return run(yarnmill, [*arguments, *settings, "--home", str(home)])

    def shown(*arguments: str) -> str:
        capsys.readouterr()
        assert status(*arguments) == 0
        return capsys.readouterr().out

    gate = tmp_path / "gate.yaml"
    gate.write_text("rules:\n- {metric: test_auc, against: serving, at_least: 0}\n")
    assert "passed its gate and answers" in shown("models", "promote", "rater", "1", "--gate", str(gate))
    assert status("models", "promote", "rater", "2", "--gate", str(gate)) == 20
    assert "FAILED: test_auc minus serving's >= 0: -0.03" in capsys.readouterr().err
    assert status("models", "promote", "rater", "2", "--gate", str(gate), "--output", "json") == 20
    refused = json.loads(capsys.readouterr().out)
    assert refused["verdict"]["results"][0]["passed"] is False
    assert refused["revision"] == 1
    promoted = json.loads(shown("models", "promote", "rater", "3", "--gate", str(gate), "--output", "json"))
    assert promoted["verdict"]["results"][0]["seen"] == pytest.approx(0.03)
    assert "version 1 answers" in shown("models", "roll-back", "rater")
    assert status("models", "undeploy", "rater", "1") == 4
    assert "rater/3 in production: terminated" in shown("models", "undeploy", "rater", "3")
    assert "nothing answers" in shown("models", "stop", "rater")
    story = json.loads(shown("models", "show", "rater", "--output", "json"))
    assert [one["passed"] for one in story["verdicts"]] == [True, False, False, True]
    assert "FAILED" not in shown("models", "show", "rater")
    assert "stage=final" in shown("versions", "label", "rater/2", "stage=final")
    found = json.loads(shown("versions", "search", "--label", "stage=final", "--output", "json"))
    assert [one["version"] for one in found] == [2]
    assert "rater/3" in shown("versions", "search", "--metric", "test_auc>0.77")
    assert "0.72" in shown("versions", "show", "rater/2")
    compared = json.loads(shown("models", "compare", "rater/1", "rater/3", "--output", "json"))
    assert {one["name"]: one["change"] for one in compared}["test_auc"] == "+0.03"
    assert "staging" in shown("models", "environments", "create", "staging", "--target", "http://staging")
    assert "staging" in shown("models", "environments", "list")
    assert "version 2 answers in staging" in shown("models", "deploy", "rater", "2", "--environment", "staging")
    assert "films" in shown("models", "projects", "update", "default", "--team", "films")
    assert status("models", "promote", "rater", "1", "--gate", str(tmp_path / "none.yaml")) == 3
    assert status("versions", "show", "rater") == 2
    assert len(versions) == 3
