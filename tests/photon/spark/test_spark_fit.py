import dataclasses
from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from pyspark.sql import DataFrame, functions

from photon.evaluation import Question, Scored, parse_evaluators
from photon.evaluation import evaluate as evaluate_locally
from photon.local import LocalData, LocalFit, fit
from photon.model import RandomEffect
from photon.objective import data_loss
from photon.scoring import margins
from photon.settings import Bound, FitSettings
from photon.spark.evaluation import evaluate
from photon.spark.rows import Measure
from photon.spark.train import ShardShape, SparkGlmix
from yarnmill.errors import BadDataError, ConfigurationError

Frame = Callable[[LocalData], DataFrame]

ROLES = ("train", "validation", "test")


def on_spark(
    frame: DataFrame, data: LocalData, settings: FitSettings, *, partitions: int = 2, carried: Sequence[str] = ()
) -> SparkGlmix:
    shards = {name: ShardShape(rows.columns, data.intercepts[name]) for name, rows in data.shards.items()}
    return SparkGlmix(frame, settings, shards, ROLES, partitions=partitions, carried_ids=carried)


def assert_same_model(found: SparkGlmix, expected: LocalFit, tolerance: float) -> None:
    effect = expected.model.effects[0]
    np.testing.assert_allclose(found.fixed.coefficients, effect.coefficients, atol=tolerance)
    if effect.variances is not None:
        np.testing.assert_allclose(found.fixed_variances(found.fixed), effect.variances, rtol=1e-7)
    for coordinate, effect in zip(found.random, expected.model.effects[1:], strict=True):
        assert isinstance(effect, RandomEffect)
        rows = found.coefficients(coordinate).orderBy("entity").collect()
        assert [row.entity for row in rows] == effect.entities.tolist()
        cells = [place * effect.columns + index for place, row in enumerate(rows) for index in row["indices"]]
        assert cells == effect.cells.tolist()
        values = [value for row in rows for value in row["values"]]
        np.testing.assert_allclose(values, effect.coefficients, atol=tolerance)
        assert ("variances" in rows[0]) == (effect.variances is not None)
        if effect.variances is not None:
            variances = [value for row in rows for value in row["variances"]]
            np.testing.assert_allclose(variances, effect.variances, rtol=1e-7)


def test_an_accelerated_fit_goes_on_where_it_ended(
    as_frame: Frame, glmix_data: LocalData, glmix_settings: FitSettings
) -> None:
    settings = msgspec.structs.replace(glmix_settings, max_sweeps=3)
    glmix = on_spark(as_frame(glmix_data), glmix_data, settings)
    first = glmix.fit(["train"])
    second = glmix.fit(["train"], start=first.scores)
    assert any(first.sweeps[-1].move)  # the last move was pending where the coefficients lie
    best = fit(glmix_data, msgspec.structs.replace(settings, max_sweeps=60)).descent.objective
    above = [sweep.objective / best - 1 for sweep in (*first.sweeps, *second.sweeps)]
    assert all(later < earlier for earlier, later in pairwise(above))
    assert above[-1] < 1e-6
    glmix.release()


@pytest.mark.parametrize(("task", "partitions"), [("logistic", 2), ("logistic", 5), ("linear", 1)])
def test_spark_fits_the_local_model_whatever_the_partitions(
    as_frame: Frame, glmix_data: LocalData, glmix_settings: FitSettings, task: str, partitions: int
) -> None:
    settings = msgspec.structs.replace(glmix_settings, task=task)
    # Rows arrive in another order, from another number of partitions.
    frame = as_frame(glmix_data).orderBy(functions.xxhash64("uid")).repartition(3)
    glmix = on_spark(frame, glmix_data, settings, partitions=partitions)
    descent = glmix.fit(["train"])
    expected = fit(glmix_data, settings)
    np.testing.assert_allclose(
        [sweep.objective for sweep in descent.sweeps],
        [sweep.objective for sweep in expected.descent.sweeps],
        rtol=1e-11,
    )
    assert_same_model(glmix, expected, 1e-8)
    glmix.release()


def test_losses_corners_and_normalisation_fit_the_local_model(
    as_frame: Frame, glmix_data: LocalData, glmix_settings: FitSettings
) -> None:
    fixed, user, film = glmix_settings.coordinates
    change = msgspec.structs.replace
    coordinates = (
        change(fixed, normalisation="standardization", l1=0.5),
        change(user, l1=0.7, normalisation="max_magnitude"),
        change(film, bounds=(Bound(column=0, lower=-0.1, upper=0.2),)),
    )
    settings = change(glmix_settings, task="poisson", coordinates=coordinates, max_sweeps=3)
    glmix = on_spark(as_frame(glmix_data), glmix_data, settings)
    descent, expected = glmix.fit(["train"]), fit(glmix_data, settings)
    objectives = [[sweep.objective for sweep in one.sweeps] for one in (descent, expected.descent)]
    np.testing.assert_allclose(*objectives, rtol=1e-9)
    effect = expected.model.effects[0]
    np.testing.assert_allclose(glmix.fixed.coefficients, effect.coefficients, atol=1e-6)
    assert [bool(any(sweep.move)) for sweep in descent.sweeps] == [bool(any(m.move)) for m in expected.descent.sweeps]
    glmix.release()


def test_variances_are_those_of_the_local_model(
    as_frame: Frame, glmix_data: LocalData, glmix_settings: FitSettings
) -> None:
    fixed, user, film = glmix_settings.coordinates
    change = msgspec.structs.replace
    # A coefficient that L1 holds at 0 has a variance too; the last update is followed by a move of all coefficients.
    coordinates = (
        change(fixed, variances="full"),
        change(user, variances="full", l1=1.0, features_to_samples_ratio=0.05),
        change(film, variances="simple"),
    )
    settings, data = change(glmix_settings, coordinates=coordinates, max_sweeps=2), glmix_data
    glmix = on_spark(as_frame(data), data, settings)
    with pytest.raises(RuntimeError, match="per_user was never fitted"):
        glmix.coefficients(glmix.random[0])
    descent = glmix.fit(["train"])
    expected = fit(data, settings)
    assert any(descent.sweeps[-1].move)
    assert_same_model(glmix, expected, 1e-8)
    assert (expected.model.effects[1].coefficients == 0.0).any()

    curvatures = data.weights * settings.loss.second(
        margins(expected.model, data.shards, data.ids, data.offsets), data.labels
    )
    matrix = data.shards["global"].to_dense()
    hessian = matrix.T @ (matrix * curvatures[:, None]) + np.diag([1.0, 1.0, 1.0, 1.0, 0.0])
    np.testing.assert_allclose(glmix.fixed_variances(glmix.fixed), np.linalg.inv(hessian).diagonal(), rtol=1e-6)
    glmix.release()


def test_sampled_rows_and_features_in_any_order_fit_the_local_model(
    as_frame: Frame, glmix_data: LocalData, glmix_settings: FitSettings
) -> None:
    fixed, user, film = glmix_settings.coordinates
    change = msgspec.structs.replace
    coordinates = (
        change(user, active_rows_lower_bound=18, active_rows_upper_bound=20, features_to_samples_ratio=0.1),
        change(fixed, down_sampling_rate=0.6),
        change(film, active_rows_upper_bound=25),
        change(fixed, name="second", shard="user", penalise_intercept=True),
    )
    settings = change(glmix_settings, coordinates=coordinates, max_sweeps=2)
    glmix = on_spark(as_frame(glmix_data), glmix_data, settings, partitions=3)
    descent = glmix.fit(["train"])
    expected = fit(dataclasses.replace(glmix_data, uids=np.arange(240) * 7919), settings)
    objectives = [[sweep.objective for sweep in one.sweeps] for one in (descent, expected.descent)]
    np.testing.assert_allclose(*objectives, rtol=1e-11)
    effects = {effect.name: effect for effect in expected.model.effects}
    for one in glmix.all_fixed:
        np.testing.assert_allclose(one.coefficients, effects[one.name].coefficients, atol=1e-8)
    for coordinate in glmix.random:
        effect = effects[coordinate.name]
        assert isinstance(effect, RandomEffect)
        known = {
            (effect.entities[cell // effect.columns].item(), int(cell % effect.columns)): value
            for cell, value in zip(effect.cells, effect.coefficients, strict=True)
            if value != 0.0
        }
        rows = glmix.coefficients(coordinate).collect()
        found = {(row.entity, i): v for row in rows for i, v in zip(row["indices"], row["values"], strict=True)}
        assert found == pytest.approx(known, abs=1e-8)
    glmix.release()


def test_the_loss_of_a_down_sampled_effect_is_that_of_all_rows(
    as_frame: Frame, glmix_data: LocalData, glmix_settings: FitSettings
) -> None:
    fixed = msgspec.structs.replace(glmix_settings.coordinates[0], down_sampling_rate=0.4)
    settings = msgspec.structs.replace(glmix_settings, coordinates=(fixed,))
    glmix = on_spark(as_frame(glmix_data), glmix_data, settings)
    descent = glmix.fit(["train"])
    data = dataclasses.replace(glmix_data, uids=np.arange(240) * 7919)
    expected = fit(data, settings)
    np.testing.assert_allclose(glmix.fixed.coefficients, expected.model.effects[0].coefficients, atol=1e-8)
    scores = margins(expected.model, data.shards, data.ids, data.offsets)
    whole = data_loss(settings.loss, scores, data.labels, data.weights)
    for found in (descent, expected.descent):
        assert found.steps[0].fitness.data_loss == pytest.approx(whole, rel=1e-9)
        assert found.objective == pytest.approx(whole + found.steps[0].fitness.penalty, rel=1e-12)
    glmix.release()


def test_rows_of_other_roles_are_scored_and_train_nothing(
    as_frame: Frame, glmix_data: LocalData, glmix_settings: FitSettings
) -> None:
    role = np.arange(240) % 3
    frame = as_frame(glmix_data).withColumn("role", (functions.col("uid") / 7919 % 3).cast("tinyint"))
    glmix = on_spark(frame, glmix_data, glmix_settings, carried=("user_id", "film"))
    descent = glmix.fit(["train"])
    passive = msgspec.structs.replace(glmix_settings)
    local = LocalData(
        glmix_data.labels,
        np.where(role == 0, glmix_data.weights, 0.0),
        glmix_data.offsets,
        glmix_data.shards,
        glmix_data.ids,
        glmix_data.intercepts,
    )
    expected = fit(local, passive)
    scores = margins(expected.model, glmix_data.shards, glmix_data.ids, glmix_data.offsets)
    own = role == 2
    held = Scored(scores[own], glmix_data.labels[own], glmix_data.weights[own])
    ids = {key: column[own] for key, column in glmix_data.ids.items()}
    question = Question(parse_evaluators(["AUC", "LOGISTIC_LOSS", "AUC:user_id", "AUPR:film", "LOGISTIC_LOSS:film"]))
    expected_figures = evaluate_locally(held, question, ids).figures
    assert dict(descent.sweeps[-1].losses)["test"] == pytest.approx(expected_figures[1].value, abs=1e-9)

    alone = glmix.fit_fixed_alone(["train"])
    measures = [Measure("glmix", 2), Measure("alone", 2, alone)]
    rows = glmix.measured(descent.scores, measures)
    by_alone, by_glmix = evaluate(rows, question)
    assert (by_glmix.measure, by_glmix.rows) == ("glmix", int(own.sum()))
    for found, truth in zip(by_glmix.figures, expected_figures, strict=True):
        assert (found.groups, found.value) == (truth.groups, pytest.approx(truth.value, abs=1e-9))
    fixed_scores = glmix_data.shards["global"].dot(alone)[own] + glmix_data.offsets[own]
    truth = evaluate_locally(Scored(fixed_scores, held.labels, held.weights), question, ids).figures[0]
    assert by_alone.figures[0].value == pytest.approx(truth.value, abs=1e-12)
    glmix.release()


def test_a_second_fit_goes_on_from_the_first(
    as_frame: Frame, glmix_data: LocalData, glmix_settings: FitSettings
) -> None:
    # Without the memory of steps, that is: what an accelerated fit remembers ends with it.
    plain = msgspec.structs.replace(glmix_settings, acceleration=0, max_sweeps=2)
    glmix = on_spark(as_frame(glmix_data), glmix_data, plain)
    first = glmix.fit(["train"])
    second = glmix.fit(["train"], start=first.scores)
    longer = fit(glmix_data, msgspec.structs.replace(plain, max_sweeps=4))
    assert second.objective == pytest.approx(longer.descent.objective, rel=1e-11)
    assert_same_model(glmix, longer, 1e-8)
    assert glmix.fit(["train"]).objective == first.objective
    glmix.release()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "linear"}, "task: linear, after fits with logistic"),
        ({"tweedie_power": 1.7}, "tweedie_power: 1.7, after fits with 1.5"),
        ({"coordinates": "of films"}, "coordinates: not those of the first fit"),
    ],
)
def test_fits_of_a_search_are_of_one_task_and_the_same_coordinates(
    as_frame: Frame, glmix_data: LocalData, glmix_settings: FitSettings, changes: dict[str, object], said: str
) -> None:
    fixed, user, film = glmix_settings.coordinates
    if "coordinates" in changes:
        changes = {"coordinates": (fixed, msgspec.structs.replace(user, shard="film"), film)}
    glmix = on_spark(as_frame(glmix_data), glmix_data, glmix_settings)
    with pytest.raises(ConfigurationError, match=said):
        glmix.retune(msgspec.structs.replace(glmix_settings, **changes))
    stronger = msgspec.structs.replace(glmix_settings, coordinates=(fixed, msgspec.structs.replace(user, l2=9.0), film))
    glmix.retune(stronger)
    assert glmix.settings == stronger
    glmix.release()


def test_bad_rows_are_named_and_refused(as_frame: Frame, glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    uid = functions.col("uid")
    doubled = functions.struct(
        functions.array(functions.lit(1), functions.lit(1)).alias("indices"),
        functions.array(functions.lit(0.5), functions.lit(float("nan"))).alias("values"),
    )
    user = functions.when(uid == 7919 * 4, doubled).otherwise(functions.col("shards")["user"])
    # Beside an id that is missing, ids are larger than a float can hold.
    user_id = functions.when(uid != 7919 * 11, functions.col("ids")["user_id"] + 2**62 + 1)
    broken = (
        as_frame(glmix_data)
        .withColumn("response", functions.when(uid == 0, 0.5).otherwise(functions.col("response")))
        .withColumn("weight", functions.when(uid < 3 * 7919, -1.0).otherwise(functions.col("weight")))
        .withColumn("shards", functions.col("shards").withField("user", user))
        .withColumn("ids", functions.col("ids").withField("user_id", user_id))
        .withColumn("uid", functions.when(uid == 7919 * 9, 7919 * 8).otherwise(uid))
    )
    glmix = on_spark(broken, glmix_data, glmix_settings, carried=("user_id",))
    with pytest.raises(BadDataError) as refused:
        glmix.check()
    text = str(refused.value)
    assert "1 rows with a label that the task cannot have (uid 0)" in text
    assert "3 rows with a weight that is negative or not finite (uids 0, 7919, 15838)" in text
    assert f"1 rows with a uid that another row has too (uid {8 * 7919})" in text
    assert f"1 rows with no id of user_id (uid {11 * 7919})" in text
    assert f"1 rows with a feature that is not finite in shard user (uid {4 * 7919})" in text
    assert f"1 rows with a feature (name, term) that stands twice in shard user (uid {4 * 7919})" in text
    assert "to mend it: correct the response, or choose the task that it fits; " in text
    (train, *_) = glmix.check("off")
    assert train.rows == 240
    columns = glmix_data.shards["global"].columns
    carried = [row.user_id for row in glmix.measured(None, [Measure("none", 0, np.zeros(columns))]).collect()]
    expected = [int(one) + 2**62 + 1 for place, one in enumerate(glmix_data.ids["user_id"]) if place != 11]
    assert sorted(one for one in carried if one is not None) == sorted(expected)
    assert carried.count(None) == 1
    glmix.release()


def test_missing_weights_and_offsets_are_one_and_zero(
    as_frame: Frame, glmix_data: LocalData, glmix_settings: FitSettings
) -> None:
    nothing = functions.lit(None).cast("double")
    frame = as_frame(glmix_data).withColumn("weight", nothing).withColumn("offset", nothing)
    (train, *_) = on_spark(frame, glmix_data, glmix_settings).check()
    assert (train.rows, train.weight) == (240, 240.0)
    assert train.mean_label == pytest.approx(glmix_data.labels.mean())
