"""How far apart two distributions over the same cells are, from their counts.

Cells that are empty on both sides say nothing and are left out everywhere.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Counts = Sequence[float]
Shares = npt.NDArray[np.float64]


def population_stability_index(reference: Counts, counts: Counts) -> float:
    """Return the PSI, the sum over the cells of ``(q - p) ln(q / p)``: 0 for the same shares, without upper bound.

    It is Jeffreys' divergence, KL(p, q) + KL(q, p). By convention up to 0.1 is little and over 0.2 (or 0.25) much. A
    cell that is empty on one side is taken for half a row: its share is not known to be 0, only to be small.

    References
    ----------
    N. Siddiqi, Credit Risk Scorecards, 2006, chapter 10. H. Jeffreys, Proc. R. Soc. A 186, 1946.
    """
    kept = _kept(reference, counts)
    p, q = (each / each.sum() for each in (np.maximum(one, 0.5) for one in kept))
    return float(((q - p) * np.log(q / p)).sum())


def expected_stability_index(reference: Counts, counts: Counts) -> float:
    """Return about what the PSI of two samples is by chance, when nothing drifts: ``(B - 1) (1 / n + 1 / m)``.

    To second order the PSI times ``n m / (n + m)`` is Pearson's statistic, whose mean is its degrees of freedom. So
    20 cells and 100 rows give 0.19 where nothing has changed at all.

    References
    ----------
    B. Yurdakul, J. Naranjo, Statistical properties of the population stability index, Journal of Risk Model
    Validation 14(4), 2020.
    """
    p, q = _kept(reference, counts)
    return float((len(p) - 1) * (1.0 / p.sum() + 1.0 / q.sum()))


def kolmogorov_smirnov(reference: Counts, counts: Counts) -> float:
    """Return the largest difference of the distribution functions at the cells' edges: from 0 to 1.

    At most the statistic of the values themselves, since only the edges are looked at. Of numbers only: the cells have
    an order.
    """
    p, q = _shares(reference, counts)
    return float(np.abs(np.cumsum(p) - np.cumsum(q)).max())


def jensen_shannon(reference: Counts, counts: Counts) -> float:
    """Return the distance of Jensen and Shannon, ``sqrt((KL(p, m) + KL(q, m)) / 2)`` with ``m = (p + q) / 2``.

    To base 2. A metric: symmetric, from 0 for the same shares to 1 where no cell has rows of both.

    References
    ----------
    J. Lin, Divergence measures based on the Shannon entropy, IEEE Trans. Inf. Theory 37(1), 1991. D. Endres,
    J. Schindelin, A new metric for probability distributions, IEEE Trans. Inf. Theory 49(7), 2003.
    """
    p, q = _shares(reference, counts)
    middle = (p + q) / 2.0
    return float(np.sqrt(max((_divergence(p, middle) + _divergence(q, middle)) / 2.0, 0.0)))


def _divergence(p: Shares, q: Shares) -> float:
    held = p > 0.0
    return float((p[held] * np.log2(p[held] / q[held])).sum())


def _shares(reference: Counts, counts: Counts) -> tuple[Shares, Shares]:
    p, q = _kept(reference, counts)
    return p / p.sum(), q / q.sum()


def _kept(reference: Counts, counts: Counts) -> tuple[Shares, Shares]:
    p, q = np.asarray(reference, np.float64), np.asarray(counts, np.float64)
    if p.shape != q.shape or not p.sum() or not q.sum():
        raise ValueError(f"{p.shape} and {q.shape} cells of {p.sum():g} and {q.sum():g} rows: nothing to compare")
    held = (p + q) > 0.0
    return p[held], q[held]
