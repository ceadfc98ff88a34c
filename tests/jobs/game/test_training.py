"""Photon's drivers end to end: its options in, its folders out, and the numbers of the local reference."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import numpy as np
import pytest

from jobs.entry import main
from jobs.game.examples import feature_key
from photon.local import LocalData, LocalFit, fit
from photon.model import EffectRecord, FixedEffect, GlmixModel, RandomEffect, random_effect_from_entities
from photon.rows import SparseRows
from photon.settings import CoordinateSettings, FitSettings
from yarnmill.report import read_report
from yarnmill.trainingset import INTERCEPT

GLOBAL = [*(f"f{j}" for j in range(3)), *(f"f{j}\x01x" for j in range(3, 6)), "age", INTERCEPT]
USER = ["age", INTERCEPT]
ITEM = [INTERCEPT]
SHARDS = [
    *("--feature-shard-configurations", "name=globalShard,feature.bags=features|userFeatures"),
    *("--feature-shard-configurations", "name=userShard,feature.bags=userFeatures"),
    *("--feature-shard-configurations", "name=itemShard"),
]
SOLVER = "min.partitions=2,optimizer=LBFGS,tolerance=1.0E-6,max.iter=50"
PER_USER, PER_ITEM = "random.effect.type=userId", "random.effect.type=itemId"


def model(
    weights: str = "1|1000", sweeps: int = 3, *, trains_items: bool = True, penalty: str = "regularization=L2"
) -> list[str]:
    fixed = f"name=global,feature.shard=globalShard,{SOLVER},{penalty},reg.weights={weights}"
    users = f"name=per-user,feature.shard=userShard,{SOLVER},regularization=L2,reg.weights=2,{PER_USER}"
    items = (
        "--coordinate-configurations",
        f"name=per-item,feature.shard=itemShard,{SOLVER},regularization=L2,reg.weights=3,{PER_ITEM}",
    )
    return [
        *SHARDS,
        *("--training-task", "LOGISTIC_REGRESSION"),
        *("--coordinate-update-sequence", "global,per-user,per-item"),
        *("--coordinate-descent-iterations", str(sweeps)),
        *("--coordinate-configurations", fixed, "--coordinate-configurations", users),
        *(items if trains_items else ()),
        *("--model-sparsity-threshold", "1e-12"),
    ]


def avro(folder: Path) -> list[dict[str, Any]]:
    parts = sorted(folder.glob("part-*.avro"))
    assert parts, folder
    assert (folder / "_SUCCESS").exists() or len(parts) == 1
    return [record for part in parts for record in fastavro.reader(io.BytesIO(part.read_bytes()))]


def local(records: list[dict[str, Any]]) -> LocalData:
    def dense(columns: list[str], bags: list[str]) -> SparseRows:
        matrix = np.zeros((len(records), len(columns)))
        matrix[:, columns.index(INTERCEPT)] = 1.0
        for row, record in enumerate(records):
            for bag in bags:
                for one in record[bag]:
                    matrix[row, columns.index(feature_key(one["name"], one["term"]))] = one["value"]
        return SparseRows.from_dense(matrix)

    return LocalData(
        labels=np.array([float(record["response"]) for record in records]),
        weights=np.array([1.0 if record["weight"] is None else record["weight"] for record in records]),
        offsets=np.array([record["offset"] or 0.0 for record in records]),
        shards={
            "globalShard": dense(GLOBAL, ["features", "userFeatures"]),
            "userShard": dense(USER, ["userFeatures"]),
            "itemShard": dense(ITEM, []),
        },
        ids={
            "userId": np.array([str(record["userId"]) for record in records]),
            "itemId": np.array([record["metadataMap"]["itemId"] for record in records]),
        },
        intercepts={"globalShard": 7, "userShard": 1, "itemShard": 0},
    )


def reference(data: LocalData, l2: float, sweeps: int) -> LocalFit:
    return fit(data, reference_settings(l2, sweeps))


def reference_settings(l2: float, sweeps: int) -> FitSettings:
    coordinates = (
        CoordinateSettings(name="global", kind="fixed", shard="globalShard", l2=l2),
        CoordinateSettings(name="per-user", kind="random", shard="userShard", entity="userId", l2=2.0),
        CoordinateSettings(name="per-item", kind="random", shard="itemShard", entity="itemId", l2=3.0),
    )
    return FitSettings(task="logistic", coordinates=coordinates, max_sweeps=sweeps, tolerance=0.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, clicks: Any, later_clicks: Any) -> Path:
    folder = tmp_path_factory.mktemp("world")
    clicks.write(folder / "train" / "2026" / "02" / "27", files=1, records=clicks.records[:250])
    clicks.write(folder / "train" / "2026" / "02" / "28", files=1, records=clicks.records[250:])
    later_clicks.write(folder / "validation")
    return folder


@pytest.fixture(scope="module")
def trained(spark: Any, world: Path) -> Path:
    assert spark is not None
    output = world / "output"
    arguments = [
        *("game-training", "--input-data-directories", str(world / "train"), *model()),
        *("--input-data-date-range", "20260220-20260228"),
        *("--validation-data-directories", str(world / "validation"), "--validation-evaluators", "AUC,AUC:userId"),
        *("--root-output-directory", str(output), "--output-mode", "ALL"),
        *("--data-summary-directory", str(world / "summary"), "--data-validation", "VALIDATE_FULL"),
        *("--save-per-group-evaluation-result", "true", "--variance-computation-type", "FULL"),
    ]
    assert main(arguments) == 0
    return output


def means(record: dict[str, Any]) -> dict[str, float]:
    return {feature_key(one["name"], one["term"]): one["value"] for one in record["means"]}


def test_the_saved_model_is_the_local_fit(trained: Path, clicks: Any) -> None:
    effects = reference(local(clicks.records), 1000.0, 3).model.effects
    folder = trained / "models" / "0"
    (saved,) = avro(folder / "fixed-effect" / "global" / "coefficients")
    assert means(saved) == pytest.approx(dict(zip(GLOBAL, effects[0].coefficients, strict=True)), abs=1e-7)
    for effect, columns in ((effects[1], USER), (effects[2], ITEM)):
        assert isinstance(effect, RandomEffect)
        own = avro(folder / "random-effect" / effect.name / "coefficients")
        found = {(one["modelId"], key): value for one in own for key, value in means(one).items()}
        entities = effect.entities[effect.cells // effect.columns]
        places = zip(entities, effect.cells % effect.columns, effect.coefficients, strict=True)
        expected = {(str(entity), columns[column]): value for entity, column, value in places}
        assert found == pytest.approx(expected, abs=1e-7)


def test_the_layout_is_photons(trained: Path) -> None:
    best = trained / "best"
    metadata = json.loads((best / "model-metadata.json").read_text())
    assert metadata["modelType"] == "LOGISTIC_REGRESSION"
    values = {one["name"]: one["configuration"] for one in metadata["optimizationConfigurations"]["values"]}
    assert values["global"] == {
        "optimizerConfig": {"optimizerType": "LBFGS", "maximumIterations": 50, "tolerance": 1e-6},
        "regularizationContext": {"regularizationType": "L2", "elasticNetParam": None},
        "regularizationWeight": 1.0,
        "downSamplingRate": 1.0,
    }
    assert "downSamplingRate" not in values["per-user"]
    assert (best / "fixed-effect" / "global" / "id-info").read_text() == "globalShard\n"
    assert (best / "random-effect" / "per-user" / "id-info").read_text() == "userId\nuserShard\n"
    assert "per-item:" in (best / "model-spec").read_text()
    assert sorted(path.name for path in (trained / "models").iterdir()) == ["0", "1"]
    for path in (best / "random-effect").iterdir():
        assert avro(path / "coefficients") == avro(
            trained / "models" / "1" / "random-effect" / path.name / "coefficients"
        )


def test_the_report_judges_every_model_and_names_the_best(trained: Path, clicks: Any) -> None:
    report = read_report(str(trained))
    # The second model goes on from the first: after three more sweeps it is near, and above, the joint optimum.
    optimum = reference(local(clicks.records), 1.0, 100).descent.objective
    assert optimum <= report.metrics["model_1_objective"] <= 1.002 * optimum
    assert report.metrics["best_model"] == 1.0
    assert report.metrics["model_1_validation_auc"] > report.metrics["model_0_validation_auc"]
    assert "model_1_validation_auc_per_userId" in report.metrics
    assert (report.counts["rows_train"], report.counts["rows_validation"]) == (500, 300)
    assert report.counts["columns_globalShard"] == 8


def test_every_group_has_its_result(trained: Path) -> None:
    groups = avro(trained / "group-eval" / "1" / "AUC" / "userId")
    known = [one["AUC"] for one in groups if one["AUC"] is not None]
    assert {one["userId"] for one in groups} <= {str(user) for user in range(13)}
    assert np.mean(known) == pytest.approx(read_report(str(trained)).metrics["model_1_validation_auc_per_userId"])


def test_summaries_are_the_columns_statistics(trained: Path, world: Path, clicks: Any) -> None:
    assert trained.exists()
    matrix = local(clicks.records).shards["globalShard"].to_dense()
    found = {
        feature_key(one["featureName"], one["featureTerm"]): one["metrics"]
        for one in avro(world / "summary" / "globalShard")
    }
    assert set(found) == set(GLOBAL) - {INTERCEPT}
    for place, key in enumerate(GLOBAL[:-1]):
        column = matrix[:, place]
        assert found[key] == pytest.approx(
            {
                "max": column.max(),
                "min": column.min(),
                "mean": column.mean(),
                "normL1": np.abs(column).sum(),
                "normL2": np.linalg.norm(column),
                "numNonzeros": float(np.count_nonzero(column)),
                "variance": column.var(ddof=1),
            }
        )
    assert avro_or_none(world / "summary" / "itemShard") == []


def avro_or_none(folder: Path) -> list[dict[str, Any]]:
    return [record for part in folder.glob("part-*.avro") for record in fastavro.reader(io.BytesIO(part.read_bytes()))]


def test_scores_are_the_margins_of_the_saved_model(trained: Path, world: Path, later_clicks: Any) -> None:
    output = world / "scores"
    strange = dict(later_clicks.records[0], uid="strange", userId=10**9, metadataMap={"itemId": "none"})
    strange["features"] = [{"name": "never", "term": "seen", "value": 5.0}]
    later_clicks.write(world / "to-score", records=[*later_clicks.records, strange])
    arguments = [
        *("game-scoring", "--input-data-directories", str(world / "to-score"), *SHARDS),
        *("--model-input-directory", str(trained / "best"), "--root-output-directory", str(output)),
        *("--model-id", "mine", "--validation-evaluators", "AUC,LOGISTIC_LOSS,AUC:userId"),
        *("--spill-scores-to-disk", "true", "--output-files-limit", "1"),
    ]
    assert main(arguments) == 0
    records = {record["uid"]: record for record in avro(output / "scores")}
    assert len(list((output / "scores").glob("part-*.avro"))) == 1
    data = local(later_clicks.records)
    (saved,) = avro(trained / "best" / "fixed-effect" / "global" / "coefficients")
    fixed = means(saved)
    per_user, per_item = (
        {one["modelId"]: means(one) for one in avro(trained / "best" / "random-effect" / name / "coefficients")}
        for name in ("per-user", "per-item")
    )
    for row, record in enumerate(later_clicks.records):
        found = records[record["uid"]]
        user, item = per_user[str(record["userId"])], per_item[record["metadataMap"]["itemId"]]
        age = record["userFeatures"][0]["value"]
        margin = data.offsets[row] + data.shards["globalShard"].to_dense()[row] @ [fixed[key] for key in GLOBAL]
        margin += user["age"] * age + user[INTERCEPT] + item[INTERCEPT]
        assert found["predictionScore"] == pytest.approx(margin, abs=1e-12)
        assert (found["label"], found["modelId"]) == (float(record["response"]), "mine")
        assert found["metadataMap"] == {"userId": str(record["userId"]), "itemId": record["metadataMap"]["itemId"]}
    alone = fixed[INTERCEPT] + fixed["age"] * strange["userFeatures"][0]["value"] + (strange["offset"] or 0.0)
    assert records["strange"]["predictionScore"] == pytest.approx(alone, abs=1e-12)
    metrics = read_report(str(output)).metrics
    assert 0.6 < metrics["auc"] < 1.0
    assert {"log_loss", "auc_per_userId"} <= set(metrics)


def test_an_output_is_replaced_only_where_that_is_said(
    trained: Path, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        *("game-scoring", "--input-data-directories", str(world / "validation"), *SHARDS),
        *("--model-input-directory", str(trained / "best"), "--root-output-directory", str(trained)),
    ]
    assert main(arguments) == 4
    assert "already there" in capsys.readouterr().err
    assert main([*arguments, "--override-output-directory", "true"]) == 4
    assert "the output of game_training" in capsys.readouterr().err
    assert main(["game-training", "--root-output-directory", "x"]) == 2
    assert "--input-data-directories: missing" in capsys.readouterr().err


@pytest.mark.usefixtures("trained")
def test_indexes_and_lists_made_once_give_the_same_model(world: Path) -> None:
    common = ["--input-data-directories", str(world / "train" / "2026" / "02" / "27")]
    indexing = ["feature-indexing", *common, *SHARDS, "--num-storage-partitions", "1"]
    assert main([*indexing, "--root-output-directory", str(world / "index")]) == 0
    bags = ["name-and-term-feature-bags", *common, "--feature-bags-keys", "features,userFeatures"]
    assert main([*bags, "--root-output-directory", str(world / "bags")]) == 0
    lines = [
        line for part in sorted((world / "bags" / "features").glob("part-*")) for line in part.read_text().splitlines()
    ]
    assert lines == ["f0\t", "f1\t", "f2\t", "f3\tx", "f4\tx", "f5\tx"]

    # One sweep from the beginning, on the same rows: how the index was made changes nothing.
    training = ["game-training", *common, *model(sweeps=1)]
    found = []
    for name, more in (
        ("by-index", ["--off-heap-index-map-directory", str(world / "index"), "--off-heap-index-map-partitions", "1"]),
        ("by-lists", ["--feature-bags-directory", str(world / "bags")]),
    ):
        assert main([*training, *more, "--root-output-directory", str(world / name)]) == 0
        # Without validation the last model is the best: the one with the smallest penalty.
        assert read_report(str(world / name)).metrics["best_model"] == 1.0
        assert not (world / name / "models").exists()
        found.append(means(avro(world / name / "best" / "fixed-effect" / "global" / "coefficients")[0]))
    assert set(found[0]) == set(GLOBAL)
    assert found[0] == pytest.approx(found[1], abs=1e-10)


def saved_model(folder: Path) -> GlmixModel:
    """Return the coordinates of a saved model that are trained again, as their Avro says."""

    def numbers(record: dict[str, Any], columns: list[str]) -> tuple[list[int], list[float], list[float]]:
        variances = {feature_key(one["name"], one["term"]): one["value"] for one in record["variances"]}
        found = means(record)
        return [columns.index(key) for key in found], [*found.values()], [variances[key] for key in found]

    (fixed,) = avro(folder / "fixed-effect" / "global" / "coefficients")
    places, *dense = (np.array(one) for one in numbers(fixed, GLOBAL))
    users = avro(folder / "random-effect" / "per-user" / "coefficients")
    parts = [numbers(one, USER) for one in users]
    return GlmixModel(
        "logistic",
        (
            FixedEffect("global", "globalShard", *(one[np.argsort(places)] for one in dense)),
            random_effect_from_entities(
                EffectRecord(name="per-user", shard="userShard", columns=2, entity="userId"),
                np.array([one["modelId"] for one in users]),
                np.array([len(one[0]) for one in parts]),
                *(np.concatenate([one[place] for one in parts]) for place in range(3)),
            ),
        ),
    )


def test_locked_coordinates_stay_and_the_others_have_a_prior(trained: Path, world: Path, clicks: Any) -> None:
    output = world / "retrained"
    arguments = [
        *("game-training", "--input-data-directories", str(world / "train" / "2026" / "02" / "28")),
        *model("4", trains_items=False, penalty="regularization=ELASTIC_NET,reg.alpha=0.25"),
        *("--normalization", "SCALE_WITH_STANDARD_DEVIATION", "--variance-computation-type", "SIMPLE"),
        *("--model-input-directory", str(trained / "best"), "--partial-retrain-locked-coordinates", "per-item"),
        *("--incremental-training", "true"),
        *("--root-output-directory", str(output)),
    ]
    assert main(arguments) == 0
    locked = avro(trained / "best" / "random-effect" / "per-item" / "coefficients")
    assert avro(output / "best" / "random-effect" / "per-item" / "coefficients") == locked

    records = clicks.records[250:]
    data = local(records)
    metrics = read_report(str(output)).metrics
    assert [metrics[f"model_0_{name}"] for name in ("l2_global", "l1_global", "l2_per-user", "l1_per-user")] == [
        *(3.0, 1.0, 2.0, 0.0)
    ]
    items = {one["modelId"]: means(one)[INTERCEPT] for one in locked}
    scores = np.array([items[record["metadataMap"]["itemId"]] for record in records])
    data = replace(data, offsets=data.offsets + scores)
    own = reference_settings(3.0, 3)
    fixed, users = (
        msgspec.structs.replace(one, normalisation="standard_deviation", l1=l1, variances="simple", prior_weight=1.0)
        for one, l1 in zip(own.coordinates[:2], (1.0, 0.0), strict=True)
    )
    settings = msgspec.structs.replace(own, coordinates=(fixed, users))
    expected = fit(data, settings, earlier=saved_model(trained / "best")).model.effects[0]
    (saved,) = avro(output / "best" / "fixed-effect" / "global" / "coefficients")
    found = dict.fromkeys(GLOBAL, 0.0) | means(saved)
    assert found == pytest.approx(dict(zip(GLOBAL, expected.coefficients, strict=True)), abs=1e-6)
    variances = {feature_key(one["name"], one["term"]): one["value"] for one in saved["variances"]}
    known = dict(zip(GLOBAL, expected.variances, strict=True))
    assert variances == pytest.approx({key: known[key] for key in means(saved)}, rel=1e-3)
    assert len(variances) > 2
    users_saved = avro(output / "best" / "random-effect" / "per-user" / "coefficients")
    assert all(len(one["variances"]) == len(one["means"]) == 2 for one in users_saved)


@pytest.mark.usefixtures("spark")
def test_a_search_goes_on_from_the_grid(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = world / "searched"
    arguments = [
        *("game-training", "--input-data-directories", str(world / "train" / "2026" / "02" / "27")),
        *model("5,reg.weight.range=0.1-100", sweeps=1),
        *("--hyper-parameter-tuning", "RANDOM", "--output-mode", "TUNED", "--root-output-directory", str(output)),
        *("--data-summary-directory", str(output / "summary")),
    ]
    assert main(arguments) == 2
    assert "no number of fits" in capsys.readouterr().err
    arguments += ["--hyper-parameter-tuning-iterations", "2"]
    assert main(arguments) == 2
    assert "nothing to judge by" in capsys.readouterr().err
    assert main([*arguments, "--validation-data-directories", str(world / "validation")]) == 0
    metrics = read_report(str(output)).metrics
    aucs = [metrics[f"model_{number}_validation_auc"] for number in range(3)]
    assert metrics[f"model_{int(metrics['best_model'])}_validation_auc"] == max(aucs)
    assert metrics["model_0_l2_global"] == 5.0
    assert all(0.1 <= metrics[f"model_{number}_l2_global"] <= 100.0 for number in (1, 2))
    assert metrics["model_1_l2_global"] != metrics["model_2_l2_global"]
    assert sorted(path.name for path in (output / "models").iterdir()) == ["0", "1"]
    assert len(avro(output / "summary" / "globalShard")) == len(GLOBAL) - 1
    metadata = json.loads((output / "models" / "1" / "model-metadata.json").read_text())
    values = {one["name"]: one["configuration"] for one in metadata["optimizationConfigurations"]["values"]}
    assert values["global"]["regularizationWeight"] == metrics["model_2_l2_global"]
