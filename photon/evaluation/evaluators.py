"""Names of evaluators as Photon ML writes them, and which of two values is the better one.

A name is ``METRIC``, ``METRIC@K``, ``METRIC:ID`` or ``METRIC@K:ID``: with an id the metric is taken
within every group of rows that share it, and the plain mean over the groups is the value. Letter case
and underscores of the metric do not matter, so Photon's older ``LOGISTICLOSS`` is ``LOGISTIC_LOSS``.

This module knows names only: neither scores nor how a value is computed.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from yarnmill.errors import ConfigurationError

Metric = Literal[
    "AUC",
    "AUPR",
    "RMSE",
    "MSE",
    "LOGISTIC_LOSS",
    "POISSON_LOSS",
    "SQUARED_LOSS",
    "SMOOTHED_HINGE_LOSS",
    "CALIBRATION",
    "ECE",
    "LIFT",
    "PRECISION",
    "NDCG",
]

Aim = Literal["larger", "smaller", "one"]
"""Which values are better: larger ones, smaller ones, or those nearer to 1 (as a ratio)."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a metric may be asked for.

    ``label`` is its name in reports; ``cut`` whether ``@K`` is needed; ``overall`` and ``grouped`` whether
    it is taken over all rows and within groups.
    """

    label: str
    aim: Aim
    cut: bool = False
    overall: bool = True
    grouped: bool = True


_RULES: Final[dict[Metric, _Rule]] = {
    "AUC": _Rule("auc", "larger"),
    "AUPR": _Rule("aupr", "larger"),
    "RMSE": _Rule("rmse", "smaller"),
    "MSE": _Rule("mean_squared_error", "smaller"),
    "LOGISTIC_LOSS": _Rule("log_loss", "smaller"),
    "POISSON_LOSS": _Rule("poisson_loss", "smaller"),
    "SQUARED_LOSS": _Rule("squared_loss", "smaller"),
    "SMOOTHED_HINGE_LOSS": _Rule("smoothed_hinge_loss", "smaller"),
    "CALIBRATION": _Rule("calibration", "one", grouped=False),
    "ECE": _Rule("expected_calibration_error", "smaller", grouped=False),
    "LIFT": _Rule("lift", "larger", cut=True, grouped=False),
    "PRECISION": _Rule("precision", "larger", cut=True, overall=False),
    "NDCG": _Rule("ndcg", "larger", cut=True, overall=False),
}
_BY_SPELLING: Final = {name.replace("_", ""): name for name in _RULES} | {"LOGLOSS": "LOGISTIC_LOSS"}
_NAME: Final = re.compile(r"(?P<metric>[A-Za-z_]+)(?:@(?P<k>\d+))?(?::(?P<entity>.+))?")
_LARGEST_SHARE: Final = 100
_EXAMPLES: Final = "AUC, AUPR, RMSE, LOGISTIC_LOSS, LIFT@10, AUC:queryId, PRECISION@5:queryId, NDCG@10:queryId"


@dataclass(frozen=True, slots=True)
class Evaluator:
    """One metric, over all rows or (``entity``) as the mean over the groups of an id.

    ``k`` counts the rows at the top of a group; of ``LIFT`` it is the per cent of the weight at the top of all.
    """

    metric: Metric
    k: int | None = None
    entity: str | None = None

    @property
    def name(self) -> str:
        """Photon's spelling, such as ``PRECISION@5:queryId``."""
        cut = "" if self.k is None else f"@{self.k}"
        return f"{self.metric}{cut}" + ("" if self.entity is None else f":{self.entity}")

    @property
    def label(self) -> str:
        """Name in reports, such as ``precision_at_5_per_query``."""
        cut = "" if self.k is None else f"_at_{self.k}"
        per = "" if self.entity is None else f"_per_{self.entity.removesuffix('_id')}"
        return f"{_RULES[self.metric].label}{cut}{per}"

    @property
    def aim(self) -> Aim:
        """Which values are better."""
        return _RULES[self.metric].aim

    def cost(self, value: float) -> float:
        """Return a number that is smaller for a better value: what a search minimises; infinite for no value."""
        if math.isnan(value):
            return math.inf
        if self.aim == "one":
            return abs(math.log(value)) if 0.0 < value < math.inf else math.inf
        return -value if self.aim == "larger" else value

    def is_better(self, value: float, than: float) -> bool:
        """Return whether ``value`` is the better one; NaN (no value) never is."""
        return self.cost(value) < self.cost(than)


def parse_evaluator(name: str, *, source: str = "evaluators") -> Evaluator:
    """Return the evaluator of a name; ConfigurationError, naming ``source``, if it cannot be meant."""
    match = _NAME.fullmatch(name.strip())
    metric = _BY_SPELLING.get(match["metric"].upper().replace("_", "")) if match else None
    if match is None or metric is None:
        raise ConfigurationError(f"{source}: {name!r} is no evaluator", expected=f"such as {_EXAMPLES}")
    found = Evaluator(metric, int(match["k"]) if match["k"] else None, match["entity"])
    problem = _problem(found, _RULES[metric])
    if problem:
        raise ConfigurationError(f"{source}: {name!r}: {problem}", expected=f"such as {_EXAMPLES}")
    return found


def _problem(evaluator: Evaluator, rule: _Rule) -> str:
    if rule.cut != (evaluator.k is not None):
        return "@K is missing" if rule.cut else f"{evaluator.metric} takes no @K"
    if evaluator.k == 0 or (evaluator.metric == "LIFT" and (evaluator.k or 0) > _LARGEST_SHARE):
        return "K is a per cent, 1 to 100" if evaluator.metric == "LIFT" else "K is at least 1"
    if evaluator.entity is None and not rule.overall:
        return "needs the id whose groups it is taken within, after a colon"
    if evaluator.entity is not None and not rule.grouped:
        return "is taken over all rows only"
    return ""


def parse_evaluators(names: Sequence[str], *, source: str = "evaluators") -> tuple[Evaluator, ...]:
    """Return the evaluators of the names, in order; ConfigurationError if one stands twice, or two share a label."""
    found = tuple(parse_evaluator(name, source=f"{source}[{place}]") for place, name in enumerate(names))
    first: dict[str, Evaluator] = {}
    for place, evaluator in enumerate(found):
        same = first.setdefault(evaluator.label, evaluator)
        if same is not evaluator:
            beside = "stands twice" if same == evaluator else f"is called {same.label} in reports, as {same.name} is"
            raise ConfigurationError(f"{source}[{place}]: {evaluator.name} {beside}")
    return found
