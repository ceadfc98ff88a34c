"""What Prometheus sees: few series however many models there are, summed over all worker processes."""

from collections.abc import Collection, Iterable
from typing import Final, Literal

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

from serving.dialect import FeatureUse
from serving.slots import Snapshot
from yarnmill.drift.comparison import VersionDrift
from yarnmill.httpserver.series import render_series
from yarnmill.httpserver.totals import Totals

_LARGEST_LABELS: Final = 100
_MOST_ARMS: Final = 500
"""Versions of models that shared requests with others, since the tier was started, that have labels of their own."""

_MOST_WATCHED: Final = 500
"""Models that have labels of their own, however many came before them, because an alert looks at them."""

_DIFFERENCES: Final = (1e-6, 1e-5, 1e-4, 1e-3, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0, 100.0)
_BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
OTHER: Final = "(other)"
"""What stands for all models, or arms, that have no labels of their own."""

_BUCKETS_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


MirrorOutcome = Literal["answered", "failed", "dropped"]
LogOutcome = Literal["written", "dropped", "failed"]
ProfileOutcome = Literal["counted", "failed", "dropped"]


class _Children(msgspec.Struct, frozen=True):
    """The series of one model, looked up once: ``labels()`` costs more than counting."""

    seconds: Histogram
    rows: Counter


class Metrics:
    """All series of one process.

    The first hundred models have labels of their own, and those that alerts look at; the rest share one, so a
    registry of thousands does not drown Prometheus.
    """

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self._requests = Counter("yarnmill_requests", "Predict requests.", ["model", "status"], registry=registry)
        self._errors = Counter("yarnmill_errors", "Refused or failed requests.", ["kind"], registry=registry)
        self._rows = Counter("yarnmill_rows", "Rows predicted.", ["model"], registry=registry)
        self._seconds = Histogram(
            "yarnmill_request_seconds", "Time to an answer.", ["model"], buckets=_BUCKETS_S, registry=registry
        )
        self._batches = Histogram(
            "yarnmill_batch_rows",
            "Rows of a call of a model whose requests are batched.",
            ["model"],
            buckets=_BATCHES,
            registry=registry,
        )
        self._failed_batches = Counter(
            "yarnmill_failed_batches", "Batches whose requests were asked one by one.", ["model"], registry=registry
        )
        # Of all workers the one that lags behind counts.
        self._loaded = Gauge(
            "yarnmill_models_loaded", "Endpoints that answer.", registry=registry, multiprocess_mode="livemin"
        )
        # Each worker opens models of its own.
        self._open = Gauge(
            "yarnmill_models_open", "Endpoints whose models are open.", registry=registry, multiprocess_mode="livesum"
        )
        self._memory = Gauge(
            "yarnmill_models_memory_bytes",
            "About what the open models take.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._refused = Gauge(
            "yarnmill_models_refused",
            "Endpoints whose wanted version does not load.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._registry_up = Gauge(
            "yarnmill_registry_up", "Whether the registry answers.", registry=registry, multiprocess_mode="livemin"
        )
        self._arms = Counter(
            "yarnmill_arm_requests",
            "Requests of models whose rule names several versions, by the version that answered.",
            ["model", "version", "status"],
            registry=registry,
        )
        self._arm_seconds = Histogram(
            "yarnmill_arm_seconds", "Time to an answer.", ["model", "version"], buckets=_BUCKETS_S, registry=registry
        )
        self._arm_scores = Summary(
            "yarnmill_arm_score", "Mean score of a request.", ["model", "version"], registry=registry
        )
        self._arm_squares = Counter(
            "yarnmill_arm_score_squares", "Squares of these, summed.", ["model", "version"], registry=registry
        )
        self._mirrored = Counter(
            "yarnmill_mirror_requests", "Requests copied to a mirror.", ["model", "outcome"], registry=registry
        )
        self._mirror_seconds = Histogram(
            "yarnmill_mirror_seconds", "Time to a mirror's answer.", ["model"], buckets=_BUCKETS_S, registry=registry
        )
        self._differences = Histogram(
            "yarnmill_mirror_difference",
            "Largest difference between a number that was answered and the mirror's.",
            ["model"],
            buckets=_DIFFERENCES,
            registry=registry,
        )
        self._log_rows = Counter(
            "yarnmill_log_rows", "Rows for the prediction log and its labels.", ["table", "outcome"], registry=registry
        )
        self._log_trouble = Counter(
            "yarnmill_log_failed_writes", "Files of the log that have to be tried again.", ["table"], registry=registry
        )
        self._profiled = Counter(
            "yarnmill_profiled_requests",
            "Requests of models with a reference, by whether their inputs and scores were counted.",
            ["outcome"],
            registry=registry,
        )
        # Each worker sees the counts of all, some a few seconds late: the worst view counts.
        self._drift = Gauge(
            "yarnmill_drift_psi_max",
            "Largest PSI, over what it is by chance, of the inputs and scores of any version that answers.",
            ["model"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._drifted = Gauge(
            "yarnmill_drifted_series",
            "Inputs and scores that have drifted, by the standard rules.",
            ["model"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._features = Counter(
            "yarnmill_feature_lookups",
            "Entities looked up in snapshots of feature tables, by whether anything was known of them.",
            ["table", "outcome"],
            registry=registry,
        )
        self._control_refused = Counter(
            "yarnmill_control_refused",
            "Requests of the control API refused by who asked.",
            ["reason"],
            registry=registry,
        )
        self._known_arms: set[tuple[str, str]] = set()
        self._known_drifts: set[str] = set()
        self._children: dict[str, _Children] = {}
        self._watched: frozenset[str] = frozenset()
        self._counted: dict[tuple[str, int], Counter] = {}
        self._looked_up: dict[str, tuple[Counter, Counter]] = {}

    def watch(self, models: Iterable[str]) -> None:
        """Count these models under labels of their own from now on."""
        self._watched = frozenset(sorted(models)[:_MOST_WATCHED])

    def count_answer(self, model: str, rows: int, seconds: float) -> None:
        """Count a prediction."""
        label = self._label(model)
        children = self._children[label]
        children.seconds.observe(seconds)
        children.rows.inc(rows)
        self._count_request(label, 200)

    def count_refusal(self, model: str | None, status: int, kind: str) -> None:
        """Count a request without a prediction; ``model`` is None unless it is deployed here."""
        self._errors.labels(kind).inc()
        self._count_request(OTHER if model is None else self._label(model), status)

    def count_arm_answer(self, model: str, version: int, seconds: float, score: float | None) -> None:
        """Count a prediction of an experiment; ``score`` is None if it has none."""
        arm = self._arm(model, version)
        self._arms.labels(*arm, "200").inc()
        self._arm_seconds.labels(*arm).observe(seconds)
        if score is not None:
            self._arm_scores.labels(*arm).observe(score)
            self._arm_squares.labels(*arm).inc(score * score)

    def count_arm_refusal(self, model: str, version: int, status: int) -> None:
        """Count a request of an experiment that got no prediction."""
        self._arms.labels(*self._arm(model, version), str(status)).inc()

    def count_batch(self, model: str, rows: int) -> None:
        """Count a call of a model whose requests are batched."""
        self._batches.labels(self._label(model)).observe(rows)

    def count_failed_batch(self, model: str) -> None:
        """Count a call for several requests that failed."""
        self._failed_batches.labels(self._label(model)).inc()

    def count_mirror(
        self, model: str, outcome: MirrorOutcome, seconds: float | None = None, difference: float | None = None
    ) -> None:
        """Count a copied request: how it ended, how long it took, by how much its answer differs."""
        label = self._label(model)
        self._mirrored.labels(label, outcome).inc()
        if seconds is not None:
            self._mirror_seconds.labels(label).observe(seconds)
        if difference is not None:
            self._differences.labels(label).observe(difference)

    def count_features(self, uses: Iterable[FeatureUse]) -> None:
        """Count the entities that a request's transformer looked up."""
        for one in uses:
            label = self._label(one.table)
            children = self._looked_up.get(label)
            if children is None:
                known, unknown = (self._features.labels(label, outcome) for outcome in ("known", "unknown"))
                children = self._looked_up[label] = known, unknown
            children[0].inc(one.known)
            children[1].inc(one.unknown)

    def count_log(self, table: str, outcome: LogOutcome, rows: int) -> None:
        """Count rows for a table of the prediction log: how they ended."""
        if rows:
            self._log_rows.labels(table, outcome).inc(rows)

    def count_log_trouble(self, table: str) -> None:
        """Count a file of the prediction log that could not be written."""
        self._log_trouble.labels(table).inc()

    def count_profiled(self, requests: int, outcome: ProfileOutcome) -> None:
        """Count requests whose inputs and scores were, or were not, counted."""
        self._profiled.labels(outcome).inc(requests)

    def show_drift(self, drifts: Iterable[tuple[str, VersionDrift]]) -> None:
        """Set the gauges of drift from every version that was asked lately, each with its model."""
        largest: dict[str, tuple[float, int]] = dict.fromkeys(self._known_drifts, (0.0, 0))
        for model, drift in drifts:
            label = self._label(model)
            psi, drifted = largest.get(label, (0.0, 0))
            now = sum(one.verdict == "drifted" for one in drift.series)
            largest[label] = max(psi, drift.worst or 0.0), max(drifted, now)
        self._known_drifts.update(largest)
        for label, (psi, drifted) in largest.items():
            self._drift.labels(label).set(psi)
            self._drifted.labels(label).set(drifted)

    def count_control_refusal(self, reason: str) -> None:
        """Count a request of the control API that was refused for who sent it, or for who did not say."""
        self._control_refused.labels(reason).inc()

    def show_models(self, snapshot: Snapshot) -> None:
        """Set the gauges from the table's state."""
        self._loaded.set(snapshot.answering)
        self._open.set(snapshot.open)
        self._memory.set(snapshot.memory_bytes)
        self._refused.set(sum(bool(slot.failure) for slot in snapshot.slots.values()))
        self._registry_up.set(not snapshot.trouble)

    def totals(self, names: Collection[str]) -> Totals:
        """Return what reads some samples over all workers, again and again."""
        return Totals(self._registry, names)

    def render(self) -> bytes:
        """Return all series as text, over all workers if there are several."""
        return render_series(self._registry)

    def _arm(self, model: str, version: int) -> tuple[str, str]:
        arm = (model, str(version))
        if arm in self._known_arms:
            return arm
        if len(self._known_arms) >= _MOST_ARMS:
            return OTHER, OTHER
        self._known_arms.add(arm)
        return arm

    def _label(self, model: str) -> str:
        if model in self._children:
            return model
        label = model if len(self._children) < _LARGEST_LABELS or model in self._watched else OTHER
        if label not in self._children:
            self._children[label] = _Children(seconds=self._seconds.labels(label), rows=self._rows.labels(label))
        return label

    def _count_request(self, label: str, status: int) -> None:
        child = self._counted.get((label, status))
        if child is None:
            child = self._counted[label, status] = self._requests.labels(label, str(status))
        child.inc()
