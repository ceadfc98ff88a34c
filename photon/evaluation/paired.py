"""How much better one model's scores are than another's on the same rows, with an interval."""

from dataclasses import dataclass

import numpy as np

from photon.entities import Keys
from photon.evaluation.evaluation import Question, evaluate
from photon.evaluation.ranking import Scored
from photon.rows import Floats
from yarnmill.errors import BadDataError


@dataclass(frozen=True, slots=True)
class Paired:
    """The metric of one model minus that of the other, and the interval that covers it."""

    difference: float
    low: float
    high: float


def paired_difference(  # noqa: PLR0913  # each by name
    one: Scored,
    other: Floats,
    question: Question,
    *,
    together: Keys | None = None,
    confidence: float = 0.95,
    draws: int = 200,
    seed: int = 0,
) -> Paired:
    """Return a metric of ``one`` minus that of ``other`` on the same rows, with a bootstrap interval.

    Each draw gives every row (or every group) a Poisson(1) count that multiplies its weight, the same for both
    models: what both find hard cancels [1]_. The interval lies between the quantiles of the draws.

    Parameters
    ----------
    one
        Scores of one model, with labels and weights, shape ``(rows,)``.
    other
        Scores of the other for the same rows, in the same order.
    question
        The one evaluator, over all rows.
    together
        Ids, shape ``(rows,)``: rows of one id are drawn together, for they are not independent.
    confidence
        Share of the draws within the interval.
    draws
        How many draws.
    seed
        Of the draws: the same rows give the same interval.

    Raises
    ------
    BadDataError
        If the metric has no value on the rows, such as an AUC where all labels are equal.

    References
    ----------
    .. [1] B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13; Poisson counts
       as in N. Chamandy et al., "Estimating Uncertainty for Massive Data Streams", Google 2012.
    """
    second = Scored(other, one.labels, one.weights)
    difference = _value(one, question) - _value(second, question)
    if not np.isfinite(difference):
        raise BadDataError(
            f"{question.evaluators[0].name} has no value on these {len(other):,} rows",
            expected="rows with labels that differ",
        )
    random = np.random.default_rng(seed)
    group = np.arange(len(other)) if together is None else np.unique(together, return_inverse=True)[1]
    groups = int(group.max()) + 1
    drawn = []
    for _ in range(draws):
        weights = one.weights * random.poisson(1.0, groups)[group]
        first, last = (Scored(scored.scores, one.labels, weights) for scored in (one, second))
        drawn.append(_value(first, question) - _value(last, question))
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail]) if np.isfinite(drawn).any() else (-np.inf, np.inf)
    return Paired(float(difference), float(low), float(high))


def _value(rows: Scored, question: Question) -> float:
    return evaluate(rows, question).value(question.evaluators[0])
