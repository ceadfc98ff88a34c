"""What the registry takes and gives."""

import datetime as dt

from yarnmill.bundle.manifest import Flavour
from yarnmill.records import Record


class Candidate(Record, frozen=True, kw_only=True):
    """A stored bundle that asks to become a version of a model."""

    model: str
    bundle_id: str
    blobs_url: str
    flavour: Flavour
    run_id: str
    application_id: str = ""
    metrics: dict[str, float] = {}
    project: str = "default"


class Model(Record, frozen=True, kw_only=True):
    """A model: a name under which versions follow each other, and the version that answers, if any."""

    name: str
    project: str
    versions: int
    deployed: int | None
    created_at: dt.datetime


class ModelVersion(Record, frozen=True, kw_only=True):
    """Version 1, 2, 3 … of a model: one bundle. ``tracking_run_id`` is its MLflow run, once there is one."""

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


class Endpoint(Record, frozen=True, kw_only=True):
    """Which version of a model answers. ``revision`` counts its changes from 1: the precondition of the next one."""

    model: str
    version: int
    bundle_id: str
    blobs_url: str
    revision: int
    changed_at: dt.datetime


class AuditEntry(Record, frozen=True, kw_only=True):
    """One change: who did what to which thing, and the thing before and after."""

    at: dt.datetime
    actor: str
    action: str
    subject: str
    before: dict[str, str | int | None]
    after: dict[str, str | int | None]
