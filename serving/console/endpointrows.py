"""One line on each model: what answers here, how it does, and the light of its drift."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from serving.console.rates import Rates, latest
from serving.console.samples import Sample
from serving.slots import Slot, Snapshot
from serving.source import Endpoint
from yarnmill.drift.rules import Verdict
from yarnmill.registry.records import Model

State = Literal["answers", "loading", "refused", "not deployed"]


class EndpointRow(NamedTuple):
    """A model in this tier; ``rates`` are of the last minute, ``reason`` says why a version is refused."""

    model: Model
    state: State
    reason: str
    rule: str
    rates: Rates
    drift: Verdict


def endpoint_rows(models: Iterable[Model], snapshot: Snapshot, samples: Sequence[Sample]) -> list[EndpointRow]:
    """Return the lines of some models."""
    return [_row(model, snapshot.slots.get(model.name), samples) for model in models]


def state_of(slot: Slot | None) -> State:
    """Return how far an endpoint is."""
    if slot is None:
        return "not deployed"
    if slot.is_current:
        return "answers"
    return "refused" if slot.failure else "loading"


def drift_light(samples: Sequence[Sample], model: str) -> Verdict:
    """Return what the tier's gauges, a quarter of a minute old, say of a model's drift."""
    found = samples[-1].models.get(model) if samples else None
    if found is None or found.drifted is None:
        return "unknown"
    return "drifted" if found.drifted else "steady"


def _row(model: Model, slot: Slot | None, samples: Sequence[Sample]) -> EndpointRow:
    return EndpointRow(
        model=model,
        state=state_of(slot),
        reason="" if slot is None else slot.failure,
        rule="" if slot is None else _rule(slot.wanted),
        rates=latest(samples, model.name),
        drift=drift_light(samples, model.name),
    )


def _rule(wanted: Endpoint) -> str:
    shares = ", ".join(f"{route.version}: {route.weight:g} %" for route in wanted.arms)
    mirror = "" if wanted.mirror is None else f"; mirrored to {wanted.mirror}"
    return f"{shares}{mirror}" if wanted.layer is None else f"{shares}{mirror}; in {wanted.layer}"
