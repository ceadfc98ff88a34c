"""Every fault is found, counted and named, whatever rows it is in; sound rows pass."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photon.checks import Checks, Fault, check_rows, feature_faults, row_faults
from photon.local import LocalData, fit
from photon.loss import loss_of
from photon.rows import Examples, SparseRows
from photon.settings import FitSettings
from yarnmill.errors import BadDataError

LOSS = loss_of("logistic")
ROWS = 60


def sound() -> tuple[SparseRows, np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    matrix = np.where(random.random((ROWS, 6)) < 0.7, random.normal(size=(ROWS, 6)), 0.0)
    return (
        SparseRows.from_dense(matrix),
        random.integers(0, 2, ROWS) * 1.0,
        np.where(random.random(ROWS) < 0.2, 0.0, 1.5),
        random.normal(size=ROWS),
    )


@pytest.mark.parametrize("checks", ["full", "sample", "off"])
def test_sound_rows_pass(checks: Checks) -> None:
    rows, labels, weights, offsets = sound()
    check_rows({"global": rows}, Examples(rows, labels, weights, offsets), LOSS, checks)


@given(st.sets(st.integers(0, ROWS - 1), min_size=1), st.sampled_from(["label", "weight", "offset"]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_bad_numbers_are_found_where_they_are(places: set[int], kind: str, not_finite: bool) -> None:  # noqa: FBT001
    rows, labels, weights, offsets = sound()
    column = {"label": labels, "weight": weights, "offset": offsets}[kind]
    column[sorted(places)] = np.nan if not_finite else {"label": 0.5, "weight": -1e-9, "offset": np.inf}[kind]
    uids = np.arange(ROWS) * 7 + 3
    (fault,) = row_faults(uids, Examples(rows, labels, weights, offsets), LOSS, "full")
    assert (fault.kind, fault.rows) == (kind, len(places))
    assert fault.uids == tuple(sorted(place * 7 + 3 for place in places)[:5])


@given(st.lists(st.lists(st.integers(0, 5), max_size=5), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_a_column_that_stands_twice_is_found_whatever_the_order(columns: list[list[int]]) -> None:
    lengths = [len(row) for row in columns]
    indices = np.array([column for row in columns for column in row], np.int32)
    rows = SparseRows(np.append(0, np.cumsum(lengths)).astype(np.int64), indices, np.ones(len(indices)), 6)
    doubled = [place for place, row in enumerate(columns) if len(set(row)) < len(row)]
    found = feature_faults(np.arange(len(columns)), rows, "user", "full")
    assert found == ([Fault("twice", len(doubled), tuple(doubled[:5]), "user")] if doubled else [])


def test_features_have_to_be_finite_and_inside_their_shard() -> None:
    rows = SparseRows(np.array([0, 2, 3, 4]), np.array([0, 6, -1, 2], np.int32), np.array([np.inf, 1, 1, np.nan]), 6)
    found = feature_faults(np.array([10, 11, 12]), rows, "user", "full")
    assert found == [Fault("feature", 2, (10, 12), "user"), Fault("column", 2, (10, 11), "user")]


def test_a_uid_stands_once() -> None:
    rows, labels, weights, offsets = sound()
    uids = np.arange(ROWS)
    uids[[5, 9, 50]] = [4, 4, 51]
    (fault,) = row_faults(uids, Examples(rows, labels, weights, offsets), LOSS, "full")
    assert (fault.kind, fault.rows, fault.uids) == ("uid", 3, (4, 51))


def test_blocks_add_up_and_the_error_says_what_mends_it() -> None:
    rows, labels, weights, offsets = sound()
    labels[::2] = 3.0
    offsets[7] = np.nan
    with pytest.raises(BadDataError) as refused:
        check_rows({"global": rows}, Examples(rows, labels, weights, offsets), LOSS)
    assert str(refused.value).splitlines() == [
        (
            "30 rows with a label that the task cannot have (uids 0, 2, 4, 6, 8, …); "
            "1 rows with an offset that is not finite (uid 7)"
        ),
        "expected: labels that are 0 or 1; a number, or none (task logistic)",
        "to mend it: correct the response, or choose the task that it fits; correct or drop the offset",
    ]
    one, other = Fault("label", 3, (5, 7, 9)), Fault("label", 4, (1, 2, 3, 8))
    assert one + other == Fault("label", 7, (1, 2, 3, 5, 7))


def test_a_sample_is_a_tenth_and_always_the_same() -> None:
    count = 20_000
    uids = np.arange(count) * 3
    wrong = Examples(SparseRows.from_dense(np.ones((count, 1))), np.full(count, 7.0), np.ones(count), np.zeros(count))
    (fault,) = row_faults(uids, wrong, LOSS, "sample")
    assert fault.rows == pytest.approx(count / 10, rel=0.1)
    (again,) = row_faults(uids, wrong, LOSS, "sample")
    assert again == fault
    assert row_faults(uids, wrong, LOSS, "off") == []
    shuffled = np.random.default_rng(1).permutation(count)
    (of_others,) = row_faults(uids[shuffled], wrong, LOSS, "sample")
    assert of_others == fault


@pytest.mark.parametrize(
    ("task", "good", "bad"), [("linear", -3.0, np.inf), ("poisson", 0.0, -1.0), ("gamma", 0.1, 0.0)]
)
def test_each_task_has_its_labels(task: str, good: float, bad: float) -> None:
    rows, labels, weights, offsets = sound()
    check_rows({"global": rows}, Examples(rows, np.full(ROWS, good), weights, offsets), loss_of(task))
    labels[:] = good
    labels[3] = bad
    with pytest.raises(BadDataError, match=r"1 rows with a label that the task cannot have \(uid 3\)"):
        check_rows({"global": rows}, Examples(rows, labels, weights, offsets), loss_of(task))


def test_a_fit_refuses_rows_by_name_unless_told_not_to_look(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    features = glmix_data.shards["user"]
    values = features.values.copy()
    values[0] = np.nan
    weights = np.where(np.arange(240) == 7, -1e-3, glmix_data.weights)
    broken = replace(glmix_data, weights=weights, uids=np.arange(240) + 1000)
    assert fit(broken, glmix_settings, checks="off").descent.sweeps
    broken = replace(broken, shards={**glmix_data.shards, "user": replace(features, values=values)})
    with pytest.raises(BadDataError, match=r"1 rows with a weight that is negative or not .* \(uid 1007\)") as refused:
        fit(broken, glmix_settings)
    assert "a feature that is not finite in shard user (uid 1000)" in str(refused.value)
