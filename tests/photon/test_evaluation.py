import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from photon.evaluation import auc, entity_auc, entity_mean, in_order, mean_loss, pair_counts
from photon.loss import LOGISTIC


@pytest.mark.parametrize("distinct", [2, 7, 1000])
@pytest.mark.parametrize("weighted", [False, True])
def test_auc_is_scikit_learns_over_ties(distinct: int, *, weighted: bool) -> None:
    random = np.random.default_rng(distinct)
    scores = random.integers(0, distinct, 500).astype(np.float64)
    labels = (random.random(500) < 0.3).astype(np.float64)
    weights = random.uniform(0.1, 4.0, 500) if weighted else np.ones(500)
    np.testing.assert_allclose(auc(scores, labels, weights), roc_auc_score(labels, scores, sample_weight=weights))


def test_ranges_of_scores_add_up_to_the_whole() -> None:
    random = np.random.default_rng(4)
    scores, labels, weights = random.integers(0, 40, 300) / 7.0, random.integers(0, 2, 300) * 1.0, random.random(300)
    parts = [(scores >= low) & (scores < high) for low, high in ((-1, 1), (1, 1.5), (1.5, 4), (4, 4), (4, 9))]
    total = in_order([pair_counts(scores[part], labels[part], weights[part]) for part in parts])
    np.testing.assert_allclose(total.auc, auc(scores, labels, weights))


def test_one_class_has_no_auc() -> None:
    assert np.isnan(auc(np.arange(3.0), np.ones(3)))
    assert np.isnan(auc(np.zeros(0), np.zeros(0)))


def test_auc_per_entity_counts_entities_with_both_classes() -> None:
    keys = np.array([3, 1, 1, 3, 2, 2, 3])
    scores = np.array([0.9, 0.2, 0.1, 0.5, 0.3, 0.4, 0.9])
    labels = np.array([1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    found = entity_auc(keys, scores, labels, np.ones(7))
    assert (found.total, found.entities, found.mean) == (1.0, 2, 0.5)
    assert entity_auc(keys[:0], scores[:0], labels[:0], np.ones(0)).entities == 0


def test_mean_loss_of_margins_is_the_log_loss_of_probabilities() -> None:
    random = np.random.default_rng(8)
    margins, labels, weights = random.normal(size=50), random.integers(0, 2, 50) * 1.0, random.random(50)
    expected = log_loss(labels, LOGISTIC.mean(margins), sample_weight=weights)
    np.testing.assert_allclose(mean_loss(margins, labels, weights), expected)


def test_an_entity_counts_once_however_many_rows_it_has() -> None:
    keys = np.array([7, 7, 7, 9, 11])
    values, weights = np.array([1.0, 2.0, 5.0, 4.0, 100.0]), np.array([1.0, 1.0, 2.0, 3.0, 0.0])
    found = entity_mean(keys, values, weights)
    assert found.entities == 2  # the third has no weight
    assert found.mean == pytest.approx(((1.0 + 2.0 + 2 * 5.0) / 4.0 + 4.0) / 2.0)
