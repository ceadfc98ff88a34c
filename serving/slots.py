"""What answers, as values: a version that is open, the versions of a rule, an endpoint, all endpoints at one moment."""

from collections.abc import Mapping

import msgspec

from serving.arms import Arms, place_in_layer
from serving.decoding import SignatureDecoder
from serving.source import Endpoint
from yarnmill.drift.reference import Reference
from yarnmill.flavours.predictor import Predictor


class ServedModel(msgspec.Struct, frozen=True):
    """An opened version of a model with its compiled decoder; ``memory_bytes`` is about what it takes.

    ``reference`` is how its inputs and scores were distributed in training; None: its bundle does not say.
    """

    model: str
    version: int
    bundle_id: str
    predictor: Predictor
    decoder: SignatureDecoder
    memory_bytes: int
    reference: Reference | None = None


class Answering(msgspec.Struct, frozen=True):
    """The versions that answer for a model, all of them open, by a rule.

    ``arms`` says which of them answers a request, ``main`` has the largest share; ``mirror`` gets a copy of it, if
    there is one.
    """

    endpoint: Endpoint
    versions: Mapping[int, ServedModel]
    arms: Arms
    main: ServedModel
    mirror: ServedModel | None = None

    @property
    def is_experiment(self) -> bool:
        """Whether requests go to more than one version."""
        return len(self.versions) > 1

    @property
    def memory_bytes(self) -> int:
        """About what they take together."""
        return sum(served.memory_bytes for served in self.versions.values())

    def labelled(self, label: str) -> ServedModel | None:
        """Return what TensorFlow Serving's habit calls ``stable``, the largest share, or ``canary``, the next one."""
        shares = sorted(self.endpoint.arms, key=lambda route: -route.weight)
        number = {"stable": 0, "canary": 1}.get(label, len(shares))
        return self.versions[shares[number].version] if number < len(shares) else None

    def takes_part(self, unit: str | None) -> bool:
        """Return whether a unit is in the experiment; in one on a part of a layer, nobody without a name is."""
        layer = self.endpoint.layer
        if layer is None:
            return self.is_experiment
        start, stop = layer.bounds
        return unit is not None and start <= place_in_layer(layer.name, unit) < stop

    def choose(self, unit: str | None) -> ServedModel:
        """Return the version that answers for a unit that takes part; without one, any of them by its share."""
        return self.versions[self.arms.choose(unit)]


class Slot(msgspec.Struct, frozen=True):
    """One endpoint: what the registry wants there, what answers, and why that is not the same.

    A rule answers as a whole, once every version that it names is open: ``served`` is None before the first one does.
    A rule that is not open, and will be when it is asked for, is ``cold``: there was no room for it, or others were
    asked for since. A version that cannot be opened leaves the rule before answering; ``failure`` says why, and it is
    tried again at ``retry_at`` (monotonic seconds), and a cold rule that could not be opened at ``cold_retry_at``: a
    wanted rule that is refused keeps nobody from what answered before. ``opened`` are the versions of the wanted rule
    that wait for the others.
    """

    wanted: Endpoint
    served: Answering | None = None
    cold: Endpoint | None = None
    opened: tuple[ServedModel, ...] = ()
    failure: str = ""
    attempts: int = 0
    retry_at: float = 0.0
    cold_retry_at: float = 0.0

    @property
    def answers(self) -> Endpoint | None:
        """The rule that answers, open or cold; None if none does."""
        return self.cold if self.served is None else self.served.endpoint

    @property
    def is_current(self) -> bool:
        """Whether the wanted rule answers."""
        return self.answers is not None and same_rule(self.answers, self.wanted)

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions that answer."""
        return () if self.answers is None else tuple(route.version for route in self.answers.routes)


class Snapshot(msgspec.Struct, frozen=True):
    """All endpoints at one moment. ``settled``: every one was tried once; ``trouble``: why the registry is silent."""

    slots: Mapping[str, Slot] = {}
    settled: bool = False
    trouble: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether something answers at every endpoint."""
        return self.settled and self.answering == len(self.slots)

    @property
    def answering(self) -> int:
        """At how many endpoints something answers, open or cold."""
        return sum(slot.answers is not None for slot in self.slots.values())

    @property
    def open(self) -> int:
        """At how many endpoints what answers is open."""
        return sum(slot.served is not None for slot in self.slots.values())

    @property
    def memory_bytes(self) -> int:
        """About what everything that is open takes."""
        return sum(slot.served.memory_bytes for slot in self.slots.values() if slot.served is not None)


def same_rule(one: Endpoint, other: Endpoint) -> bool:
    """Return whether two endpoints answer alike, whichever change of the registry says so."""
    return (one.routes, one.mirror, one.layer) == (other.routes, other.mirror, other.layer)
