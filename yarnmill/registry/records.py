"""What the registry takes and gives."""

import datetime as dt
import math
import re
from typing import Annotated, Final, Literal

import msgspec

from yarnmill.bundle.manifest import NATIVE_FLAVOURS, Flavour, said_form
from yarnmill.records import Record
from yarnmill.registry.inference import InferenceSchema

_LAYER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

WHOLE: Final = 10_000
"""All traffic, in hundredths of a percent."""

EndpointStatus = Literal["pending", "running", "serving", "failed", "terminated"]
DeploymentStatus = Literal["pending", "running", "failed"]
JobStatus = Literal["pending", "running", "completed", "failed", "terminated"]
AuditValue = str | int | float | bool | None


class Candidate(Record, frozen=True, kw_only=True):
    """A stored bundle that asks to become a version of a model.

    ``inputs``, ``code_version``, ``libraries`` and ``parent`` (a bundle's id) are its lineage; ``blobs`` are the ids of
    all that it consists of in the blob store, its manifest included: what collecting garbage must leave alone.
    """

    model: str
    bundle_id: str
    blobs_url: str
    flavour: Flavour
    run_id: str
    application_id: str = ""
    metrics: dict[str, float] = {}
    project: str = "default"
    labels: dict[str, str] = {}
    inputs: tuple[str, ...] = ()
    code_version: str = ""
    libraries: dict[str, str] = {}
    parent: str | None = None
    blobs: tuple[str, ...] = ()


class Project(Record, frozen=True, kw_only=True):
    """Models that belong to one team."""

    id: int
    name: str
    team: str
    labels: dict[str, str]
    administrators: tuple[str, ...]
    readers: tuple[str, ...]
    revision: int
    created_at: dt.datetime


class Environment(Record, frozen=True, kw_only=True):
    """Where versions answer: ``target`` is what its serving tier is reached by."""

    id: int
    name: str
    target: str
    is_default: bool
    revision: int
    created_at: dt.datetime


class Model(Record, frozen=True, kw_only=True):
    """A model: a name under which versions follow each other, and what answers in the default environment, if any.

    ``flavour`` is that of the newest version.
    """

    id: int
    name: str
    project: str
    flavour: Flavour
    versions: int
    deployed: str
    created_at: dt.datetime


class ModelVersion(Record, frozen=True, kw_only=True):
    """Version 1, 2, 3 … of a model: one bundle.

    ``tracking_run_id`` is its MLflow run, once there is one. ``parent`` is the version it was made from, as
    ``model/version``. ``revision`` counts changes of its labels, from 1. A retired version is only a record: its
    bundle is gone or going.
    """

    model: str
    version: int
    bundle_id: str
    blobs_url: str
    flavour: Flavour
    metrics: dict[str, float]
    run_id: str
    application_id: str
    created_at: dt.datetime
    created_by: str
    tracking_run_id: str | None
    labels: dict[str, str]
    inputs: tuple[str, ...]
    code_version: str
    libraries: dict[str, str]
    parent: str | None
    revision: int
    retired_at: dt.datetime | None

    @property
    def name(self) -> str:
        """The version's name in commands: ``model/version``."""
        return f"{self.model}/{self.version}"

    @property
    def form(self) -> str:
        """The flavour, and how it answers where there are several ways: ``torch, as ONNX`` or ``torch, natively``."""
        if "onnxruntime" in self.libraries:
            return said_form(self.flavour, "onnx")
        is_native = any(flavour in self.libraries for flavour in NATIVE_FLAVOURS)
        return said_form(self.flavour, "native" if is_native else self.flavour)


class Layer(Record, frozen=True, kw_only=True):
    """The units that take part in an experiment: those from ``start`` up to ``stop`` percent of a layer.

    A unit has one place in a layer, whichever model is asked, and one in each other layer that has nothing to do with
    it. So experiments on parts of one layer share no unit, and those in different layers know nothing of each other.
    """

    name: str
    start: float
    stop: float

    def __post_init__(self) -> None:
        """Refuse what is no part of a layer."""
        if not _LAYER.fullmatch(self.name):
            raise ValueError(f"layer {self.name!r}: letters, digits, dots, dashes and underscores name one")
        if not 0 <= self.start < self.stop <= 100:
            raise ValueError(f"layer {self.name}: {self.start:g} to {self.stop:g} is no part of 0 to 100 percent")
        for end in (self.start, self.stop):
            if abs(round(end * 100) - end * 100) > 1e-6:
                raise ValueError(f"layer {self.name}: {end} has more than two decimals")

    @property
    def bounds(self) -> tuple[int, int]:
        """Start and stop in hundredths of a percent."""
        return round(self.start * 100), round(self.stop * 100)

    def overlaps(self, other: "Layer") -> bool:
        """Return whether a unit may be in both."""
        return self.name == other.name and max(self.start, other.start) < min(self.stop, other.stop)

    def __str__(self) -> str:
        """Return it as commands take it."""
        return f"{self.name}:{self.start:g}-{self.stop:g}"


class Destination(Record, frozen=True, kw_only=True):
    """A version and its share of the traffic, in percent with at most two decimals."""

    version: int
    weight: float

    def __post_init__(self) -> None:
        """Refuse a weight that is none."""
        if not (math.isfinite(self.weight) and 0 < self.weight <= 100):
            raise ValueError(f"weight {self.weight} is no share in percent")
        if abs(self.hundredths - self.weight * 100) > 1e-6:
            raise ValueError(f"weight {self.weight} has more than two decimals")

    @property
    def hundredths(self) -> int:
        """The weight in hundredths of a percent."""
        return round(self.weight * 100)


class Rule(Record, frozen=True, kw_only=True):
    """Which versions of a model answer, at which shares; ``mirror`` gets a copy of every request, its answer unused.

    With a ``layer`` the shares are of the units that take part; the version with the largest share answers the others,
    and requests that name no unit. A rule without a destination answers nothing: the endpoint was stopped.
    """

    destinations: tuple[Destination, ...]
    mirror: int | None = None
    layer: Layer | None = None

    def __post_init__(self) -> None:
        """Refuse shares that are not a whole, and a version named twice."""
        total = sum(one.hundredths for one in self.destinations)
        if total != WHOLE and self.destinations:
            raise ValueError(f"the weights add up to {total / 100:g} %, not 100 %")
        if self.mirror is not None and not self.destinations:
            raise ValueError("a mirror without a destination")
        if self.layer is not None and len(self.destinations) < 2:
            raise ValueError("a layer without an experiment: name two versions or more")
        if len(set(self.versions)) < len(self.versions):
            raise ValueError(f"a version is named twice: {', '.join(map(str, self.versions))}")

    @property
    def versions(self) -> tuple[int, ...]:
        """Every version that the rule names."""
        return (*(one.version for one in self.destinations), *(() if self.mirror is None else (self.mirror,)))

    @classmethod
    def only(cls, version: int) -> "Rule":
        """Return the rule that one version answers everything."""
        return cls(destinations=(Destination(version=version, weight=100.0),))

    def __str__(self) -> str:
        """Return the rule in one line, for tables and the audit."""
        shares = ", ".join(f"{one.version}: {one.weight:g} %" for one in self.destinations) or "nothing"
        more = "" if self.mirror is None else f"; mirrored to {self.mirror}"
        return f"{shares}{more}" if self.layer is None else f"{shares}{more}; in {self.layer}"


class VersionEndpoint(Record, frozen=True, kw_only=True):
    """A version in an environment, and how far it is there."""

    id: int
    model: str
    version: int
    environment: str
    status: EndpointStatus
    message: str
    revision: int
    created_at: dt.datetime
    changed_at: dt.datetime


class Deployment(Record, frozen=True, kw_only=True):
    """One attempt to bring a version into an environment."""

    id: int
    model: str
    version: int
    environment: str
    bundle_id: str
    blobs_url: str
    status: DeploymentStatus
    message: str
    actor: str
    created_at: dt.datetime
    finished_at: dt.datetime | None


class Route(Record, frozen=True, kw_only=True):
    """A version that a rule names, with its bundle; the mirror has the weight 0."""

    version: int
    weight: float
    bundle_id: str
    blobs_url: str


class ModelEndpoint(Record, frozen=True, kw_only=True):
    """Which versions of a model answer in an environment. ``revision`` counts its changes from 1."""

    id: int
    model: str
    environment: str
    rule: Rule
    routes: tuple[Route, ...]
    revision: int
    changed_at: dt.datetime


class Routing(Record, frozen=True, kw_only=True):
    """A rule that an endpoint had."""

    model: str
    environment: str
    rule: Rule
    revision: int
    at: dt.datetime
    actor: str


class PredictionJob(Record, frozen=True, kw_only=True):
    """A batch prediction with a version."""

    id: int
    model: str
    version: int
    name: str
    configuration: dict[str, str]
    status: JobStatus
    message: str
    application_id: str
    revision: int
    created_at: dt.datetime
    created_by: str
    finished_at: dt.datetime | None


Metric = Literal[
    "error_rate",
    "latency_p50_s",
    "latency_p90_s",
    "latency_p95_s",
    "latency_p99_s",
    "requests_per_s",
    "drift_psi",
]
"""What of an endpoint an alert looks at; ``error_rate`` is a share of its requests, ``drift_psi`` the largest PSI."""

Severity = Literal["warning", "critical"]


class Condition(Record, frozen=True, kw_only=True):
    """When an alert is raised: a metric of the endpoint beyond a bound for a while; and how grave that is."""

    metric: Metric
    comparison: Literal["above", "below"]
    bound: float
    for_s: Annotated[float, msgspec.Meta(ge=0.0)] = 60.0
    severity: Severity = "warning"


class Alert(Record, frozen=True, kw_only=True):
    """A condition on a model's endpoint in an environment, and who is told."""

    model: str
    environment: str
    name: str
    condition: Condition
    receiver: str
    enabled: bool
    revision: int
    created_at: dt.datetime
    changed_at: dt.datetime


class ModelSchema(Record, frozen=True, kw_only=True):
    """A schema of a model."""

    id: int
    model: str
    spec: InferenceSchema
    revision: int
    created_at: dt.datetime
    changed_at: dt.datetime


class AuditEntry(Record, frozen=True, kw_only=True):
    """One change: who did what to which thing, and the thing before and after."""

    at: dt.datetime
    actor: str
    action: str
    subject: str
    before: dict[str, AuditValue]
    after: dict[str, AuditValue]
