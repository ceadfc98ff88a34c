"""A GLMix model behind the tier: named features and bags in JSON, the sum of its effects out."""

import datetime as dt
import json
import math
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from examples import add_example
from photon.model import EffectRecord, FixedEffect, ModelRecord, RandomEffect, save_model
from serving.models import ModelTable
from yarnmill.blobs import open_store
from yarnmill.bundle.manifest import Field, Lineage, Signature
from yarnmill.bundle.pack import pack
from yarnmill.bundle.store import put_bundle
from yarnmill.flavours.glmix import InputFeature, ModelFeatures, ShardFeatures
from yarnmill.records import canonical_json
from yarnmill.registry import Candidate

if TYPE_CHECKING:
    from conftest import Platform

PREDICT = "/v1/models/glmix:predict"
SIGNATURE = Signature(
    inputs=(
        Field(name="user", dtype="string"),
        Field(name="genres", dtype="bag"),
        Field(name="year", dtype="float64", required=False, default=0.0),
    ),
    outputs=(Field(name="probability", dtype="float64"),),
)
# Columns: intercept 0, year 1, genres Drama 2 and War 3.
FIXED = np.array([0.1, 0.01, 0.5, -0.5])
ANN = {0: 1.0, 2: 0.25}
BOB = {0: -1.0, 3: 2.0}


def write_model(folder: Path) -> None:
    """Write the fixed effect and the users' own over the same shard."""
    records = (
        EffectRecord(name="global", shard="all", columns=4),
        EffectRecord(name="per-user", shard="all", columns=4, entity="user"),
    )
    users = RandomEffect(
        name="per-user",
        shard="all",
        entity="user",
        columns=4,
        entities=np.array(["ann", "bob"]),
        cells=np.array([*ANN, *(4 + column for column in BOB)]),
        coefficients=np.array([*ANN.values(), *BOB.values()]),
    )
    save_model(
        folder, ModelRecord(task="logistic", effects=records), iter([FixedEffect("global", "all", FIXED), users])
    )
    index = folder / "index" / "all" / "genres"
    index.mkdir(parents=True)
    np.save(index / "terms.npy", np.array(["Drama", "War"]))
    np.save(index / "columns.npy", np.array([2, 3]))
    features = ModelFeatures(
        features=(InputFeature(name="genres", dtype="bag"), InputFeature(name="year", dtype="float64", default=0.0)),
        shards=(ShardFeatures(name="all", columns=4, intercept=0, numbers={"year": 1}, bags=("genres",)),),
    )
    (folder / "features.json").write_bytes(canonical_json(features))


@pytest.fixture
def glmix(platform: "Platform", table: ModelTable, client: FlaskClient) -> FlaskClient:
    folder = platform.home / "glmix"
    folder.mkdir()
    write_model(folder)
    asked = {"user": np.array(["ann"]), "genres": [{"Drama": 1.0}], "year": np.zeros(1)}
    add_example("glmix", folder, SIGNATURE, asked)
    manifest = pack(
        folder,
        flavour="glmix",
        signature=SIGNATURE,
        lineage=Lineage(inputs=(), code_version="0", run_id="r", application_id="", configuration={}),
        metrics={},
        environment={},
        created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )
    bundle_id = put_bundle(open_store(platform.blobs_url), folder, manifest)
    candidate = Candidate(model="glmix", bundle_id=bundle_id, blobs_url=platform.blobs_url, flavour="glmix", run_id="r")
    platform.answer("glmix", platform.registry.versions.register(candidate).version)
    table.refresh()
    return client


def predictions(client: FlaskClient, *instances: dict[str, Any]) -> list[float]:
    answer = client.post(PREDICT, json={"instances": instances})
    assert answer.status_code == 200, answer.text
    found: list[float] = answer.json["predictions"]
    return found


def probability(margin: float) -> float:
    return 1 / (1 + math.exp(-margin))


def test_the_effects_of_a_row_add_up(glmix: FlaskClient) -> None:
    answers = predictions(
        glmix,
        {"user": "ann", "genres": ["Drama"], "year": 20},
        {"user": "bob", "genres": {"War": 0.5, "Drama": 1}},
        {"user": "ann", "genres": []},
    )
    margins = [0.1 + 0.2 + 0.5 + 1.0 + 0.25, 0.1 - 0.25 + 0.5 - 1.0 + 1.0, 0.1 + 1.0]
    np.testing.assert_allclose(answers, [probability(margin) for margin in margins], rtol=1e-12)


@pytest.mark.parametrize("user", ["zoe", "", "an", "anna", "ann ", "bobbobbobbob"])
def test_an_unknown_user_and_an_unknown_genre_count_nothing(glmix: FlaskClient, user: str) -> None:
    (answer,) = predictions(glmix, {"user": user, "genres": ["Dramas", "Dram", "", "Warlike", "Drama"]})
    assert answer == pytest.approx(probability(0.6), rel=1e-12)


def test_one_huge_key_among_many_does_not_take_all_memory(glmix: FlaskClient) -> None:
    huge = {"user": "u" * 25_000, "genres": ["g" * 25_000]}
    rows = [huge, *({"user": str(number), "genres": [str(number)]} for number in range(1000))]
    tracemalloc.start()
    answers = predictions(glmix, *rows)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert set(answers) == {probability(0.1)}
    assert peak_bytes < 20e6  # as fixed-width text of that length the users alone are 100 MB


@pytest.mark.parametrize(
    ("instance", "error"),
    [
        ({"user": "ann"}, "instances[0].genres: missing"),
        ({"genres": []}, "instances[0].user: missing"),
        ({"user": 7, "genres": []}, "instances[0].user: is 7"),
        ({"user": "ann", "genres": {"War": None}}, "instances[0].genres.War: is null"),
        ({"user": "ann", "genres": "War"}, "instances[0].genres: is 'War'"),
        ({"user": "ann", "genres": [], "film": 1}, "instances[0].film: unknown input"),
    ],
)
def test_a_request_without_a_feature_names_it(glmix: FlaskClient, instance: dict[str, Any], error: str) -> None:
    answer = glmix.post(PREDICT, data=json.dumps({"instances": [instance]}))
    assert answer.status_code == 400
    assert error in answer.json["error"]
