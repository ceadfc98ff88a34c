"""Calibration and lift: predicted against observed means in bins of equal weight.

Bins are quantiles of the score, so each holds as much weight as the next and none is empty by design; a
tie lies whole in the bin of its middle. Sums of a bin add up over ranges of scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from photon.evaluation.ranking import Above, Ties
from photon.rows import Floats

BINS: Final = 10
"""Bins unless another number is asked for: deciles."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows of one bin: its lowest and highest score, ``Σ w``, ``Σ w·E[y]`` and ``Σ w·y``."""

    number: int
    lowest: float
    highest: float
    weight: float
    predicted_sum: float
    observed_sum: float

    @property
    def predicted(self) -> float:
        """Weighted mean of the predictions."""
        return self.predicted_sum / self.weight

    @property
    def observed(self) -> float:
        """Weighted mean of the labels."""
        return self.observed_sum / self.weight

    def __add__(self, other: "Bin") -> "Bin":
        return Bin(
            self.number,
            min(self.lowest, other.lowest),
            max(self.highest, other.highest),
            self.weight + other.weight,
            self.predicted_sum + other.predicted_sum,
            self.observed_sum + other.observed_sum,
        )


def bins_of(ties: Ties, predictions: Floats, above: Above, total: float, bins: int) -> list[Bin]:
    """Return a range's parts of the bins, ascending; bin 0 holds the lowest scores.

    Parameters
    ----------
    ties
        The range.
    predictions
        ``(scores,)`` ``E[y]`` of each distinct score.
    above
        What lies above the range.
    total
        Weight of all ranges.
    bins
        Number of bins.
    """
    middle = above.weight + np.cumsum(ties.weights[::-1])[::-1] - 0.5 * ties.weights
    number = np.clip(np.ceil(bins * (1.0 - middle / total)).astype(np.int64) - 1, 0, bins - 1)
    found = []
    for place in np.unique(number):
        own = number == place
        scores, weights = ties.scores[own], ties.weights[own]
        predicted, observed = float(weights @ predictions[own]), float(ties.labels[own].sum())
        found.append(Bin(int(place), float(scores[0]), float(scores[-1]), float(weights.sum()), predicted, observed))
    return found


def added(parts: Sequence[Bin]) -> tuple[Bin, ...]:
    """Return the bins of all ranges, ascending."""
    total: dict[int, Bin] = {}
    for part in parts:
        total[part.number] = total[part.number] + part if part.number in total else part
    return tuple(total[number] for number in sorted(total))


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Return ``Σ_b W_b/W · |observed_b - predicted_b|``; NaN without bins."""
    weight = sum(one.weight for one in bins)
    distance = sum(abs(one.observed_sum - one.predicted_sum) for one in bins)
    return distance / weight if weight > 0.0 else float("nan")


@dataclass(frozen=True, slots=True)
class LiftRow:
    """The bins from the top down to one of them.

    ``weight_share`` and ``label_share`` are their parts of all weight and of all ``Σ w·y``; ``lift`` is the
    ratio of the two: how much more often the answer is yes there than among all rows.
    """

    lowest: float
    weight_share: float
    label_share: float
    lift: float


def lift_table(bins: Sequence[Bin]) -> tuple[LiftRow, ...]:
    """Return the cumulative lift of the bins, from the highest scores down."""
    weight, observed = sum(one.weight for one in bins), sum(one.observed_sum for one in bins)
    rows, above, labels = [], 0.0, 0.0
    for one in reversed(bins):
        above, labels = above + one.weight, labels + one.observed_sum
        share, gain = above / weight, labels / observed if observed else float("nan")
        rows.append(LiftRow(one.lowest, share, gain, gain / share))
    return tuple(rows)
