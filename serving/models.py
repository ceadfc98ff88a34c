"""The models that answer: one immutable snapshot, replaced whole, so that no request sees half a deployment.

More models may be deployed than there is memory for. What was asked for longest ago is closed then, and opened again by
the request that next asks for it: such a model is *cold*, and its request waits for as long as opening takes.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from serving.arms import Arms
from serving.decoding import SignatureDecoder
from serving.journal import log_of_version
from serving.refusals import ModelUnavailableError, UnknownModelError
from serving.slots import Answering, ServedModel, Slot, Snapshot, same_rule
from serving.source import Endpoint, Source
from yarnmill.bundle.manifest import TRANSFORMER_NAME, Signature
from yarnmill.drift.reference import REFERENCE_NAME, Reference, parse_reference
from yarnmill.errors import BadDataError, YarnMillError
from yarnmill.flavours.open import memory_of, open_predictor
from yarnmill.flavours.predictor import Predictor
from yarnmill.registry.records import Route

if TYPE_CHECKING:
    from serving.transformer.lookups import Snapshot as FeatureSnapshot
    from serving.transformer.transformer import Transformer

_LONGEST_PAUSE_S: Final = 30.0
_log = logging.getLogger(__name__)


class ModelTable:
    """Holds what the registry wants deployed, opened and ready; follows it by :meth:`refresh`.

    Lookups of what is open take no lock: they read one reference. Only one thread refreshes; any may open what is cold.

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
    training_python
        Python of the training environment, which answers for native forms of TensorFlow and PyTorch.
    limit_bytes
        About how much open models may take together; at least one is open, however large. None: all are.
    prepare
        Gets a model's name and what one of its versions predicts by, once it is open; returns what answers with it.
    """

    def __init__(  # noqa: PLR0913  # each by name
        self,
        source: Source,
        clock: Callable[[], float],
        pause_s: float = 1.0,
        *,
        allow_code: bool = False,
        training_python: str = "",
        limit_bytes: int | None = None,
        prepare: Callable[[str, Predictor], Predictor] = lambda _model, predictor: predictor,
    ) -> None:
        self._source = source
        self._clock = clock
        self._pause_s = pause_s
        self._allow_code = allow_code
        self._training_python = training_python
        self._limit_bytes = limit_bytes
        self._prepare = prepare
        self._generation: int | None = None
        self._snapshot = Snapshot()
        self._asked: dict[str, float] = {}
        self._refreshing = threading.Lock()
        self._changing = threading.Lock()
        self._opening: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @property
    def snapshot(self) -> Snapshot:
        """The state of this moment; it never changes."""
        return self._snapshot

    def answering(self, model: str) -> Answering:
        """Return what answers for a model, opened if it is cold; errors as :meth:`find`."""
        slot = self._snapshot.slots.get(model)
        if slot is not None and slot.cold is not None:
            slot = self._warm(model)
        if slot is not None and slot.served is not None:
            self._asked[model] = self._clock()
            return slot.served
        raise self._refusal(model, None, slot)

    def find(self, model: str, version: int | None = None) -> ServedModel:
        """Return a version of a model that answers, or the one with the largest share; opened if it is cold.

        Raises
        ------
        UnknownModelError
            If no such model, or not this version of it, is deployed.
        ModelUnavailableError
            If it is deployed and cannot answer: it is loading, or was refused.
        """
        slot = self._snapshot.slots.get(model)
        if version is not None and slot is not None and version not in slot.versions:
            raise self._refusal(model, version, slot)
        answering = self.answering(model)
        served = answering.main if version is None else answering.versions.get(version)
        if served is None:
            raise self._refusal(model, version, self._snapshot.slots.get(model))
        return served

    def labelled(self, model: str, label: str) -> ServedModel:
        """Return the version that answers under a label; errors as :meth:`find`."""
        served = self.answering(model).labelled(label)
        if served is None:
            raise UnknownModelError(
                f"model {model}: no version has the label {label!r}",
                expected="stable (the largest share), or canary (the next one)",
            )
        return served

    def check_known(self, model: str) -> None:
        """Raise as :meth:`find` unless a model is deployed; opens nothing."""
        if model not in self._snapshot.slots:
            raise self._refusal(model, None, None)

    def close(self, model: str) -> None:
        """Give back the memory of a model: it is cold until somebody asks for it."""
        slot = self._snapshot.slots.get(model)
        if slot is not None and slot.served is not None:
            self._replace(slot, _cooled(slot))

    def refresh(self) -> None:
        """Bring the table to what the registry says now; never raises, the last good state stays."""
        with self._refreshing:
            wanted = self._ask_registry()
            if wanted is not None:
                self._adopt(wanted)
            is_full = False
            for slot in list(self._snapshot.slots.values()):
                if slot.is_current or slot.retry_at > self._clock():
                    continue
                is_new = slot.answers is None and slot.attempts == 0
                if is_new and (is_full := is_full or self._is_full()):
                    self._replace(slot, Slot(wanted=slot.wanted, cold=slot.wanted))
                else:
                    self._bring(slot)
            if not self._snapshot.settled and (self._snapshot.slots or not self._snapshot.trouble):
                self._change(settled=True)
                snapshot = self._snapshot
                _log.info("%d of %d models answer, %d are open", snapshot.answering, len(snapshot.slots), snapshot.open)

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
            self._change(trouble=trouble)

    def _adopt(self, wanted: Sequence[Endpoint]) -> None:
        with self._changing:
            before = self._snapshot.slots
            slots = {endpoint.model: _adopted(before.get(endpoint.model), endpoint) for endpoint in wanted}
            self._snapshot = msgspec.structs.replace(self._snapshot, slots=slots)

    def _change(self, **values: object) -> None:
        with self._changing:
            self._snapshot = msgspec.structs.replace(self._snapshot, **values)

    def _replace(self, before: Slot, after: Slot) -> bool:
        """Put a slot in another's place, and close what there is no room for; return whether it was still there."""
        model = before.wanted.model
        with self._changing:
            if self._snapshot.slots.get(model) is not before:
                return False
            slots = {**self._snapshot.slots, model: after}
            if after.served is not None:
                self._make_room(slots, model)
            self._snapshot = msgspec.structs.replace(self._snapshot, slots=slots)
            return True

    def _make_room(self, slots: dict[str, Slot], but_for: str) -> None:
        if self._limit_bytes is None:
            return
        taken = {model: slot.served.memory_bytes for model, slot in slots.items() if slot.served is not None}
        too_much = sum(taken.values()) - self._limit_bytes
        for model in sorted(taken.keys() - {but_for}, key=lambda one: self._asked.get(one, 0.0)):
            if too_much <= 0:
                return
            slots[model] = _cooled(slots[model])
            too_much -= taken[model]

    def _is_full(self) -> bool:
        """Return whether one more model, as large as those that are open, would be too much."""
        snapshot = self._snapshot
        if self._limit_bytes is None or not snapshot.open:
            return False
        return snapshot.memory_bytes * (snapshot.open + 1) > self._limit_bytes * snapshot.open

    def _bring(self, slot: Slot) -> None:
        """Open the wanted rule of a slot."""
        opened, failure = self._opened(slot, slot.wanted)
        if failure:
            self._replace(slot, self._failed(slot, opened, failure))
            return
        self._replace(slot, Slot(wanted=slot.wanted, served=_answering(slot.wanted, opened)))
        if self._snapshot.settled:  # before, there may be thousands
            for route in slot.wanted.routes:
                log_of_version(_log, logging.INFO, slot.wanted.model, route.version, "answers")

    def _warm(self, model: str) -> Slot | None:
        """Open what is cold, once however many ask; return the slot as it is then."""
        with self._opening[model]:
            while True:
                slot = self._snapshot.slots.get(model)
                if slot is None or slot.cold is None or slot.cold_retry_at > self._clock():
                    return slot
                opened, failure = self._opened(slot, slot.cold)
                if failure:
                    failed = self._failed(slot, slot.opened, failure)
                    again = failed.retry_at if slot.is_current else slot.retry_at
                    self._replace(slot, msgspec.structs.replace(failed, retry_at=again, cold_retry_at=failed.retry_at))
                    return self._snapshot.slots.get(model)
                after = msgspec.structs.replace(slot, served=_answering(slot.cold, opened), cold=None)
                if slot.is_current:
                    after = Slot(wanted=after.wanted, served=after.served)
                self._asked[model] = self._clock()
                if self._replace(slot, after):
                    return after

    def _opened(self, slot: Slot, endpoint: Endpoint) -> tuple[tuple[ServedModel, ...], str]:
        """Return those versions of a rule that could be opened, and why the others could not."""
        there = (*slot.opened, *(slot.served.versions.values() if slot.served else ()))
        known = {(served.version, served.bundle_id): served for served in there}
        opened, failures = [], []
        for route in endpoint.routes:
            try:
                opened.append(known.get((route.version, route.bundle_id)) or self._open(endpoint.model, route))
            except Exception as problem:  # noqa: BLE001  # one broken model must not hurt its neighbours
                failures.append(one_line(problem))
                if failures[-1] not in slot.failure:
                    log_of_version(_log, logging.ERROR, endpoint.model, route.version, f"refused: {failures[-1]}")
        return tuple(opened), "; ".join(failures)

    def _open(self, model: str, route: Route) -> ServedModel:
        with self._source.fetch(route) as bundle:
            predictor = open_predictor(
                bundle.folder, allow_code=self._allow_code, training_python=self._training_python
            )
            memory_bytes = memory_of(bundle.folder)
            reference = _reference(bundle.folder, predictor.signature)
            transformer = self._transformer(bundle.folder, predictor.signature)
        return ServedModel(
            model=model,
            version=route.version,
            bundle_id=route.bundle_id,
            predictor=self._prepare(model, predictor),
            decoder=SignatureDecoder(predictor.signature, transformer),
            memory_bytes=memory_bytes,
            reference=reference,
        )

    def _transformer(self, folder: Path, signature: Signature) -> "Transformer | None":
        if not (folder / TRANSFORMER_NAME).is_file():
            return None
        # Whoever has no transformer need not load it, nor what it needs.
        from serving.transformer.bundled import open_transformer  # noqa: PLC0415

        return open_transformer(folder, signature, self.features)

    def features(self, table: str) -> "FeatureSnapshot":
        """Return the snapshot of a feature table that answers here; ModelUnavailableError if none does."""
        from serving.transformer.deployed import deployed_snapshot  # noqa: PLC0415  # likewise

        return deployed_snapshot(table, self.answering)

    def _failed(self, slot: Slot, opened: tuple[ServedModel, ...], failure: str) -> Slot:
        pause = min(self._pause_s * 2**slot.attempts, _LONGEST_PAUSE_S)
        return msgspec.structs.replace(
            slot,
            opened=opened,
            failure=failure,
            attempts=min(slot.attempts + 1, 16),
            retry_at=self._clock() + pause,
        )


def _reference(folder: Path, signature: Signature) -> Reference | None:
    path = folder / REFERENCE_NAME
    try:
        return parse_reference(path.read_bytes(), signature, source=str(path)) if path.is_file() else None
    except BadDataError as problem:  # of a later version of the platform: no reason not to answer
        _log.warning("no drift is measured: %s", one_line(problem))
        return None


def _cooled(slot: Slot) -> Slot:
    return msgspec.structs.replace(slot, served=None, cold=slot.answers, opened=())


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
    if before.answers is not None and same_rule(before.answers, wanted):
        # A rule that is cold and could not be opened keeps the reason.
        return msgspec.structs.replace(before, wanted=wanted) if before.cold else Slot(wanted, before.served)
    if before.wanted == wanted:
        return before
    return Slot(wanted=wanted, served=before.served, cold=before.cold, opened=before.opened)


def one_line(problem: BaseException) -> str:
    """Return an error's text on one line, with its class if it is none of ours."""
    text = "; ".join(line.strip() for line in str(problem).splitlines() if line.strip())
    return text if isinstance(problem, YarnMillError) else f"{type(problem).__name__}: {text}"
