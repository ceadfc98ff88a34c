"""Scores: the one number that an answer is compared by."""

import math

from serving.dialect import Outputs


def mean_score(outputs: Outputs) -> float | None:
    """Return the mean over the rows of the first output's last number: of two probabilities, that of the second class.

    None if the output is text, or there is none.
    """
    values = next(iter(outputs.values()), None)
    if values is None or values.dtype.kind not in "fiub" or not values.size:
        return None
    score = float(values.reshape(len(values), -1)[:, -1].mean())
    return score if math.isfinite(score) else None
