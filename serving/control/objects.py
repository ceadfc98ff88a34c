"""Merlin's objects as its clients read them; fields have Merlin's names, and what we do not have is left out."""

import datetime as dt
from typing import Any, Literal

import msgspec

from yarnmill.registry.inference import InferenceSchema
from yarnmill.registry.records import EndpointStatus, JobStatus

ModelType = Literal["xgboost", "tensorflow", "sklearn", "pytorch", "pyfunc", "custom"]
"""Of Merlin's types those that one of our flavours is; its client takes no others than its own."""


class MerlinObject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of them all: a field that is None is not sent."""


class Label(MerlinObject, frozen=True, kw_only=True):
    """A label of a project."""

    key: str
    value: str


class Project(MerlinObject, frozen=True, kw_only=True):
    """Models that belong to one team."""

    id: int
    name: str
    team: str
    administrators: tuple[str, ...]
    readers: tuple[str, ...]
    labels: list[Label]
    created_at: dt.datetime


class ResourceRequest(MerlinObject, frozen=True, kw_only=True):
    """What a version gets: it shares the worker processes of a tier, and the memory of each, with all others."""

    min_replica: int
    max_replica: int
    memory_request: str


class Environment(MerlinObject, frozen=True, kw_only=True):
    """Where versions answer; ``cluster`` is what its tier is reached by."""

    id: int
    name: str
    cluster: str
    is_default: bool
    default_resource_request: ResourceRequest
    created_at: dt.datetime


class Model(MerlinObject, frozen=True, kw_only=True):
    """A model; its type is the flavour of its newest version."""

    id: int
    project_id: int
    name: str
    type: ModelType
    created_at: dt.datetime


class VersionEndpoint(MerlinObject, frozen=True, kw_only=True):
    """A version in an environment; it has a ``url`` while it serves."""

    id: str
    version_id: int
    status: EndpointStatus
    message: str
    environment_name: str
    environment: Environment
    resource_request: ResourceRequest
    created_at: dt.datetime
    updated_at: dt.datetime
    url: str | None = None
    # The two are sent always: clients send them back, and take other defaults.
    deployment_mode: Literal["raw_deployment"]
    protocol: Literal["HTTP_JSON"]


class Version(MerlinObject, frozen=True, kw_only=True):
    """Version 1, 2, 3 … of a model."""

    id: int
    model_id: int
    endpoints: list[VersionEndpoint]
    labels: dict[str, str]
    properties: dict[str, Any]
    created_at: dt.datetime
    mlflow_run_id: str | None = None


class Destination(MerlinObject, frozen=True, kw_only=True):
    """A version and its share in whole percent: Merlin knows no others, the registry does."""

    version_endpoint_id: str
    version_endpoint: VersionEndpoint
    weight: int


class Rule(MerlinObject, frozen=True, kw_only=True):
    """Which versions answer; ``mirror`` gets a copy of every request."""

    destinations: list[Destination]
    mirror: VersionEndpoint | None = None


class ModelEndpoint(MerlinObject, frozen=True, kw_only=True):
    """What answers for a model in an environment. ``updated_at`` sent back is a precondition of a change."""

    id: int
    model_id: int
    model: Model
    status: EndpointStatus
    rule: Rule
    environment_name: str
    environment: Environment
    protocol: Literal["HTTP_JSON"]
    updated_at: dt.datetime
    url: str | None = None


class PredictionJob(MerlinObject, frozen=True, kw_only=True):
    """A prediction in a batch; ``config`` says where its rows and its answers are."""

    id: int
    name: str
    version_id: int
    model_id: int
    project_id: int
    config: dict[str, str]
    status: JobStatus
    error: str
    created_at: dt.datetime
    updated_at: dt.datetime


class ModelSchema(MerlinObject, frozen=True, kw_only=True):
    """Which columns are a model's features, its answers, and what came true."""

    id: int
    model_id: int
    spec: InferenceSchema


ComponentType = Literal["model", "batch_job_driver"]


class Container(MerlinObject, frozen=True, kw_only=True):
    """A source of log lines: what ``/logs`` has them by."""

    name: str
    pod_name: str
    component_type: ComponentType
    namespace: str
    cluster: str
    version_endpoint_id: str | None = None


class Paging(MerlinObject, frozen=True, kw_only=True):
    """Which page of how many, and how many entries there are."""

    total: int
    page: int
    pages: int


class PredictionJobs(MerlinObject, frozen=True, kw_only=True):
    """A page of prediction jobs."""

    results: list[PredictionJob]
    paging: Paging


AlertMetric = Literal["throughput", "latency", "error_rate"]


class AlertCondition(MerlinObject, frozen=True, kw_only=True):
    """When an alert is raised; ``target`` is in requests a second, percent or milliseconds."""

    enabled: bool
    metric_type: AlertMetric
    severity: Literal["WARNING", "CRITICAL"]
    target: float
    unit: str
    percentile: float | None = None


class Alert(MerlinObject, frozen=True, kw_only=True):
    """The alerts of a model endpoint, and who is told."""

    model_id: int
    model_endpoint_id: int
    environment_name: str
    team_name: str
    alert_conditions: list[AlertCondition]
