"""Parts of data to fit, and moments beside each other."""

import numpy as np

from photon.empirical_bayes import Moments
from photon.local import LocalData


def part_of(data: LocalData, rows: np.ndarray) -> LocalData:
    """Return some rows of data to fit."""
    return LocalData(
        data.labels[rows],
        data.weights[rows],
        data.offsets[rows],
        {name: shard.take(rows) for name, shard in data.shards.items()},
        {name: ids[rows] for name, ids in data.ids.items()},
        data.intercepts,
    )


def assert_same_moments(found: Moments, expected: Moments, effect: str) -> None:
    """Check that the moments of Spark are those of one process: of the fit, and of one of its effects."""
    assert found.rows == expected.rows
    np.testing.assert_allclose(found.squares, expected.squares, rtol=1e-5)
    np.testing.assert_allclose(found.parameters, expected.parameters, rtol=1e-4)
    one, other = found.effects[effect], expected.effects[effect]
    np.testing.assert_array_equal(one.counts, other.counts)
    np.testing.assert_allclose(one.points, other.points, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(one.covariances, other.covariances, rtol=1e-3, atol=1e-3)
