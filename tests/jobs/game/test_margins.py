"""Pairs of sparse rows, against their dense twins."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jobs.game.margins import paired_dot
from photon.rows import SparseRows


@given(
    rows=st.integers(0, 6), columns=st.integers(1, 5), seed=st.integers(0, 999), share=st.sampled_from([0.0, 0.4, 1.0])
)
def test_paired_dot_is_the_dense_one(rows: int, columns: int, seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    one, other = (
        np.where(random.random((rows, columns)) < share, random.normal(size=(rows, columns)), 0.0) for _ in range(2)
    )
    found = paired_dot(SparseRows.from_dense(one), SparseRows.from_dense(other))
    np.testing.assert_allclose(found, (one * other).sum(axis=1), atol=1e-12)
