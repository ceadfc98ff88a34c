"""A rule with several versions: each is brought to run before the rule stands, or the rule does not."""

import json

import msgspec
import pytest
from trained import REPORT, Train

from yarnmill.blobs import open_store
from yarnmill.cli.main import run, yarnmill
from yarnmill.config import Config
from yarnmill.errors import ConflictError, NotFoundError
from yarnmill.lifecycle.deploy import deploy, route
from yarnmill.lifecycle.publish import publish
from yarnmill.registry import Registry, Rule
from yarnmill.registry.records import Destination

pytestmark = pytest.mark.programs

BOTH = Rule(destinations=(Destination(version=1, weight=90.0), Destination(version=2, weight=10.0)), mirror=3)


@pytest.fixture
def registry(train: Train, config: Config) -> Registry:
    """Return a registry with three versions of rater."""
    for number in range(1, 4):
        said = {**REPORT.metrics, "number": float(number)}
        publish(
            train(str(number), msgspec.structs.replace(REPORT, run_id=f"run-{number}", metrics=said)),
            "rater",
            "torch",
            config,
        )
    return Registry(config.registry_url)


def test_every_version_runs_before_the_rule_stands(registry: Registry, config: Config) -> None:
    deploy("rater", 1, config)
    said: list[str] = []
    endpoint = route("rater", BOTH, config, expected=1, progress=said.append)
    assert (endpoint.rule, endpoint.revision) == (BOTH, 2)
    assert [line for line in said if "fetching" in line] == [
        f"rater/{number}: fetching it, opening it, asking it its example" for number in (2, 3)
    ]
    assert {one.version: one.status for one in registry.deployments.find()} == dict.fromkeys((1, 2, 3), "serving")
    assert route("rater", BOTH, config) == endpoint
    with pytest.raises(ConflictError, match="revision 2, not 1"):
        route("rater", Rule.only(1), config, expected=1)


def test_a_version_that_cannot_run_leaves_the_rule_as_it_was(registry: Registry, config: Config) -> None:
    deploy("rater", 1, config)
    open_store(config.storage.blobs).delete(registry.versions.get("rater", 3).bundle_id)
    with pytest.raises(NotFoundError):
        route("rater", BOTH, config)
    assert registry.endpoints.get("rater").rule == Rule.only(1)
    with pytest.raises(NotFoundError, match="no version 9"):
        route("rater", Rule.only(9), config)


@pytest.mark.usefixtures("registry")
def test_the_command(settings: list[str], home: object, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["models", "route", "rater", "--home", str(home), *settings]
    assert run(yarnmill, [*command, "1=90", "2=10%", "--mirror", "3", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["rule"]["mirror"] == 3
    layered = [*command, "1=50", "2=50", "--output", "json"]
    assert run(yarnmill, [*layered, "--layer", "ranking:0-30.5"]) == 0
    assert json.loads(capsys.readouterr().out)["rule"]["layer"] == {"name": "ranking", "start": 0.0, "stop": 30.5}
    for wrong in ("ranking", "ranking:3", "ranking:5-3", ":0-1", "ranking:a-b"):
        assert run(yarnmill, [*layered, "--layer", wrong]) == 2
        capsys.readouterr()
    for wrong, reason in ((["1=90"], "add up to 90 %"), (["1=99.999", "2=0.001"], "two decimals"), (["x"], "no share")):
        assert run(yarnmill, [*command, *wrong]) == 2
        assert reason in capsys.readouterr().err
