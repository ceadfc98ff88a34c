"""``yarnmill runs``: everything that was published, as MLflow knows it."""

from typing import Final

import click

from yarnmill.cli.options import output_option, print_json, print_table, with_config
from yarnmill.config import Config
from yarnmill.registry.tracking import TrackedRun, Tracking

_KEY_METRICS: Final = ("test_auc", "test_log_loss")


@click.group(invoke_without_command=True)
@output_option
@with_config
@click.pass_context
def runs(context: click.Context, output: str, config: Config) -> None:
    """List every run with its key metrics, newest first (MLflow)."""
    if context.invoked_subcommand is None:
        _list(output, config)


@runs.command("list")
@output_option
@with_config
def list_runs(output: str, config: Config) -> None:
    """List every run, newest first."""
    _list(output, config)


def _list(output: str, config: Config) -> None:
    found = Tracking(config.tracking_uri).runs()
    if output == "json":
        print_json(found)
        return
    columns = ["run", "model", "version", "state", "application", *_KEY_METRICS, "when"]
    print_table("runs", columns, [_row(run) for run in found])


def _row(run: TrackedRun) -> tuple[object, ...]:
    metrics = (run.metrics.get(name, "-") for name in _KEY_METRICS)
    when = f"{run.at:%Y-%m-%d %H:%M:%S}"
    return run.name, run.model, run.version or "-", run.state, run.application_id or "-", *metrics, when
