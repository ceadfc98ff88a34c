"""How often what may fail: one account for each class of failures."""

from collections.abc import Callable
from dataclasses import dataclass

from tony_py.application import Retries
from tony_py.driver.failures import Incident
from yarnmill.units import render_seconds

_LONGEST_BACKOFF_S = 60.0
_AFTERMATH_S = 60.0
"""How long after a task was lost its peers may fail for that reason."""


@dataclass(frozen=True)
class Verdict:
    """Whether to try again, after how long, and in words how the account stands."""

    may_retry: bool
    backoff_s: float
    words: str


class Budgets:
    """The accounts of one application.

    Parameters
    ----------
    retries
        What the application allows.
    clock
        Monotonic seconds.
    """

    def __init__(self, retries: Retries, clock: Callable[[], float]) -> None:
        self._retries = retries
        self._clock = clock
        self._spent: dict[str, list[float]] = {}

    def spend_for(self, incident: Incident) -> Verdict:
        """Take one retry of the incident's class; one loss takes one, however many lose a peer by it."""
        spent = self._spent.get(incident.kind, [])
        if incident.is_aftermath and spent and self._clock() - spent[-1] < _AFTERMATH_S:
            return Verdict(may_retry=True, backoff_s=0.0, words="it lost a peer")
        return self.spend(incident.kind)

    def spend(self, kind: str) -> Verdict:
        """Take one retry of a class, if there is one left."""
        budget = self._retries.of(kind)
        now = self._clock()
        recent = [at for at in self._spent.get(kind, []) if not budget.window or now - at <= budget.window]
        may_retry = len(recent) < budget.retries
        self._spent[kind] = [*recent, now] if may_retry else recent
        within = f" within {render_seconds(budget.window)}" if budget.window else ""
        count = len(recent) + may_retry
        words = f"retry {count} of {budget.retries}{within}" if may_retry else f"{budget.retries} retries{within} spent"
        backoff_s = min(_LONGEST_BACKOFF_S, budget.backoff * (2 ** len(recent) - 1))
        return Verdict(may_retry, backoff_s, f"{words} (retries.{kind})")
