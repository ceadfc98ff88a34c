"""GLMix models in the scoring job: mapped or joined, by the rows' vectors or their features, and always as in REST."""

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from examples import add_example
from jobs.score import Config, ScoredModel, inputs, run
from jobs.scored_models import plan_glmix
from photon.model import EffectRecord, FixedEffect, ModelRecord, RandomEffect, save_model
from photon.rows import SparseRows
from photon.spark.arrow_rows import vectors
from yarnmill import fs
from yarnmill.blobs import open_store
from yarnmill.bundle.example import Example, write_example
from yarnmill.bundle.manifest import Field, Lineage, Signature
from yarnmill.bundle.pack import pack
from yarnmill.bundle.store import fetch_bundle, put_bundle, read_bundle_manifest
from yarnmill.errors import ConfigurationError
from yarnmill.flavours.glmix import FEATURES_NAME, INDEX_NAME, InputFeature, ModelFeatures, ShardFeatures
from yarnmill.flavours.open import open_predictor
from yarnmill.records import canonical_json
from yarnmill.trainingset import (
    RECORD_NAME,
    FeatureColumn,
    Shard,
    TrainingSet,
    read_training_set,
    split_url,
)

ROWS, TERMS = 600, 6
# Columns of a shard: the intercept, the terms of the bag, the year.
COLUMNS = 2 + TERMS
SHARDS = ("all", "own")
NAMES = [f"genre {term}" for term in range(TERMS)]


class Shop(msgspec.Struct, frozen=True):
    """Rows as a request brings them, and where the training set of them is."""

    columns: dict[str, Any]
    training_set: str


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Half of the rows are of one user; some users, films and terms are in no model."""
    random = np.random.default_rng(7)
    url = str(tmp_path_factory.mktemp("glmix") / "training_set")
    users = np.where(random.random(ROWS) < 0.5, "u7", [f"u{one}" for one in random.integers(0, 60, ROWS)])
    films, years = random.integers(0, 40, ROWS), random.normal(size=ROWS)
    worths = np.where(random.random((ROWS, TERMS)) < 0.4, random.normal(size=(ROWS, TERMS)), 0.0)
    bags = [
        {"never seen": 1.0, **{NAMES[term]: row[term] for term in np.flatnonzero(row)}} if number % 2 else {}
        for number, row in enumerate(worths)
    ]
    worths[::2] = 0.0
    dense = np.column_stack([np.ones(ROWS), worths, years])
    shards = [vectors(SparseRows.from_dense(dense)) for _ in SHARDS]
    table = pa.table(
        {
            "uid": pa.array(range(ROWS), pa.int64()),
            "event_time": pa.array([dt.datetime(2026, 1, 1, tzinfo=dt.UTC)] * ROWS, pa.timestamp("us", "UTC")),
            "response": random.integers(0, 2, ROWS).astype(np.float64),
            "weight": np.ones(ROWS),
            "ids": pa.StructArray.from_arrays([pa.array(users.tolist()), pa.array(films)], ["user", "film"]),
            "features": pa.StructArray.from_arrays(
                [pa.array(years), pa.array([list(bag.items()) for bag in bags], pa.map_(pa.string(), pa.float64()))],
                ["year", "genres"],
            ),
            "shards": pa.StructArray.from_arrays(shards, list(SHARDS)),
        }
    )
    for part in range(2):
        with fs.open_write(fs.join(split_url(url, "test"), f"part-{part}.parquet")) as stream:
            pq.write_table(table.slice(part * 350, 350), stream, row_group_size=100)
    record = TrainingSet(
        response="response",
        keys={"user": "string", "film": "int64"},
        features=(
            FeatureColumn(name="year", dtype="float64", table="t.t", default=0.0),
            FeatureColumn(name="genres", dtype="bag", table="t.t"),
        ),
        shards=tuple(
            Shard(name=name, features=("year", "genres"), dimension=COLUMNS, index_sha256="0") for name in SHARDS
        ),
        rows={"train": 0, "validation": 0, "test": ROWS},
        inputs=(),
    )
    fs.write_bytes(fs.join(url, RECORD_NAME), canonical_json(record))
    return Shop({"user": users, "film": films, "year": years, "genres": bags}, url)


def put_glmix(blobs: str, folder: Path, index_sha256: str) -> str:
    """Store a model whose index map is the training set's or another with the same columns."""
    random = np.random.default_rng(8)
    effects: list[FixedEffect | RandomEffect] = [FixedEffect("global", "all", random.normal(size=COLUMNS))]
    for name, entity, ids in (
        ("per_user", "user", np.sort([f"u{one}" for one in range(50)])),
        ("per_film", "film", np.arange(30)),
    ):
        cells = np.flatnonzero(random.random(len(ids) * COLUMNS) < 0.7)
        effects.append(RandomEffect(name, "own", entity, COLUMNS, ids, cells, random.normal(size=len(cells))))
    record = ModelRecord(
        task="logistic",
        effects=tuple(
            EffectRecord(
                name=one.name,
                shard=one.shard,
                columns=COLUMNS,
                entity=getattr(one, "entity", None),
                index_sha256=index_sha256,
            )
            for one in effects
        ),
    )
    folder.mkdir()
    save_model(folder, record, iter(effects))
    features = ModelFeatures(
        features=(InputFeature(name="year", dtype="float64", default=0.0), InputFeature(name="genres", dtype="bag")),
        shards=tuple(
            ShardFeatures(name=name, columns=COLUMNS, intercept=0, numbers={"year": COLUMNS - 1}, bags=("genres",))
            for name in SHARDS
        ),
    )
    (folder / FEATURES_NAME).write_bytes(canonical_json(features))
    for shard in SHARDS:
        below = folder / INDEX_NAME / shard / "genres"
        below.mkdir(parents=True)
        np.save(below / "terms.npy", np.array(NAMES))
        np.save(below / "columns.npy", np.arange(1, TERMS + 1))
    signature = Signature(
        inputs=(
            Field(name="user", dtype="string"),
            Field(name="film", dtype="int64"),
            Field(name="year", dtype="float64", required=False, default=0.0),
            Field(name="genres", dtype="bag"),
        ),
        outputs=(Field(name="probability", dtype="float64"),),
    )
    asked = {"user": np.array(["u1"]), "film": np.array([1]), "year": np.zeros(1), "genres": [{NAMES[0]: 1.0}]}
    add_example("glmix", folder, signature, asked)
    manifest = pack(
        folder,
        flavour="glmix",
        signature=signature,
        lineage=Lineage(inputs=(), code_version="0", run_id="r", application_id="", configuration={}),
        metrics={},
        environment={},
        created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )
    return put_bundle(open_store(blobs), folder, manifest)


@pytest.fixture
def config(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    blobs = (tmp_path / "blobs").as_uri()
    models = tuple(
        ScoredModel(name=name, bundle_id=put_glmix(blobs, tmp_path / name, index))
        for name, index in (("vectors", "0"), ("looked-up", "1"))
    )
    return Config(
        output=str(tmp_path / "scores"),
        training_set=shop.training_set,
        blobs=blobs,
        models=models,
        contributions=True,
    )


def test_mapped_and_joined_scores_are_those_of_rest(
    spark: Any, config: Config, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several ranges of cells, one of which tears an entity apart.
    monkeypatch.setattr("jobs.scored_models.CELLS_A_TASK", 60)
    folder = fetch_bundle(open_store(config.blobs), config.models[0].bundle_id, tmp_path / "mine")
    expected = open_predictor(folder).predict(shop.columns)["probability"]
    for name, limit_mib in (("mapped", 1), ("joined", 0)):
        output = str(tmp_path / name)
        outcome = run(spark, msgspec.structs.replace(config, output=output, join_above_mib=limit_mib))
        joined = {"joined_effects_vectors": 2, "joined_effects_looked-up": 2} if name == "joined" else {}
        assert outcome.counts == {"rows_vectors": ROWS, "rows_looked-up": ROWS, **joined}
        for model in config.models:
            found = ds.dataset(fs.join(output, f"model={model.name}")).to_table().sort_by("uid")
            assert found.column("uid").to_pylist() == list(range(ROWS))
            scores = found.column("score").to_numpy()
            np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-12)
            parts = found.column("contributions").combine_chunks()
            assert [field.name for field in parts.type] == ["global", "per_user", "per_film"]
            total = sum(part.to_numpy() for part in parts.flatten())
            np.testing.assert_allclose(total, np.log(scores / (1.0 - scores)), rtol=0, atol=1e-12 * 50)
            unknown = np.asarray(shop.columns["film"]) >= 30
            assert not parts.field("per_film").to_numpy()[unknown].any()


def test_the_largest_effects_are_joined_until_the_others_fit(config: Config, shop: Shop, tmp_path: Path) -> None:
    store = open_store(config.blobs)
    bundle_id = config.models[0].bundle_id
    manifest, rows = read_bundle_manifest(store, bundle_id), read_training_set(shop.training_set)
    files = tuple(
        msgspec.structs.replace(file, size_bytes=3 << 20)
        if file.path == "effects/per_user/cells.npy"
        else msgspec.structs.replace(file, size_bytes=1 << 20)
        for file in manifest.files
    )
    larger = msgspec.structs.replace(manifest, files=files)
    joined = {
        limit: plan_glmix(store, bundle_id, larger, rows, limit, str(tmp_path)).joined for limit in (8, 7, 3, 2, 0)
    }
    assert joined == {
        8: (),
        7: ("per_user",),
        3: ("per_user",),
        2: ("per_user", "per_film"),
        0: ("per_user", "per_film"),
    }


def test_what_a_model_cannot_give_is_refused_before_anything_starts(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="join_above_mib: -1") as caught:
        inputs(msgspec.structs.replace(config, join_above_mib=-1))
    assert "0 to join every" in str(caught.value)

    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"nobody opens it here")
    write_example(folder, Example(inputs={"year": (1.0,)}, outputs={"probability": (0.5,)}))
    manifest = pack(
        folder,
        flavour="onnx",
        signature=Signature(
            inputs=(Field(name="year", dtype="float64"),), outputs=(Field(name="probability", dtype="float64"),)
        ),
        lineage=Lineage(inputs=(), code_version="0", run_id="r", application_id="", configuration={}),
        metrics={},
        environment={},
        created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )
    other = ScoredModel(name="other", bundle_id=put_bundle(open_store(config.blobs), folder, manifest))
    with pytest.raises(ConfigurationError, match="contributions: model 'other' is of flavour onnx") as caught:
        inputs(msgspec.structs.replace(config, models=(*config.models, other)))
    assert "without contributions" in str(caught.value)
