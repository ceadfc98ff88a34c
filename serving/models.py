"""The models that answer: one immutable snapshot, replaced whole, so that no request sees half a deployment."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from serving.arms import Arms
from serving.decoding import SignatureDecoder
from serving.refusals import ModelUnavailableError, UnknownModelError
from serving.source import Endpoint, Source
from yarnmill.errors import YarnMillError
from yarnmill.flavours.open import open_predictor
from yarnmill.flavours.predictor import Predictor
from yarnmill.registry.records import Route

_LONGEST_PAUSE_S: Final = 30.0
_log = logging.getLogger(__name__)


class ServedModel(msgspec.Struct, frozen=True):
    """An opened version of a model with its compiled decoder."""

    model: str
    version: int
    bundle_id: str
    predictor: Predictor
    decoder: SignatureDecoder


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

    def choose(self, unit: str | None) -> ServedModel:
        """Return the version that answers for a unit; without one, any of them by its share."""
        return self.versions[self.arms.choose(unit)]


class Slot(msgspec.Struct, frozen=True):
    """One endpoint: what the registry wants there, what answers, and why that is not the same.

    A rule answers as a whole, once every version that it names is open: ``served`` is None before the first one does.
    A version that cannot be opened leaves the rule before answering; ``failure`` says why, and it is tried again at
    ``retry_at`` (monotonic seconds). ``opened`` are the versions of the wanted rule that wait for the others.
    """

    wanted: Endpoint
    served: Answering | None = None
    opened: tuple[ServedModel, ...] = ()
    failure: str = ""
    attempts: int = 0
    retry_at: float = 0.0

    @property
    def is_current(self) -> bool:
        """Whether the wanted rule answers."""
        return self.served is not None and _same_rule(self.served.endpoint, self.wanted)


class Snapshot(msgspec.Struct, frozen=True):
    """All endpoints at one moment. ``settled``: every one was tried once; ``trouble``: why the registry is silent."""

    slots: Mapping[str, Slot] = {}
    settled: bool = False
    trouble: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether something answers at every endpoint."""
        return self.settled and all(slot.served is not None for slot in self.slots.values())


class ModelTable:
    """Holds what the registry wants deployed, opened and ready; follows it by :meth:`refresh`.

    Lookups take no lock: they read one reference. Only one thread refreshes.

    Parameters
    ----------
    source
        Where endpoints and bundles come from.
    clock
        Monotonic seconds.
    pause_s
        Pause before a failed version is tried again; doubles up to half a minute.
    allow_code
        Whether code that bundles bring may be run.
    """

    def __init__(
        self, source: Source, clock: Callable[[], float], pause_s: float = 1.0, *, allow_code: bool = False
    ) -> None:
        self._source = source
        self._clock = clock
        self._pause_s = pause_s
        self._allow_code = allow_code
        self._generation: int | None = None
        self._snapshot = Snapshot()
        self._lock = threading.Lock()

    @property
    def snapshot(self) -> Snapshot:
        """The state of this moment; it never changes."""
        return self._snapshot

    def answering(self, model: str) -> Answering:
        """Return what answers for a model; errors as :meth:`find`."""
        slot = self._snapshot.slots.get(model)
        if slot is not None and slot.served is not None:
            return slot.served
        raise self._refusal(model, None, slot)

    def find(self, model: str, version: int | None = None) -> ServedModel:
        """Return a version of a model that answers, or the one with the largest share.

        Raises
        ------
        UnknownModelError
            If no such model, or not this version of it, is deployed.
        ModelUnavailableError
            If it is deployed and cannot answer: it is loading, or was refused.
        """
        slot = self._snapshot.slots.get(model)
        if slot is not None and slot.served is not None:
            served = slot.served.main if version is None else slot.served.versions.get(version)
            if served is not None:
                return served
        raise self._refusal(model, version, slot)

    def _refusal(self, model: str, version: int | None, slot: Slot | None) -> UnknownModelError | ModelUnavailableError:
        if slot is None:
            if not self._snapshot.settled:
                return ModelUnavailableError(
                    f"model {model}: the endpoints are still being loaded", expected="a moment's patience"
                )
            return UnknownModelError(
                f"model {model}: not deployed here", mend=f"yarnmill models deploy {model} VERSION"
            )
        wanted = [route.version for route in slot.wanted.routes]
        if version is None or version in wanted:
            reason = slot.failure or "still loading"
            return ModelUnavailableError(f"model {model} version {version or slot.wanted.main.version}: {reason}")
        numbers = " or ".join(str(number) for number in wanted)
        return UnknownModelError(f"model {model}: version {version} is not deployed", expected=f"version {numbers}")

    def refresh(self) -> None:
        """Bring the table to what the registry says now; never raises, the last good state stays."""
        with self._lock:
            wanted = self._ask_registry()
            if wanted is not None:
                self._adopt(wanted)
            for slot in list(self._snapshot.slots.values()):
                if not slot.is_current and slot.retry_at <= self._clock():
                    self._put(self._loaded(slot))
            if not self._snapshot.settled and (self._snapshot.slots or not self._snapshot.trouble):
                self._snapshot = msgspec.structs.replace(self._snapshot, settled=True)

    def _ask_registry(self) -> Sequence[Endpoint] | None:
        """Return the endpoints if they changed, or at the start the remembered ones if the registry is silent."""
        try:
            generation = self._source.generation()
            changed = generation != self._generation
            # The number is read first: a deployment between the two calls is seen by the next refresh.
            endpoints = self._source.endpoints() if changed else None
        except Exception as problem:  # noqa: BLE001  # whatever a driver raises, the last good state serves
            return self._without_registry(problem)
        self._generation = generation
        self._report_trouble("")
        return endpoints

    def _without_registry(self, problem: Exception) -> Sequence[Endpoint] | None:
        self._report_trouble(f"the registry does not answer: {one_line(problem)}")
        if self._snapshot.slots:
            return None
        try:
            return self._source.last_endpoints() or None
        except (OSError, YarnMillError) as unreadable:
            _log.warning("the remembered endpoints cannot be read: %s", one_line(unreadable))
            return None

    def _report_trouble(self, trouble: str) -> None:
        if trouble != self._snapshot.trouble:
            if trouble:
                _log.error("%s; the last good state keeps serving", trouble)
            self._snapshot = msgspec.structs.replace(self._snapshot, trouble=trouble)

    def _adopt(self, wanted: Sequence[Endpoint]) -> None:
        before = self._snapshot.slots
        slots = {endpoint.model: _adopted(before.get(endpoint.model), endpoint) for endpoint in wanted}
        self._snapshot = msgspec.structs.replace(self._snapshot, slots=slots)

    def _put(self, slot: Slot) -> None:
        slots = {**self._snapshot.slots, slot.wanted.model: slot}
        self._snapshot = msgspec.structs.replace(self._snapshot, slots=slots)

    def _loaded(self, slot: Slot) -> Slot:
        endpoint = slot.wanted
        there = (*slot.opened, *(slot.served.versions.values() if slot.served else ()))
        known = {(served.version, served.bundle_id): served for served in there}
        opened, failures = [], []
        for route in endpoint.routes:
            try:
                opened.append(known.get((route.version, route.bundle_id)) or self._opened(endpoint.model, route))
            except Exception as problem:  # noqa: BLE001  # one broken model must not hurt its neighbours
                failures.append(one_line(problem))
                if failures[-1] not in slot.failure:
                    _log.error("model %s version %d refused: %s", endpoint.model, route.version, failures[-1])
        if not failures:
            return Slot(wanted=endpoint, served=_answering(endpoint, opened))
        pause = min(self._pause_s * 2**slot.attempts, _LONGEST_PAUSE_S)
        return msgspec.structs.replace(
            slot,
            opened=tuple(opened),
            failure="; ".join(failures),
            attempts=min(slot.attempts + 1, 16),
            retry_at=self._clock() + pause,
        )

    def _opened(self, model: str, route: Route) -> ServedModel:
        with self._source.fetch(route) as bundle:
            predictor = open_predictor(bundle.folder, allow_code=self._allow_code)
        _log.info("model %s version %d answers", model, route.version)
        return ServedModel(
            model=model,
            version=route.version,
            bundle_id=route.bundle_id,
            predictor=predictor,
            decoder=SignatureDecoder(predictor.signature),
        )


def _answering(endpoint: Endpoint, opened: Sequence[ServedModel]) -> Answering:
    versions = {served.version: served for served in opened}
    shares = {route.version: round(route.weight * 100) for route in endpoint.arms}
    mirror = None if endpoint.mirror is None else versions[endpoint.mirror]
    return Answering(
        endpoint=endpoint,
        versions=versions,
        arms=Arms(endpoint.model, shares),
        main=versions[endpoint.main.version],
        mirror=mirror,
    )


def _adopted(before: Slot | None, wanted: Endpoint) -> Slot:
    if before is None:
        return Slot(wanted=wanted)
    if before.served is not None and _same_rule(before.served.endpoint, wanted):
        return Slot(wanted=wanted, served=before.served)
    if before.wanted == wanted:
        return before
    return Slot(wanted=wanted, served=before.served, opened=before.opened)


def _same_rule(one: Endpoint, other: Endpoint) -> bool:
    return (one.routes, one.mirror) == (other.routes, other.mirror)


def one_line(problem: BaseException) -> str:
    """Return an error's text on one line, with its class if it is none of ours."""
    text = "; ".join(line.strip() for line in str(problem).splitlines() if line.strip())
    return text if isinstance(problem, YarnMillError) else f"{type(problem).__name__}: {text}"
