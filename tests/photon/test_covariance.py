import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from photon.covariance import Covariance, dense_rows, packed, transformed, unpacked, untransformed
from photon.rows import Floats, SparseRows

SIZES = st.integers(1, 4)
FINITE = st.floats(-3.0, 3.0, allow_subnormal=False)


@st.composite
def covariances(draw: st.DrawFn) -> Covariance:
    size = draw(SIZES)
    if draw(st.booleans()):
        root = draw(arrays(np.float64, (size, size), elements=FINITE))
        return Covariance(root @ root.T + 0.01 * np.eye(size))
    return Covariance(draw(arrays(np.float64, size, elements=st.floats(0.01, 9.0))))


@given(covariances())
def test_the_factor_is_a_root(covariance: Covariance) -> None:
    factor = covariance.factor()
    whole = np.diag(factor**2) if factor.ndim == 1 else factor @ factor.T
    expected = covariance.matrix if covariance.correlates else np.diag(covariance.matrix)
    np.testing.assert_allclose(whole, expected, atol=1e-10)


@given(covariances(), st.floats(0.1, 10.0))
def test_packed_numbers_are_unpacked_to_the_same_covariance(covariance: Covariance, scale: float) -> None:
    scales = np.linspace(1.0, 2.0, covariance.columns) * scale
    found = unpacked(packed(covariance, scales), scales, correlates=covariance.correlates)
    np.testing.assert_allclose(found.matrix, covariance.matrix, atol=1e-7 * np.max(np.abs(covariance.matrix)))


@given(arrays(np.float64, st.integers(1, 10), elements=st.floats(-5.0, 5.0)))
def test_any_numbers_are_a_covariance(numbers: Floats) -> None:
    size = next((d for d in range(1, 5) if d * (d + 1) // 2 == len(numbers)), None)
    if size is None:
        return
    found = unpacked(numbers, np.ones(size), correlates=True)
    assert np.linalg.eigvalsh(found.matrix).min() >= -1e-9 * np.abs(found.matrix).max()


@given(covariances(), st.integers(0, 99))
def test_scores_are_the_same_in_both_coordinates(covariance: Covariance, seed: int) -> None:
    random = np.random.default_rng(seed)
    size, factor = covariance.columns, covariance.factor()
    matrix = random.normal(size=(6, size))
    rows = dense_rows(matrix) if covariance.correlates else SparseRows.from_dense(matrix)
    u = random.normal(size=size)
    b = untransformed(np.arange(size), u, factor)
    np.testing.assert_allclose(transformed(rows, factor).dot(u), matrix @ b, atol=1e-9)


def test_a_coefficient_without_variance_has_no_correlation() -> None:
    found = Covariance(np.array([[4.0, 0.0], [0.0, 0.0]])).correlations
    np.testing.assert_array_equal(found, np.eye(2))
    np.testing.assert_allclose(Covariance(np.array([[4.0, 1.0], [1.0, 1.0]])).correlations[0, 1], 0.5)
