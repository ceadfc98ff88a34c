"""The metrics against scikit-learn, and what must hold of them whatever the data."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from photon.evaluation import Evaluation, Question, Scored, evaluate, group_table, lift_table, parse_evaluators, ranking
from photon.evaluation.evaluation import CurveSums, PointSums, RangeSums, answer, curve_sums, point_sums, range_sums
from photon.evaluation.ranking import NOTHING_ABOVE, Ties, above_each, add_ties, collapse, joined
from photon.loss import LOGISTIC
from yarnmill.errors import BadDataError

ALL = (
    "AUC", "AUPR", "RMSE", "MSE", "LOGISTIC_LOSS", "SQUARED_LOSS", "CALIBRATION", "ECE", "LIFT@10", "LIFT@35",
    "AUC:id", "AUPR:id", "RMSE:id", "LOGISTIC_LOSS:id", "PRECISION@1:id", "PRECISION@3:id", "NDCG@1:id", "NDCG@4:id",
)  # fmt: skip


QUICK = settings(max_examples=30, deadline=None)


def asked(*names: str, **more: object) -> Question:
    return Question(parse_evaluators(names), **more)  # type: ignore[arg-type]


def value(name: str, rows: Scored, **more: object) -> float:
    return evaluate(rows, asked(name, **more)).figures[0].value


@st.composite
def rows_of(draw: st.DrawFn, least: int = 1) -> tuple[Scored, np.ndarray]:
    """Draw rows with many ties, whole weights (some 0) and ids."""
    count = draw(st.integers(least, 40))
    scores = draw(hnp.arrays(np.float64, count, elements=st.integers(-4, 4).map(lambda each: each / 3.0)))
    labels = draw(hnp.arrays(np.float64, count, elements=st.sampled_from([0.0, 1.0])))
    weights = draw(hnp.arrays(np.float64, count, elements=st.integers(0, 3).map(float)))
    return Scored(scores, labels, weights), draw(hnp.arrays(np.int64, count, elements=st.integers(0, 4)))


def close(one: Evaluation, other: Evaluation) -> None:
    assert one.weight == pytest.approx(other.weight)
    for found, expected in zip(one.figures, other.figures, strict=True):
        assert (found.evaluator, found.groups, found.unanswered) == (
            expected.evaluator,
            expected.groups,
            expected.unanswered,
        )
        np.testing.assert_allclose(found.value, expected.value, rtol=1e-10, atol=1e-12, err_msg=found.evaluator.name)
    np.testing.assert_allclose(
        [(one.weight, one.predicted_sum, one.observed_sum) for one in one.bins],
        [(one.weight, one.predicted_sum, one.observed_sum) for one in other.bins],
        rtol=1e-10,
        atol=1e-12,
    )


# ---- against scikit-learn -------------------------------------------------------------------------------------------


@pytest.fixture(params=[2, 7, 1000], ids=lambda distinct: f"{distinct} scores")
def rows(request: pytest.FixtureRequest) -> Scored:
    random = np.random.default_rng(request.param)
    scores = random.integers(0, request.param, 500) * (4.0 / request.param) - 2.0
    labels = (random.random(500) < 1 / (1 + np.exp(-scores))).astype(np.float64)
    return Scored(scores, labels, random.uniform(0.1, 4.0, 500))


def test_every_metric_of_all_rows_is_scikit_learns(rows: Scored) -> None:
    expected = {
        "AUC": sk.roc_auc_score(rows.labels, rows.scores, sample_weight=rows.weights),
        "AUPR": sk.average_precision_score(rows.labels, rows.scores, sample_weight=rows.weights),
        "LOGISTIC_LOSS": sk.log_loss(rows.labels, LOGISTIC.mean(rows.scores), sample_weight=rows.weights),
        "MSE": sk.mean_squared_error(rows.labels, LOGISTIC.mean(rows.scores), sample_weight=rows.weights),
        "RMSE": sk.root_mean_squared_error(rows.labels, LOGISTIC.mean(rows.scores), sample_weight=rows.weights),
        "SQUARED_LOSS": 0.5 * sk.mean_squared_error(rows.labels, rows.scores, sample_weight=rows.weights),
        "CALIBRATION": np.average(LOGISTIC.mean(rows.scores), weights=rows.weights)
        / np.average(rows.labels, weights=rows.weights),
    }
    found = evaluate(rows, asked(*expected))
    np.testing.assert_allclose([one.value for one in found.figures], list(expected.values()), rtol=1e-12)


def test_metrics_of_groups_are_means_of_scikit_learns(rows: Scored) -> None:
    """Groups without both classes have no AUC, those without a positive neither AUPR nor NDCG: left out, counted."""
    ids = np.random.default_rng(1).integers(0, 40, 160)
    names = ("AUC:id", "AUPR:id", "LOGISTIC_LOSS:id", "RMSE:id", "NDCG@3:id", "NDCG@50:id")
    unit = Scored.unweighted(rows.scores[:160], rows.labels[:160])
    expected: dict[str, list[float]] = {name: [] for name in names}
    for key in np.unique(ids):
        own = unit.take(ids == key)
        mean = LOGISTIC.mean(own.scores)
        expected["LOGISTIC_LOSS:id"].append(sk.log_loss(own.labels, mean, labels=[0, 1]))
        expected["RMSE:id"].append(sk.root_mean_squared_error(own.labels, mean))
        if own.labels.sum() > 0:
            expected["AUPR:id"].append(sk.average_precision_score(own.labels, own.scores))
            if len(own.labels) > 1:
                expected["NDCG@3:id"].append(sk.ndcg_score([own.labels], [own.scores], k=3))
                expected["NDCG@50:id"].append(sk.ndcg_score([own.labels], [own.scores], k=50))
            else:  # scikit-learn refuses a single document, whose order is always the best
                expected["NDCG@3:id"].append(1.0)
                expected["NDCG@50:id"].append(1.0)
        if 0 < own.labels.sum() < len(own.labels):
            expected["AUC:id"].append(sk.roc_auc_score(own.labels, own.scores))
    found = evaluate(unit, asked(*names), {"id": ids})
    groups = len(np.unique(ids))
    for one in found.figures:
        truth = expected[one.evaluator.name]
        assert (one.groups, one.unanswered) == (len(truth), groups - len(truth))
        assert one.value == pytest.approx(np.mean(truth), rel=1e-12)


def test_graded_labels_have_an_ndcg() -> None:
    random = np.random.default_rng(5)
    labels, scores = random.integers(0, 5, (6, 12)) * 1.0, random.integers(0, 4, (6, 12)) * 1.0
    found = group_table(
        np.repeat(np.arange(6), 12),
        Scored.unweighted(scores.ravel(), labels.ravel()),
        parse_evaluators(["NDCG@5:id"]),
    )
    expected = [sk.ndcg_score(labels[i : i + 1], scores[i : i + 1], k=5) for i in range(6)]
    np.testing.assert_allclose(found.values[:, 0], expected, rtol=1e-12)


def test_precision_at_k_is_the_mean_over_all_orders_of_ties() -> None:
    scores, labels = np.array([3.0, 2.0, 2.0, 2.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0, 1.0])
    found = group_table(
        np.zeros(5, np.int64), Scored.unweighted(scores, labels), parse_evaluators(["PRECISION@2:id", "PRECISION@9:id"])
    )
    # The second place is any of the three in the middle; fewer than k rows still divide by k, as Photon does.
    np.testing.assert_allclose(found.values, [[(2 / 3) / 2, 3 / 9]])


def test_calibration_bins_hold_equal_weight_and_meet_scikit_learns() -> None:
    random = np.random.default_rng(2)
    scores = random.normal(size=400)
    rows = Scored.unweighted(scores, (random.random(400) < LOGISTIC.mean(scores)).astype(np.float64))
    found = evaluate(rows, asked("ECE", bins=8))
    assert [one.weight for one in found.bins] == [50.0] * 8
    order = np.argsort(scores).reshape(8, 50)
    predicted, observed = LOGISTIC.mean(scores)[order].mean(axis=1), rows.labels[order].mean(axis=1)
    np.testing.assert_allclose([one.predicted for one in found.bins], predicted)
    np.testing.assert_allclose([one.observed for one in found.bins], observed)
    assert found.figures[0].value == pytest.approx(np.abs(predicted - observed).mean())
    lift = lift_table(found.bins)
    assert lift[0].lift == pytest.approx(observed[-1] / rows.labels.mean())
    assert (lift[-1].weight_share, lift[-1].label_share, lift[-1].lift) == pytest.approx((1.0, 1.0, 1.0))


def test_lift_of_the_top_is_the_ratio_of_means() -> None:
    random = np.random.default_rng(6)
    rows = Scored.unweighted(random.permutation(200) * 1.0, random.integers(0, 2, 200) * 1.0)
    top = rows.labels[np.argsort(-rows.scores)[:20]].mean()
    assert value("LIFT@10", rows) == pytest.approx(top / rows.labels.mean())
    assert value("LIFT@100", rows) == pytest.approx(1.0)


# ---- what must hold whatever the data -------------------------------------------------------------------------------


@QUICK
@given(rows_of())
def test_a_weight_is_that_many_rows(drawn: tuple[Scored, np.ndarray]) -> None:
    """And a row of weight 0 is gone."""
    weighted, ids = drawn
    times = weighted.weights.astype(int)
    repeated = Scored.unweighted(np.repeat(weighted.scores, times), np.repeat(weighted.labels, times))
    question = asked(*ALL, bins=4)
    close(
        evaluate(weighted, question, {"id": ids}),
        evaluate(repeated, question, {"id": np.repeat(ids, times)}),
    )


@QUICK
@given(rows_of(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(drawn: tuple[Scored, np.ndarray], random: object) -> None:
    rows, ids = drawn
    order = np.arange(len(ids))
    random.shuffle(order)  # type: ignore[attr-defined]
    question = asked(*ALL, bins=4)
    close(evaluate(rows.take(order), question, {"id": ids[order]}), evaluate(rows, question, {"id": ids}))


@QUICK
@given(rows_of(least=2), st.lists(st.integers(-4, 4).map(lambda each: each / 3.0 + 0.1), max_size=4), st.integers(1, 5))
def test_ranges_and_blocks_add_up_to_the_whole(
    drawn: tuple[Scored, np.ndarray], borders: list[float], blocks: int
) -> None:
    rows, _ = drawn
    question = asked(*(name for name in ALL if ":" not in name), bins=3)
    parts = [rows.take(np.arange(block, len(rows.scores), blocks)) for block in range(blocks)]
    points = [point_sums(part, question) for part in parts]
    ties = joined([collapse(part) for part in parts])
    edges = [-np.inf, *sorted(borders), np.inf]
    inside = [(ties.scores > low) & (ties.scores <= high) for low, high in pairwise(edges)]
    ranges = [type(ties)(ties.scores[own], ties.weights[own], ties.positives[own], ties.labels[own]) for own in inside]
    sums = [range_sums(one) for one in ranges]
    above = above_each([one.own for one in sums])
    total = sum((one.own for one in sums), NOTHING_ABOVE)
    curves = [curve_sums(one, before, total, question) for one, before in zip(ranges, above, strict=True)]
    whole = points[0]
    for one in points[1:]:
        whole = whole + one
    close(answer("", question, whole, sums, curves, {}), evaluate(rows, question))


def test_ties_that_come_in_parts_are_sorted_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """A partition of many batches costs n log n, not n times its batches."""
    sorted_scores = 0

    def counted(parts: Sequence[Ties]) -> Ties:
        nonlocal sorted_scores
        sorted_scores += sum(len(part.scores) for part in parts)
        return joined(parts)

    monkeypatch.setattr(ranking, "joined", counted)
    random = np.random.default_rng(0)
    rows = Scored.unweighted(random.integers(0, 9000, 25_600) * 1.0, random.integers(0, 2, 25_600) * 1.0)
    parts: list[Ties] = []
    for first in range(0, 25_600, 100):
        add_ties(parts, collapse(rows.take(np.arange(first, first + 100))))
    found, whole = joined(parts), collapse(rows)
    np.testing.assert_array_equal(found.scores, whole.scores)
    np.testing.assert_array_equal(found.positives, whole.positives)
    assert sorted_scores <= 10 * 25_600


@QUICK
@given(rows_of(), st.floats(0.1, 3.0), st.floats(-2.0, 2.0))
def test_an_increasing_change_of_scores_leaves_the_order_metrics(
    drawn: tuple[Scored, np.ndarray], slope: float, shift: float
) -> None:
    rows, ids = drawn
    names = ("AUC", "AUPR", "LIFT@20", "AUC:id", "AUPR:id", "PRECISION@2:id", "NDCG@3:id")
    moved = Scored(rows.scores * slope + shift, rows.labels, rows.weights)
    close(evaluate(moved, asked(*names), {"id": ids}), evaluate(rows, asked(*names), {"id": ids}))


@QUICK
@given(rows_of())
def test_one_group_is_all_rows(drawn: tuple[Scored, np.ndarray]) -> None:
    rows, ids = drawn
    for metric in ("AUC", "AUPR", "RMSE", "LOGISTIC_LOSS"):
        found = evaluate(rows, asked(metric, f"{metric}:id"), {"id": np.zeros_like(ids)})
        np.testing.assert_allclose(found.figures[0].value, found.figures[1].value, rtol=1e-12)


def test_groups_do_not_blur_each_other() -> None:
    """A group's figures are the same to the last digits beside a group a billion times as heavy."""
    random = np.random.default_rng(0)
    rows = Scored(random.integers(0, 90, 3000) * 1.0, random.integers(0, 2, 3000) * 1.0, random.random(3000))
    ids = np.repeat([1, 0], [50, 2950])
    heavy = Scored(rows.scores, rows.labels, np.where(ids == 0, 1e9 * rows.weights, rows.weights))
    names = parse_evaluators(["AUC:id", "AUPR:id", "PRECISION@5:id", "NDCG@5:id"])
    beside = group_table(ids, heavy, names).values[1]
    alone = group_table(ids[:50], rows.take(ids == 1), names).values[0]
    np.testing.assert_allclose(beside, alone, rtol=1e-9)


# ---- where there is no answer ---------------------------------------------------------------------------------------


def test_one_class_has_no_order() -> None:
    assert np.isnan(value("AUC", Scored.unweighted(np.arange(3.0), np.ones(3))))
    assert np.isnan(value("AUPR", Scored.unweighted(np.arange(3.0), np.zeros(3))))
    none = Scored.unweighted(np.zeros(0), np.zeros(0))
    found = evaluate(none, asked(*ALL, bins=3), {"id": np.zeros(0, np.int64)})
    assert found.metrics == {}
    assert (found.rows, found.bins) == (0, ())


def test_a_value_beyond_all_numbers_is_no_metric() -> None:
    """JSON has none: a report or a trial with one was not read again."""
    with np.errstate(over="ignore"):
        found = evaluate(Scored.unweighted(np.array([800.0]), np.ones(1)), asked("RMSE", task="poisson"))
    assert found.figures[0].value == np.inf
    assert found.metrics == {}


def test_a_score_that_is_no_number_is_refused() -> None:
    rows = Scored.unweighted(np.array([0.0, np.nan, np.inf]), np.ones(3))
    with pytest.raises(BadDataError, match="valid: 2 of 3 rows have no finite score"):
        evaluate(rows, asked("AUC"), measure="valid")


def test_probabilities_are_evaluated_like_margins(rows: Scored) -> None:
    means = Scored(LOGISTIC.mean(rows.scores), rows.labels, rows.weights)
    names = ("AUC", "AUPR", "LOGISTIC_LOSS", "RMSE", "CALIBRATION", "ECE")
    one, other = evaluate(means, asked(*names, kind="probability")), evaluate(rows, asked(*names))
    np.testing.assert_allclose([x.value for x in one.figures], [x.value for x in other.figures], rtol=1e-12)
    certain = Scored.unweighted(np.array([0.0, 1.0]), np.array([1.0, 1.0]))
    assert 300.0 < value("LOGISTIC_LOSS", certain, kind="probability") < 400.0


def test_sums_travel_as_they_are() -> None:
    """What the executors send is decoded to equal records."""
    import msgspec  # noqa: PLC0415

    ties = collapse(Scored.unweighted(np.array([1.0, 2.0]), np.array([0.0, 1.0])))
    question = asked(*ALL[:10], bins=2)
    for kind, sums in (
        (PointSums, point_sums(Scored.unweighted(np.array([1.0]), np.array([1.0])), question)),
        (RangeSums, range_sums(ties)),
        (CurveSums, curve_sums(ties, NOTHING_ABOVE, range_sums(ties).own, question)),
    ):
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(sums), type=kind) == sums


# ---- the losses of the other tasks ----------------------------------------------------------------------------------


def test_poisson_loss_is_half_the_deviance_but_for_the_labels_own_part() -> None:
    random = np.random.default_rng(9)
    scores, weights = random.normal(size=200), random.uniform(0.1, 3.0, 200)
    labels = random.poisson(np.exp(scores)) * 1.0
    rows = Scored(scores, labels, weights)
    deviance = sk.mean_poisson_deviance(labels, np.exp(scores), sample_weight=weights)
    saturated = np.average(labels - labels * np.log(np.maximum(labels, 1.0)), weights=weights)
    assert value("POISSON_LOSS", rows, task="poisson") == pytest.approx(0.5 * deviance + saturated, rel=1e-12)
    of_means = Scored(np.exp(scores), labels, weights)
    found = value("POISSON_LOSS", of_means, task="poisson", kind="probability")
    assert found == pytest.approx(value("POISSON_LOSS", rows, task="poisson"), rel=1e-12)
    rmse = sk.root_mean_squared_error(labels, np.exp(scores), sample_weight=weights)
    assert value("RMSE", rows, task="poisson") == pytest.approx(rmse, rel=1e-12)


def test_smoothed_hinge_loss_is_rennies() -> None:
    margins = np.array([-2.0, 0.0, 0.5, 1.0, 3.0])
    rows = Scored.unweighted(np.concatenate([margins, -margins]), np.repeat([1.0, 0.0], 5))
    expected = np.mean([2.5, 0.5, 0.125, 0.0, 0.0])
    assert value("SMOOTHED_HINGE_LOSS", rows, task="smoothed_hinge") == pytest.approx(expected, rel=1e-12)
    with pytest.raises(BadDataError, match="SMOOTHED_HINGE_LOSS: the scores are means"):
        value("SMOOTHED_HINGE_LOSS", rows, task="smoothed_hinge", kind="probability")
