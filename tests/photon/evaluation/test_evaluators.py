import math

import pytest

from photon.evaluation import Evaluator, parse_evaluator, parse_evaluators
from yarnmill.errors import ConfigurationError


@pytest.mark.parametrize(
    ("name", "evaluator", "label"),
    [
        ("AUC", Evaluator("AUC"), "auc"),
        ("logistic_loss", Evaluator("LOGISTIC_LOSS"), "log_loss"),
        ("LOGISTICLOSS", Evaluator("LOGISTIC_LOSS"), "log_loss"),
        ("SMOOTHED_HINGE_LOSS", Evaluator("SMOOTHED_HINGE_LOSS"), "smoothed_hinge_loss"),
        ("auc:user_id", Evaluator("AUC", None, "user_id"), "auc_per_user"),
        ("PRECISION@5:queryId", Evaluator("PRECISION", 5, "queryId"), "precision_at_5_per_queryId"),
        ("NDCG@10:a:b", Evaluator("NDCG", 10, "a:b"), "ndcg_at_10_per_a:b"),
        (" LIFT@10 ", Evaluator("LIFT", 10), "lift_at_10"),
    ],
)
def test_photons_names_are_understood(name: str, evaluator: Evaluator, label: str) -> None:
    assert parse_evaluator(name) == evaluator
    assert parse_evaluator(evaluator.name) == evaluator
    assert evaluator.label == label


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("AUK", "'AUK' is no evaluator"),
        ("AUC:", "'AUC:' is no evaluator"),
        ("PRECISION:id", "@K is missing"),
        ("PRECISION@0:id", "K is at least 1"),
        ("PRECISION@5", "needs the id"),
        ("AUC@5", "AUC takes no @K"),
        ("LIFT@101", "K is a per cent"),
        ("ECE:id", "is taken over all rows only"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_place(name: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=f"evaluators\\[1\\]: .*{problem}"):
        parse_evaluators(["AUC", name])


def test_an_evaluator_stands_once() -> None:
    with pytest.raises(ConfigurationError, match=r"evaluators\[1\]: LOGISTIC_LOSS stands twice"):
        parse_evaluators(["LOGLOSS", "LOGISTIC_LOSS"])
    with pytest.raises(ConfigurationError, match="AUC:user is called auc_per_user in reports, as AUC:user_id is"):
        parse_evaluators(["AUC:user_id", "AUC:user"])


def test_each_knows_the_better_value() -> None:
    auc, loss, calibration = (parse_evaluator(name) for name in ("AUC", "RMSE", "CALIBRATION"))
    assert auc.is_better(0.7, than=0.6)
    assert not auc.is_better(0.6, than=0.6)
    assert loss.is_better(0.6, than=0.7)
    assert calibration.is_better(1.05, than=0.9)
    assert calibration.is_better(0.9, than=1.2)
    for evaluator in (auc, loss, calibration):
        assert evaluator.is_better(0.5, than=math.nan)
        assert not evaluator.is_better(math.nan, than=0.5)
