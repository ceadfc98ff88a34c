"""merlin-sdk itself, unchanged, against a running tier.

Its pins (mlflow 1.26, protobuf below 5, docker below 6.2) clash with the platform's, so it has an environment of its
own in the user cache: built from `merlin-sdk.lock` on first use, as the platform's other environments are.
"""

import getpass
import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from serving.control.tokens import add_role_token
from yarnmill import environments

if TYPE_CHECKING:
    from conftest import Merlin, Platform, Start, Tier

pytestmark = pytest.mark.programs

HERE = Path(__file__).parent
CALL = re.compile(r"method='(?P<method>[A-Z]+)',\s*resource_path='(?P<path>[^']+)'")


@pytest.fixture(scope="module")
def sdk() -> Path:
    """Return the Python that has merlin-sdk."""
    return environments.ensure_locked((HERE / "merlin-sdk.lock").read_text(), print)


def session(platform: "Platform", tier: "Tier", sdk: Path, *arguments: str) -> dict[str, Any]:
    """Return what the SDK's user saw in a tier that has been started over :func:`prepare`."""
    home = platform.home.parent
    done = subprocess.run(
        [str(sdk), str(HERE / "merlin_session.py"), tier.url, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=home,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr + tier.log.read_text()
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def prepare(platform: "Platform") -> None:
    for number in (1, 2, 3):
        platform.publish("rater", float(number))
    platform.blob_of_model(3.0, "rater").unlink()
    platform.registry.versions.label("rater", 2, {"stage": "final"})
    platform.registry.environments.create("staging", "http://staging.example.com:8500")


def test_the_sdk_works_unchanged(platform: "Platform", start_tier: "Start", sdk: Path) -> None:
    prepare(platform)
    with start_tier("--control", "--set", f"serving.jobs.root=file://{platform.home}/predicted") as tier:
        seen = session(platform, tier, sdk)
    assert f"file://{platform.home}/predicted/default/rows" in seen.pop("why")
    assert "no blob" in (reason := seen.pop("not deployed"))
    assert seen.pop("log of 3") == [
        f"deployment 3 of rater/3 asked for by {getpass.getuser()}",
        f"deployment 3 of rater/3 failed: {reason}",
    ]
    assert seen.pop("log of 2") == ["model rater version 2 answers"]
    refused = {key: seen.pop(key) for key in ("undeploy what serves", "new model", "new version")}
    assert [status for status, _ in refused.values()] == [409, 501, 501]
    assert "yarnmill models publish" in refused["new version"][1]
    assert seen == {
        "environments": [["production", True], ["staging", False]],
        "default": "production",
        "projects": ["default"],
        "models": [["rater", "custom"]],
        "endpoint before": None,
        "versions": [3, 2, 1],
        "final": [2],
        "deployed": ["running", "production"],
        "deployed again": "running",
        "serves": ["serving", "production", {"predictions": [11.0]}],
        "serves the second": True,
        "answers": {"predictions": [12.0]},
        "endpoints": [True],
        "stopped": [None, []],
        "ends": ["failed", "terminated", "terminated"],
        "staging": "http://staging.example.com:8500/merlin/models/rater/v1/predict",
        "set traffic": "serving",
        "job": "failed",
        "stopped job": "terminated",
        "schema": True,
        "schemas": ["row_id"],
        "schemas after": [],
    }
    assert platform.registry.endpoints.get("rater").rule.versions == (1,)


@pytest.mark.parametrize("server", ["gunicorn"])
def test_the_sdk_works_with_a_token(platform: "Platform", start_tier: "Start", sdk: Path, tmp_path: Path) -> None:
    prepare(platform)
    tokens = tmp_path / "tokens.yaml"
    token = add_role_token(tokens, "notebook", "deployer", ("default",))
    root = f"serving.jobs.root=file://{platform.home}/predicted"
    with start_tier("--control", "--tokens", str(tokens), "--set", root) as tier:
        seen = session(platform, tier, sdk, token)
        assert token not in tier.log.read_text()
    assert (seen["deployed"], seen["set traffic"]) == (["running", "production"], "serving")
    assert seen["new model"][0] == 501
    # What sees a job through acts as the tier's user.
    actors = {one.actor for one in platform.registry.audit("rater")}
    assert actors == {"tests", "notebook", getpass.getuser()}


def test_every_address_of_its_client_is_known(asked: "Merlin", sdk: Path) -> None:
    (package,) = sdk.parent.parent.glob("lib/python3*/site-packages/client/api")
    calls = {found.groups() for file in package.glob("*.py") for found in CALL.finditer(file.read_text())}
    assert len(calls) > 50
    rules = asked.client.application.url_map.bind("localhost")
    for method, path in calls:
        assert rules.test("/merlin/v1" + re.sub(r"\{[^}]*\}", "1", path), method), (method, path)
