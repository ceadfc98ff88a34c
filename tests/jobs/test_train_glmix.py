"""The training job on a small training set in the contract's layout, and its model through the flavour."""

import dataclasses
import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from ratings_rows import SHARDS, SPLITS, Made, config_for, made_in, written_later

from jobs.evaluating import EVALUATION_NAME, EvaluationRecord
from jobs.job import Outcome
from jobs.priors import PRIORS_NAME, PriorsRecord
from jobs.train_glmix import _plan, inputs, run
from jobs.trials import MlflowConfig
from photon.covariance import Covariance
from photon.empirical_bayes import EmpiricalBayesSettings
from photon.evaluation import Evaluation, Question, parse_evaluators
from photon.local import fit
from photon.local_posterior import LocalPosterior
from photon.model import ModelRecord
from photon.scoring import margins, means
from photon.spark.evaluation import evaluate
from photon.tuning import SearchSpace, Study, Trial, TuningSettings, tune
from photon.tuning.local import HeldOut, local_fits
from yarnmill.bundle.example import read_example
from yarnmill.drift.reference import REFERENCE_NAME, parse_reference
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError
from yarnmill.flavours.glmix import GlmixPredictor, prepare_glmix
from yarnmill.flavours.prepare import prepare
from yarnmill.records import parse_json
from yarnmill.registry.tracking import open_tracking
from yarnmill.trainingset import INTERCEPT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("glmix")


@pytest.fixture(scope="module")
def made(folder: Path) -> Made:
    return made_in(folder)


@pytest.fixture(scope="module")
def trained(spark: SparkSession, made: Made, folder: Path) -> Outcome:
    return run(spark, config_for(made, folder, refit=False))


def test_the_published_model_answers_as_the_locally_fitted_one(
    trained: Outcome, made: Made, folder: Path, tmp_path: Path
) -> None:
    signature = prepare_glmix(f"file://{folder}/output", tmp_path)
    assert [(field.name, field.dtype, field.required) for field in signature.inputs] == [
        ("user_id", "int64", True),
        ("film", "string", True),
        ("genres", "bag", True),
        ("year", "float64", False),
    ]
    data = made.local((0,))
    fitted = fit(data, config_for(made, folder, refit=False).fit_settings)
    expected = means(fitted.model, margins(fitted.model, data.shards, data.ids, data.offsets))
    predictor = GlmixPredictor(tmp_path, signature)
    (tmp_path / "with_example").mkdir()
    prepare("glmix", f"file://{folder}/output", tmp_path / "with_example")
    example = read_example(tmp_path / "with_example", signature)
    assert example is not None
    rows = np.flatnonzero(made.split == SPLITS.index("test"))[: example.rows]
    assert (example.rows, example.inputs["user_id"]) == (8, tuple(made.users[rows].tolist()))
    np.testing.assert_allclose(example.outputs["probability"], expected[rows], atol=1e-5)
    path = tmp_path / "with_example" / REFERENCE_NAME
    reference = parse_reference(path.read_bytes(), signature, source=str(path))
    held_out = expected[made.split == SPLITS.index("test")]
    score = reference.series[-1]
    assert (score.name, score.profile.rows) == ("probability", len(held_out))
    assert score.profile.mean(score.scale.centre) == pytest.approx(held_out.mean(), abs=1e-5)
    columns = {"user_id": made.users, "film": made.films, "genres": made.genres, "year": made.years}
    found = predictor.predict(columns)["probability"]
    np.testing.assert_allclose(found, expected, atol=1e-9)

    strange = {
        "user_id": np.array([10**9]),
        "film": np.array(["a film whose name is longer than all others"]),
        "genres": [{"No such genre at all": 3.0}],
    }
    fixed = fitted.model.effects[0].coefficients
    default = fixed[SHARDS["global"].index((INTERCEPT, ""))] + 0.25 * fixed[SHARDS["global"].index(("year", ""))]
    np.testing.assert_allclose(predictor.predict(strange)["probability"], [1 / (1 + np.exp(-default))], atol=1e-9)
    assert trained.counts["rows_test"] == int(np.sum(made.split == 2))

    written = [pq.read_table(folder / "output" / "coefficients" / name) for name in ("global", "per_user", "per_film")]
    assert [table.column_names[2:] for table in written] == [["variance"], ["values", "variances"], ["values"]]
    np.testing.assert_allclose(written[0]["variance"], fitted.model.effects[0].variances, rtol=1e-6)
    users = written[1].sort_by("entity").combine_chunks()
    variances = np.concatenate(users["variances"].to_pylist())
    np.testing.assert_allclose(variances, fitted.model.effects[1].variances, rtol=1e-6)
    assert not list(tmp_path.rglob("variances.npy"))  # serving maps what it needs alone


def test_a_later_training_takes_up_the_earlier_model_by_the_names_of_its_features(
    spark: SparkSession, trained: Outcome, made: Made, folder: Path, tmp_path: Path
) -> None:
    assert trained.outputs
    # Later rows have their columns in another order, one feature more, and none of some users.
    columns = {name: [*own[::-1], ("genres", "New")] for name, own in SHARDS.items()}
    later, is_known = written_later(made, tmp_path, columns=columns)
    first = config_for(made, folder, refit=False)
    fixed, user, film = first.coordinates
    change = msgspec.structs.replace
    config = change(
        first,
        output=f"file://{tmp_path}/output",
        training_set=later.url,
        earlier_model=first.output,
        coordinates=(change(fixed, prior_weight=1.0), change(user, prior_weight=0.5), change(film, locked=True)),
    )
    assert inputs(config) == (later.url, first.output)
    run(spark, config)

    before = fit(made.local((0,)), first.fit_settings).model
    data = dataclasses.replace(made.local((0,)), labels=later.labels)
    data = dataclasses.replace(data, weights=np.where(is_known, data.weights, 0.0))
    expected = fit(data, config.fit_settings, earlier=before).model
    signature = prepare_glmix(config.output, tmp_path / "bundle")
    asked = {"user_id": made.users, "film": made.films, "genres": made.genres, "year": made.years}
    found = GlmixPredictor(tmp_path / "bundle", signature).predict(asked)["probability"]
    np.testing.assert_allclose(
        found, means(expected, margins(expected, data.shards, data.ids, data.offsets)), atol=1e-7
    )

    kept, old = (
        {row["entity"]: row for row in pq.read_table(f"{place}/output/coefficients/per_user").to_pylist()}
        for place in (tmp_path, folder)
    )
    assert kept.keys() == old.keys()
    for user_id in (10, 14):
        assert kept[user_id]["values"] == old[user_id]["values"][::-1]
        assert kept[user_id]["variances"] == old[user_id]["variances"][::-1]

    for changes, said in (
        ({"task": "linear"}, "earlier_model: .* is logistic\nexpected: linear, as"),
        ({"earlier_model": None}, r"coordinates\[0\].prior_weight: no earlier model"),
        ({"coordinates": (*config.coordinates, change(film, name="new", locked=True))}, "has no 'new'"),
        ({"coordinates": (fixed, change(user, entity="film"))}, r"coordinates\[1\].entity: film"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            inputs(change(config, **changes))


def test_a_prior_is_estimated_from_an_earlier_model_on_and_who_has_no_new_row_stays(
    spark: SparkSession, trained: Outcome, made: Made, folder: Path, tmp_path: Path
) -> None:
    assert trained.outputs
    later, is_known = written_later(made, tmp_path)
    first = config_for(made, folder, refit=False)
    fixed, user, film = first.coordinates
    change = msgspec.structs.replace
    config = change(
        first,
        output=f"file://{tmp_path}/output",
        training_set=later.url,
        earlier_model=first.output,
        coordinates=(
            change(fixed, prior_weight=1.0),
            change(user, l2=0.0, estimate="covariance", variances="none"),
            change(film, locked=True),
        ),
        empirical_bayes=EmpiricalBayesSettings(max_iterations=1, draws=1, seed=3),
        evaluate_per=(),
        partitions=1,
    )
    assert inputs(config) == (later.url, first.output)
    outcome = run(spark, config)
    written_priors = parse_json((tmp_path / "output" / PRIORS_NAME).read_bytes(), PriorsRecord, source="priors")
    prior = {"per_user": Covariance(np.array(written_priors.priors[0].covariance))}

    before = fit(made.local((0,)), first.fit_settings).model
    data = dataclasses.replace(made.local((0,)), labels=later.labels)
    data = dataclasses.replace(data, weights=np.where(is_known, data.weights, 0.0))
    local = LocalPosterior(data, config.fit_settings, {"per_user": True}, config.empirical_bayes, before)
    mode = local.mode(prior)
    assert outcome.metrics["objective"] == pytest.approx(mode.value, rel=1e-5)
    users = local.model(mode, prior).effects[1]
    kept, old = (
        {row["entity"]: row for row in pq.read_table(f"{place}/output/coefficients/per_user").to_pylist()}
        for place in (tmp_path, folder)
    )
    assert kept.keys() == old.keys() == set(users.entities.tolist())
    for number, entity in enumerate(users.entities.tolist()):
        own = users.cells // users.columns == number
        assert kept[entity]["values"] == pytest.approx(users.coefficients[own].tolist(), abs=5e-3)
        assert (kept[entity]["values"] == old[entity]["values"]) == (entity >= 10)
    films = [pq.read_table(f"{place}/output/coefficients/per_film").sort_by("entity") for place in (tmp_path, folder)]
    assert films[0].select(["entity", "values"]).equals(films[1].select(["entity", "values"]))


def test_the_page_shows_the_run_by_the_names_of_its_features(trained: Outcome, folder: Path) -> None:
    page = (folder / "output" / "report.html").read_text(encoding="utf-8")
    assert any(url.endswith("/report.html") for url in trained.outputs)
    for said in (
        "Calibration",
        "Lift",
        "global_only_test",
        "genres Film-Noir",
        "year",
        "per_user",
        "test auc",
        "Convergence",
    ):
        assert said in page
    assert "http" not in page
    (folder / "page.html").write_text(page, encoding="utf-8")


def test_the_report_holds_metrics_baselines_and_history(trained: Outcome) -> None:
    assert {"test_auc", "test_log_loss", "test_auc_per_user", "validation_auc", "objective"} <= set(trained.metrics)
    sweeps = [trained.metrics[f"objective_sweep_{number}"] for number in range(1, 5)]
    assert sweeps == sorted(sweeps, reverse=True)
    assert "validation_loss_sweep_1" in trained.metrics
    alone, mean = trained.baselines["global_only"], trained.baselines["global_mean"]
    assert trained.metrics["test_auc"] > alone["test_auc"] > mean["test_auc"]
    assert trained.metrics["test_log_loss"] < alone["test_log_loss"] < mean["test_log_loss"]
    assert trained.counts["unconverged"] == 0


def test_evaluators_are_named_as_in_photon_and_groups_are_saved(
    spark: SparkSession, made: Made, tmp_path: Path
) -> None:
    config = msgspec.structs.replace(
        config_for(made, tmp_path, refit=True),
        max_sweeps=1,
        evaluate_per=(),
        evaluators=("AUPR", "PRECISION@2:user_id", "NDCG@3:film"),
        calibration_bins=4,
        save_group_results=True,
    )
    inputs(config)
    outcome = run(spark, config)
    assert {"test_aupr", "test_precision_at_2_per_user", "validation_ndcg_at_3_per_film"} <= set(outcome.metrics)
    assert "test_auc" not in outcome.metrics
    written = parse_json((tmp_path / "output" / EVALUATION_NAME).read_bytes(), EvaluationRecord, source="evaluation")
    measures = {one.measure: one for one in written.measures}
    assert set(measures) == {"validation", "test", "global_only_test"}
    test = measures["test"]
    assert [one.value for one in test.figures] == [outcome.metrics[f"test_{one.label}"] for one in test.figures]
    assert sum(one.weight for one in test.calibration) == pytest.approx(np.sum(made.split == 2))
    assert len(test.calibration) == 4
    by_user = pq.read_table(tmp_path / "output" / "groups" / "test" / "user_id")
    assert sorted(by_user["user_id"].to_pylist()) == np.unique(made.users[made.split == 2]).tolist()
    mean = np.mean(by_user["precision_at_2"].to_pylist())
    assert mean == pytest.approx(outcome.metrics["test_precision_at_2_per_user"])
    assert f"file://{tmp_path}/output/groups" in outcome.outputs


def test_a_refit_sees_validation_too(
    spark: SparkSession, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run(spark, config_for(made, tmp_path, refit=True))
    told = capsys.readouterr().out.splitlines()
    assert told[:3] == [
        "train_glmix: penalty of global: l2 1, intercept free",
        "train_glmix: penalty of per_user: l2 2",
        "train_glmix: penalty of per_film: l2 4",
    ]
    assert [line.partition(":")[2].partition(":")[0] for line in told[3:]] == [
        f" sweep {number}" for number in (1, 2, 3, 4, 1, 2, 3, 4)
    ]
    assert "validation loss" in told[3]
    both = fit(
        made.local((0, 1)),
        msgspec.structs.replace(config_for(made, tmp_path, refit=True).fit_settings, max_sweeps=200, tolerance=1e-13),
    )
    # The refit started warm and is near, and above, the optimum on train and validation.
    assert both.descent.objective <= outcome.metrics["objective"] <= both.descent.objective * 1.001
    assert "validation_auc" in outcome.metrics


def test_a_search_goes_on_where_it_was_killed_and_the_best_model_is_written(
    spark: SparkSession, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = msgspec.structs.replace(
        config_for(made, tmp_path, refit=False),
        coordinates=config_for(made, tmp_path, refit=False).coordinates[:2],
        max_sweeps=5,
        evaluate_per=(),
        evaluators=("LOGISTIC_LOSS", "AUC:user_id"),
        tuning=TuningSettings(
            search="grid",
            coordinates=(SearchSpace(coordinate="per_user", strength=(0.01, 3.0, 500.0)),),
        ),
        mlflow=MlflowConfig(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", experiment="penalties"),
        partitions=1,
    )
    inputs(config)
    evaluated: list[int] = []

    def evaluate_once(rows: DataFrame, question: Question) -> list[Evaluation]:
        if evaluated:
            raise RuntimeError("the driver was killed")
        evaluated.append(1)
        return evaluate(rows, question)

    monkeypatch.setattr("jobs.penalties.evaluate", evaluate_once)
    with pytest.raises(RuntimeError, match="the driver was killed"):
        run(spark, config)
    monkeypatch.setattr("jobs.penalties.evaluate", lambda *asked: evaluated.append(1) or evaluate(*asked))
    outcome = run(spark, config)
    assert len(evaluated) == 3  # the first trial was not done again

    lines = (tmp_path / "output" / "trials.jsonl").read_bytes().splitlines()
    trials = [parse_json(line, Trial, source="trials.jsonl") for line in lines]
    assert [trial.strengths[1].strength for trial in trials] == [500.0, 3.0, 0.01]
    assert outcome.metrics["tuning_per_user_strength"] == 3.0
    held = HeldOut(
        made.local((0, 1)),
        np.flatnonzero(made.split == 1),
        Question(parse_evaluators(config.evaluators)),
    )
    assert config.tuning is not None
    truth = tune(Study(config.fit_settings, config.tuning, held.question.evaluators[0]), local_fits(held))
    np.testing.assert_allclose([one.value for one in trials], [one.value for one in truth.trials], rtol=1e-4)
    record = parse_json((tmp_path / "output" / "model.json").read_bytes(), ModelRecord, source="model")
    assert [effect.l2 for effect in record.effects] == [1.0, 3.0]
    page = (tmp_path / "output" / "report.html").read_text()
    assert '<td class="name">per_user</td><td>random</td><td>user</td><td>user_id</td><td class="n">3</td>' in page
    assert "<td>l2 1, intercept free</td>" in page
    best = fit(made.local((0,)), msgspec.structs.replace(truth.settings, max_sweeps=100, tolerance=1e-12))
    assert outcome.metrics["objective"] == pytest.approx(best.descent.objective, rel=1e-5)

    with open_tracking(f"sqlite:///{tmp_path}/mlflow.db") as client:
        experiment = client.get_experiment_by_name("penalties")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
    children = {one.data.tags["yarnmill.trial"]: one for one in runs if "mlflow.parentRunId" in one.data.tags}
    assert (len(runs), sorted(children)) == (4, ["0", "1", "2"])
    assert children["1"].data.params["per_user.strength"] == "3"
    assert children["1"].data.metrics["log_loss"] == pytest.approx(trials[1].value)


def test_a_training_set_made_anew_knows_no_trials(made: Made, tmp_path: Path) -> None:
    """Its record may be equal where rows are other ones."""
    shutil.copytree(made.url.removeprefix("file://"), tmp_path / "set")
    config = msgspec.structs.replace(config_for(made, tmp_path, refit=False), training_set=f"file://{tmp_path}/set")
    tuning = TuningSettings(search="grid", coordinates=(SearchSpace(coordinate="per_user", strength=(1.0,)),))
    before = _plan(config, tuning).study_id
    assert _plan(msgspec.structs.replace(config, output=f"file://{tmp_path}/b"), tuning).study_id == before
    (part,) = (tmp_path / "set" / "data" / "split=train").glob("*.parquet")
    part.rename(part.with_name("part-later.parquet"))
    assert _plan(config, tuning).study_id != before


def test_what_does_not_fit_is_said_before_anything_runs(made: Made, tmp_path: Path) -> None:
    config = config_for(made, tmp_path, refit=False)
    assert inputs(config) == (made.url,)
    wrong_shard = (msgspec.structs.replace(config.coordinates[0], shard="galaxy"),)
    with pytest.raises(ConfigurationError, match=r"coordinates\[0\].shard: .* no shard 'galaxy'"):
        inputs(msgspec.structs.replace(config, coordinates=wrong_shard))
    wrong_key = (config.coordinates[0], msgspec.structs.replace(config.coordinates[1], entity="user"))
    with pytest.raises(ConfigurationError, match=r"coordinates\[1\].entity: .* no entity key 'user'"):
        inputs(msgspec.structs.replace(config, coordinates=wrong_key))
    evaluators = msgspec.structs.replace(config, evaluate_per=(), evaluators=("AUC", "AUC:user"))
    with pytest.raises(ConfigurationError, match=r"evaluators: AUC:user: .* has no entity key 'user'"):
        inputs(evaluators)
    with pytest.raises(ConfigurationError, match="evaluate_per: user_id beside evaluators"):
        inputs(msgspec.structs.replace(config, evaluators=("AUC",)))
    search = TuningSettings(search="grid", coordinates=(SearchSpace(coordinate="per_goat", strength=(1.0,)),))
    with pytest.raises(ConfigurationError, match=r"train_glmix: tuning: coordinates\[0\].coordinate: 'per_goat'"):
        inputs(msgspec.structs.replace(config, tuning=search))
    with pytest.raises(NotFoundError):
        inputs(msgspec.structs.replace(config, training_set=f"{made.url}/nowhere"))


def test_another_index_map_is_refused(trained: Outcome, made: Made, folder: Path, tmp_path: Path) -> None:
    assert trained.outputs
    record = Path(made.url.removeprefix("file://")) / "training_set.json"
    before = record.read_text()
    changed = json.loads(before)
    (user,) = (shard for shard in changed["shards"] if shard["name"] == "user")
    user["index_sha256"] = "hash of another"
    record.write_text(json.dumps(changed))
    with pytest.raises(BadDataError, match="index map of shard 'user'"):
        prepare_glmix(f"file://{folder}/output", tmp_path)
    record.write_text(before)
