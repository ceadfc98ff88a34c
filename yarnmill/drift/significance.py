"""How probable what was seen is where nothing has changed: tests of two samples, from their counts."""

import math
from collections.abc import Sequence
from typing import Final

_LEAST_EXPECTED: Final = 5.0
"""Rows that a cell is expected to have in the smaller sample, lest Pearson's statistic has another distribution."""

_MOST_EXACT: Final = 2_000


def homogeneity_p_value(reference: Sequence[float], counts: Sequence[float], *, is_ordered: bool = True) -> float:
    """Return the p-value of Pearson's test that both samples have one distribution.

    Neighbouring cells are put together until each is expected to have five rows of the smaller sample; where the cells
    have no order, those that are alike in size are neighbours. If all become one, nothing can be said, which is 1.

    Parameters
    ----------
    reference, counts
        Rows by cell.
    is_ordered
        Whether neighbours are near each other.

    References
    ----------
    W. Cochran, Some methods for strengthening the common chi-square tests, Biometrics 10(4), 1954.
    """
    pairs = list(zip(reference, counts, strict=True))
    if not is_ordered:
        pairs.sort(key=lambda pair: -sum(pair))
    totals = tuple(float(sum(side)) for side in (reference, counts))
    if min(totals) <= 0.0:
        return 1.0
    groups = _grouped(pairs, min(totals) / sum(totals))
    statistic = 0.0
    for group in groups:
        for seen, total in zip(group, totals, strict=True):
            expected = sum(group) * total / sum(totals)
            statistic += (seen - expected) ** 2 / expected
    return chi_square_tail(statistic, len(groups) - 1)


def _grouped(pairs: Sequence[tuple[float, float]], smaller: float) -> list[tuple[float, float]]:
    groups: list[tuple[float, float]] = []
    one, other = 0.0, 0.0
    for p, q in pairs:
        one, other = one + p, other + q
        if (one + other) * smaller >= _LEAST_EXPECTED:
            groups.append((one, other))
            one, other = 0.0, 0.0
    if one + other > 0.0:
        last = groups.pop() if groups else (0.0, 0.0)
        groups.append((last[0] + one, last[1] + other))
    return groups


def chi_square_tail(statistic: float, degrees: int) -> float:
    """Return P(X >= statistic) for a chi-square variable of so many degrees of freedom; 1 for none.

    By the finite sums that there are for whole degrees (Abramowitz and Stegun, 26.4.4 and 26.4.5).
    """
    half = statistic / 2.0
    if degrees < 1 or half <= 0.0:  # half of the smallest number is none
        return 1.0
    is_odd = degrees % 2 == 1
    tail = math.erfc(math.sqrt(half)) if is_odd else 0.0
    power = 0.5 if is_odd else 0.0
    while power < degrees / 2.0:
        tail += math.exp(power * math.log(half) - half - math.lgamma(power + 1.0))
        power += 1.0
    return min(tail, 1.0)


def more_often_p_value(reference: tuple[int, int], counts: tuple[int, int]) -> float:
    """Return the one-sided p-value that something is no more frequent than in the reference.

    Fisher's exact test, and beyond two thousand occurrences its normal approximation.

    Parameters
    ----------
    reference, counts
        How often it occurred, and in how many rows.
    """
    (known, known_rows), (seen, rows) = reference, counts
    together, all_rows = known + seen, known_rows + rows
    if not rows or not known_rows or not together:
        return 1.0
    if together > _MOST_EXACT:
        share = together / all_rows
        spread = math.sqrt(share * (1.0 - share) * (1.0 / rows + 1.0 / known_rows))
        excess = seen / rows - known / known_rows
        return 0.5 * math.erfc(excess / spread / math.sqrt(2.0)) if spread else 1.0
    highest = min(together, rows)
    chances = (_hypergeometric(each, rows, together, all_rows) for each in range(seen, highest + 1))
    return min(math.fsum(chances), 1.0)


def _hypergeometric(seen: int, rows: int, together: int, all_rows: int) -> float:
    """Return the probability that ``seen`` of all occurrences are in some rows of all."""
    if together - seen > all_rows - rows:
        return 0.0
    chosen = _log_choices(rows, seen) + _log_choices(all_rows - rows, together - seen)
    return math.exp(chosen - _log_choices(all_rows, together))


def _log_choices(of: int, chosen: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(chosen + 1) - math.lgamma(of - chosen + 1)
