"""What the main job leaves behind: ``report.json`` for programs, a table for people."""

import datetime as dt
import os
from pathlib import Path
from typing import Literal

from yarnmill import fs
from yarnmill.cli.options import print_table
from yarnmill.records import Record, canonical_json
from yarnmill.units import render_seconds

StepState = Literal["done", "up to date", "failed"]


class StepRecord(Record, frozen=True, kw_only=True):
    """One step: what it did, whether it had anything to do, how long it took."""

    name: str
    state: StepState
    seconds: float
    detail: str


class AppRecord(Record, frozen=True, kw_only=True):
    """One YARN application; ``final_status`` as the ResourceManager or, later, the run's report says it."""

    name: str
    yarn_application_id: str
    type: str
    final_status: str


class ModelRecord(Record, frozen=True, kw_only=True):
    """One published model; test metrics by the batch scoring job over the whole test split."""

    name: str
    flavour: str
    version: int
    bundle_id: str
    test_auc: float
    test_log_loss: float
    test_auc_per_user: float | None = None
    test_log_loss_per_user: float | None = None


class BaselineRecord(Record, frozen=True, kw_only=True):
    """What a model has to beat, measured on the same rows."""

    name: str
    test_auc: float
    test_log_loss: float
    test_auc_per_user: float | None = None
    test_log_loss_per_user: float | None = None


class ServingRecord(Record, frozen=True, kw_only=True):
    """REST answers beside batch scores of the same rows."""

    model: str
    rows_compared: int
    max_abs_diff: float
    tolerance: float


class MachineRecord(Record, frozen=True, kw_only=True):
    """What the figures were measured on: the load average says how alone we were."""

    cores: int
    load_1min: float


class DemoReport(Record, frozen=True, kw_only=True):
    """The content of ``report.json``."""

    state: Literal["succeeded", "failed"]
    started_at: dt.datetime
    seconds: float
    machine: MachineRecord
    steps: tuple[StepRecord, ...]
    apps: tuple[AppRecord, ...] = ()
    models: tuple[ModelRecord, ...] = ()
    baselines: tuple[BaselineRecord, ...] = ()
    serving: tuple[ServingRecord, ...] = ()
    error: str = ""
    schema_version: int = 1


def machine() -> MachineRecord:
    """Return cores and load of this machine, now."""
    return MachineRecord(cores=os.cpu_count() or 1, load_1min=os.getloadavg()[0])


def write(report: DemoReport, path: Path) -> None:
    """Write the report atomically, over an earlier one."""
    fs.write_bytes(path, canonical_json(report), overwrite=True)


def show(report: DemoReport) -> None:
    """Print what people want to see."""
    print_table(
        "Applications on YARN",
        ["name", "application", "type", "final status"],
        [(app.name, app.yarn_application_id, app.type, app.final_status) for app in report.apps],
    )
    print_table(
        "Models on the test split",
        ["model", "flavour", "AUC", "log loss", "AUC per user", "log loss per user", "bundle"],
        [
            *((base.name, "baseline", *_figures(base), "") for base in report.baselines),
            *((model.name, model.flavour, *_figures(model), model.bundle_id[:12]) for model in report.models),
        ],
    )
    print_table(
        "REST beside batch",
        ["model", "rows compared", "largest difference", "allowed"],
        [(row.model, row.rows_compared, f"{row.max_abs_diff:.2e}", f"{row.tolerance:.0e}") for row in report.serving],
    )
    print_table(
        f"Steps: {render_seconds(report.seconds)} in all",
        ["step", "state", "took"],
        [(step.name, step.state, render_seconds(step.seconds)) for step in report.steps],
    )


def _figures(record: BaselineRecord | ModelRecord) -> tuple[object, ...]:
    per_user = (record.test_auc_per_user, record.test_log_loss_per_user)
    return record.test_auc, record.test_log_loss, *("" if figure is None else figure for figure in per_user)
