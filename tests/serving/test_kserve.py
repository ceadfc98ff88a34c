"""KServe's ``InferenceRESTClient`` itself, unchanged, against a running tier.

Its pins (pandas below 3, psutil below 6) clash with the platform's, so it has an environment of its own in the user
cache: built from `kserve.lock` on first use, as the platform's other environments are.
"""

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from yarnmill import environments

if TYPE_CHECKING:
    from conftest import Platform, Start

pytestmark = pytest.mark.programs

HERE = Path(__file__).parent


@pytest.mark.parametrize("server", ["gunicorn"], indirect=True)
def test_its_client_works_unchanged_in_both_protocols(platform: "Platform", start_tier: "Start") -> None:
    python = environments.ensure_locked((HERE / "kserve.lock").read_text(), print)
    platform.deploy("rater", 0.5)
    with start_tier("--workers", "1") as tier:
        done = subprocess.run(
            [str(python), str(HERE / "kserve_session.py"), tier.url],
            capture_output=True,
            text=True,
            check=False,
            cwd=platform.home.parent,
            env={"HOME": str(platform.home.parent), "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == 0, done.stderr + tier.log.read_text()
    seen = json.loads(done.stdout.splitlines()[-1])
    refused = {key: seen.pop(key) for key in ("v1 bad row", "v1 nobody", "v2 bad input")}
    assert {key: status for key, (status, _) in refused.items()} == {
        "v1 bad row": 400,
        "v1 nobody": 404,
        "v2 bad input": 400,
    }
    assert "instances[0]" in refused["v1 bad row"][1]
    assert "not deployed here" in refused["v1 nobody"][1]
    assert "inputs.user_id" in refused["v2 bad input"][1]
    assert seen == {
        "v1 server": True,
        "v1 ready": True,
        "v1": {"predictions": [10.5, 0.5]},
        "v1 version": "1",
        "v2 server": [True, True],
        "v2 ready": [True, False],
        "v2 json": ["one", "1", "FP32", [10.5, 0.5], "json"],
        "v2 binary": ["one", "1", "FP32", [10.5, 0.5], "binary"],
    }
