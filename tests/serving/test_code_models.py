"""Models that are code in the tier: only where that is allowed, and what one breaks is its own."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from flask.testing import FlaskClient

from examples import add_example
from serving.app import create_app
from serving.metrics import Metrics
from serving.models import ModelTable
from serving.source import RegistrySource
from yarnmill.blobs import open_store
from yarnmill.bundle.manifest import Field, Lineage, Signature
from yarnmill.bundle.pack import pack
from yarnmill.bundle.store import put_bundle
from yarnmill.registry import Candidate

if TYPE_CHECKING:
    from conftest import Clock, Platform

pytestmark = pytest.mark.programs

SIGNATURE = Signature(inputs=(Field(name="x", dtype="float64"),), outputs=(Field(name="y", dtype="float64"),))
CODE = """
import os

class Doubler:
    def __init__(self, folder):
        pass

    def predict(self, columns):
        if columns["x"][0] < 0:
            os._exit(1)
        return {"y": columns["x"] * 2}
"""


def deploy_code(platform: "Platform") -> None:
    folder = platform.home / "doubler"
    (folder / "python").mkdir(parents=True)
    (folder / "python" / "doubler.py").write_text(CODE)
    (folder / "python.json").write_text('{"entry": "doubler:Doubler"}')
    add_example("python", folder, SIGNATURE, {"x": np.array([1.5])}, allow_code=True)
    manifest = pack(
        folder,
        flavour="python",
        signature=SIGNATURE,
        lineage=Lineage(inputs=(), code_version="0", run_id="r", application_id="", configuration={}),
        metrics={},
        environment={},
        created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )
    bundle_id = put_bundle(open_store(platform.blobs_url), folder, manifest)
    candidate = Candidate(
        model="doubler", bundle_id=bundle_id, blobs_url=platform.blobs_url, flavour="python", run_id="r"
    )
    platform.answer("doubler", platform.registry.versions.register(candidate).version)


def open_table(platform: "Platform", clock: "Clock", *, allow_code: bool) -> ModelTable:
    source = RegistrySource(f"sqlite:///{platform.home / 'registry.db'}", Path(platform.home, "cache"))
    table = ModelTable(source, clock, allow_code=allow_code)
    table.refresh()
    return table


def ask(client: FlaskClient, model: str, instance: dict[str, object]) -> tuple[int, object]:
    answer = client.post(f"/v1/models/{model}:predict", json={"instances": [instance]})
    return answer.status_code, answer.json.get("predictions")


def test_code_is_not_run_unless_it_is_allowed(platform: "Platform", clock: "Clock") -> None:
    deploy_code(platform)
    table = open_table(platform, clock, allow_code=False)
    assert "code of its own" in table.snapshot.slots["doubler"].failure
    assert open_table(platform, clock, allow_code=True).snapshot.slots["doubler"].failure == ""


def test_a_model_that_ends_its_process_hurts_no_other(platform: "Platform", clock: "Clock") -> None:
    deploy_code(platform)
    platform.deploy("rater", 0.5)
    client = create_app(open_table(platform, clock, allow_code=True), Metrics(), max_body_bytes=100_000).test_client()
    assert ask(client, "doubler", {"x": 21.0}) == (200, [42.0])
    assert ask(client, "doubler", {"x": -1.0}) == (500, None)
    assert ask(client, "rater", {"user_id": 1, "features": [0.0, 0.0]}) == (200, [1.5])
