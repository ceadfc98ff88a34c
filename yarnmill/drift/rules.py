"""When a difference is an alert: it is larger than it may be, and more than chance."""

import math
from collections.abc import Iterable
from typing import Literal

from yarnmill.records import Record

RuleName = Literal["psi", "missing", "new"]
Verdict = Literal["steady", "unsure", "drifted", "unknown"]
"""``unsure``: something is over its limit and may be chance; ``unknown``: there is nothing to compare."""


class Rules(Record, frozen=True, kw_only=True):
    """How far each series may be from its reference.

    Parameters
    ----------
    psi
        Most that the PSI may be over what it is by chance.
    missing, new
        Most by which the part of the rows whose value is missing, or of no known category, may have grown.
    alpha
        Probability that anything at all is called drifted, at one look, although nothing has changed.
    """

    psi: float = 0.2
    missing: float = 0.05
    new: float = 0.05
    alpha: float = 0.01

    def __post_init__(self) -> None:
        """Refuse what is no limit."""
        if not 0.0 < self.alpha < 1.0:
            raise ValueError(f"alpha {self.alpha:g} is no probability between 0 and 1")
        for name, limit in (("psi", self.psi), ("missing", self.missing), ("new", self.new)):
            if not (math.isfinite(limit) and limit >= 0.0):
                raise ValueError(f"{name} {limit:g} is no limit: 0 or more")

    def limit(self, rule: RuleName) -> float:
        """Return the limit of a rule."""
        return {"psi": self.psi, "missing": self.missing, "new": self.new}[rule]


class Finding(Record, frozen=True, kw_only=True):
    """What a rule saw: by how much something is more than chance or the reference have it, and how much it may be.

    ``alpha`` is this finding's part of the probability of a false alert.
    """

    rule: RuleName
    excess: float
    limit: float
    p_value: float
    alpha: float

    @property
    def is_over(self) -> bool:
        """Whether it is over its limit."""
        return self.excess > self.limit

    @property
    def is_broken(self) -> bool:
        """Whether it is over its limit, and that is more than chance."""
        return self.is_over and self.p_value < self.alpha

    def __str__(self) -> str:
        """Return the finding in one line."""
        if self.rule == "psi":
            return f"PSI {self.excess:.2f} over chance, allowed {self.limit:.2f}"
        return f"{self.rule} +{self.excess:.1%}, allowed {self.limit:.1%}"


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """Return what the findings of a series say together."""
    seen = tuple(findings)
    if not seen:
        return "unknown"
    if any(one.is_broken for one in seen):
        return "drifted"
    return "unsure" if any(one.is_over for one in seen) else "steady"


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict on all of them."""
    order: tuple[Verdict, ...] = ("unknown", "steady", "unsure", "drifted")
    return max(verdicts, key=order.index, default="unknown")
