"""Models taken over from Photon, and given back: served as they were, and written as they came."""

import io
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import numpy as np
import pytest
from pyspark.sql import SparkSession

from jobs import export_photon_model, import_photon_model, import_training_examples, train_glmix
from jobs.game.coordinates import ShardOption
from photon.avro.container import write_records
from photon.avro.layout import METADATA_NAME, EffectInfo, render_id_info, render_metadata
from photon.avro.models import NamedModel, model_record
from photon.avro.schemas import BAYESIAN_LINEAR_MODEL
from photon.model import EffectRecord
from photon.settings import CoordinateSettings
from yarnmill.bundle.example import read_example
from yarnmill.errors import ConfigurationError
from yarnmill.flavours.glmix import GlmixPredictor, prepare_glmix
from yarnmill.flavours.prepare import prepare
from yarnmill.trainingset import INTERCEPT, read_training_set

GLOBAL = {("age", ""): 0.5, ("country", "at"): -1.25, ("country", "fr"): 2.0, (INTERCEPT, ""): 0.75}
USERS = {f"u{j}": {("age", ""): 0.1 * j + 0.05, (INTERCEPT, ""): -0.2 * j - 0.1} for j in range(5)}
SHARDS = (ShardOption(name="g", bags=("features", "more")), ShardOption(name="u", bags=("userFeatures",)))


def write_effect(folder: Path, effect: EffectInfo, parts: list[dict[str, dict[tuple[str, str], float]]]) -> None:
    below = folder / effect.folder
    (below / "coefficients").mkdir(parents=True)
    (below / "id-info").write_bytes(render_id_info(effect))
    for place, part in enumerate(parts):
        models = [
            NamedModel(name, "logistic", tuple(own), tuple(own.values()), [v * v for v in own.values()])
            for name, own in part.items()
        ]
        with (below / "coefficients" / f"part-{place:05d}.avro").open("wb") as stream:
            write_records(stream, BAYESIAN_LINEAR_MODEL, map(model_record, models))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photon")
    write_effect(folder, EffectInfo("fixed", "g"), [{"fixed-effect": GLOBAL}])
    users = list(USERS.items())
    write_effect(folder, EffectInfo("per-user", "u", "userId"), [dict(users[:2]), dict(users[2:])])
    (folder / METADATA_NAME).write_bytes(render_metadata("logistic", ()))
    return folder


@pytest.fixture(scope="module")
def taken(spark: SparkSession, saved: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    output = f"file://{tmp_path_factory.mktemp('taken')}/model"
    config = import_photon_model.Config(output=output, model=f"file://{saved}", shards=SHARDS)
    assert import_photon_model.inputs(config) == (f"file://{saved}",)
    assert import_photon_model.run(spark, config).counts == {"columns_g": 4, "columns_u": 2}
    return output


def predictor(output: str, folder: Path) -> GlmixPredictor:
    return GlmixPredictor(folder, prepare_glmix(output, folder))


def test_a_model_of_photons_is_served_as_it_is(taken: str, tmp_path: Path) -> None:
    rows: dict[str, Any] = {
        "userId": np.array(["u3", "nobody"]),
        "features": [{"country\x01at": 1.0}, {"age": 2.0, "country\x01xx": 1.0}],
        "more": [{"age": -1.0}, {"country\x01fr": 1.0}],
        "userFeatures": [{"age": -1.0}, {"age": 5.0}],
    }
    user = USERS["u3"]
    margins = [
        0.75 - 1.25 - 0.5 + user[INTERCEPT, ""] - user["age", ""],
        0.75 + 2 * 0.5 + 2.0,
    ]
    found = predictor(taken, tmp_path).predict(rows)["probability"]
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-np.array(margins))), atol=1e-12)


def test_its_example_is_made_of_what_it_knows(taken: str, tmp_path: Path) -> None:
    signature = prepare("glmix", taken, tmp_path).signature
    example = read_example(tmp_path, signature)
    assert example is not None
    assert (example.rows, example.inputs["userId"]) == (1, (min(USERS),))
    assert all(example.inputs[field.name][0] for field in signature.inputs if field.dtype == "bag")


def test_given_back_it_is_what_it_was(spark: SparkSession, saved: Path, taken: str, tmp_path: Path) -> None:
    config = export_photon_model.Config(output=f"file://{tmp_path}/back", model=taken, files=1)
    assert export_photon_model.inputs(config) == (taken,)
    assert export_photon_model.run(spark, config).counts == {"models_fixed": 1, "models_per-user": 5}
    for name in ("fixed-effect/fixed", "random-effect/per-user"):
        assert records(tmp_path / "back" / name) == records(saved / name)
        assert (tmp_path / "back" / name / "id-info").read_bytes() == (saved / name / "id-info").read_bytes()


def records(folder: Path) -> dict[str, Any]:
    parts = sorted((folder / "coefficients").glob("part-*.avro"))
    found = [record for part in parts for record in fastavro.reader(io.BytesIO(part.read_bytes()))]
    assert len({record["modelId"] for record in found}) == len(found)
    return {record["modelId"]: record for record in found}


def test_a_penalty_keeps_its_kind() -> None:
    def told(l2: float, l1: float) -> tuple[str, float, float | None]:
        effect = EffectRecord(name="e", shard="s", columns=1, l2=l2, l1=l1)
        found = export_photon_model._coordinate(effect).configuration  # noqa: SLF001  # the rest needs a model
        how = found.regularization_context
        return how.regularization_type, found.regularization_weight, how.elastic_net_param

    assert told(3.0, 1.0) == ("ELASTIC_NET", 4.0, 0.25)
    assert told(0.0, 2.0) == ("L1", 2.0, None)
    assert told(5.0, 0.0) == ("L2", 5.0, None)
    assert told(0.0, 0.0) == ("NONE", 0.0, None)


def test_what_does_not_fit_is_said(saved: Path) -> None:
    config = import_photon_model.Config(output="x", model=f"file://{saved}", shards=SHARDS[:1])
    with pytest.raises(ConfigurationError, match="per-user has the shard 'u', which is not configured"):
        import_photon_model.inputs(config)
    other = import_photon_model.Config(output="x", model=f"file://{saved}", shards=SHARDS, task="linear")
    with pytest.raises(ConfigurationError, match="task: linear"):
        import_photon_model.inputs(other)


def test_examples_become_a_training_set_that_trains_and_comes_back_as_photons(
    spark: SparkSession, clicks: Any, later_clicks: Any, tmp_path: Path
) -> None:
    shards = (ShardOption(name="g", bags=("features", "userFeatures")), ShardOption(name="u", bags=("userFeatures",)))
    config = import_training_examples.Config(
        output=f"file://{tmp_path}/set",
        train=(clicks.write(tmp_path / "clicks"),),
        test=(later_clicks.write(tmp_path / "later"),),
        shards=shards,
        keys=("userId",),
    )
    assert len(import_training_examples.inputs(config)) == 2
    outcome = import_training_examples.run(spark, config)
    assert outcome.counts["rows_test"] == 300
    record = read_training_set(config.output)
    assert record.rows == {"train": 500, "validation": 0, "test": 300}
    assert {shard.name: shard.dimension for shard in record.shards} == {"g": 8, "u": 2}
    rows = spark.read.parquet(f"{config.output}/data")
    assert rows.select("uid").distinct().count() == 800

    training = train_glmix.Config(
        output=f"file://{tmp_path}/trained",
        training_set=config.output,
        coordinates=(
            CoordinateSettings(name="fixed", kind="fixed", shard="g", l2=1.0),
            CoordinateSettings(name="per-user", kind="random", shard="u", entity="userId", l2=2.0),
        ),
        max_sweeps=2,
    )
    assert train_glmix.inputs(training) == (config.output,)
    assert train_glmix.run(spark, training).metrics["test_auc"] > 0.6
    back = export_photon_model.Config(output=f"file://{tmp_path}/photon", model=training.output)
    assert export_photon_model.run(spark, back).counts == {"models_fixed": 1, "models_per-user": 13}
    (fixed,) = records(tmp_path / "photon" / "fixed-effect" / "fixed").values()
    named = {(one["name"], one["term"]) for one in fixed["means"]}
    wanted = {("f0", ""), ("f1", ""), ("f2", ""), ("f3", "x"), ("f4", "x"), ("f5", "x"), ("age", ""), (INTERCEPT, "")}
    assert named <= wanted
    assert len(named) >= 7

    for change, said in (({"train": ()}, "train: no folder"), ({"keys": ()}, "keys: none"), ({"shards": ()}, "no bag")):
        with pytest.raises(ConfigurationError, match=said):
            import_training_examples.inputs(msgspec.structs.replace(config, **change))
