"""``tony_py status`` and ``tony_py list``: how runs are, and which there are."""

import datetime as dt

import click

from tony_py.listing import Listed, Standing, list_local, list_runs, standing
from tony_py.lookup import find
from yarnmill.cli.options import console, output_option, print_json, print_table, with_config
from yarnmill.cli.tony_table import task_table
from yarnmill.config import Config
from yarnmill.units import render_seconds


@click.command()
@click.argument("application_id")
@output_option
@with_config
def status(application_id: str, output: str, config: Config) -> None:
    """Say how APPLICATION_ID is, or was: also when YARN has forgotten it. An output names its last run."""
    found = standing(find(application_id, config))
    if output == "json":
        print_json(found)
        return
    end = f", {found.final_status}" if found.finished_ms else f", {found.progress:.0%}"
    click.echo(f"{found.application_id} {found.name}: {found.state}{end}{_how_long(found)}")
    if found.output:
        click.echo(f"output: {found.output}")
    if found.diagnostics:
        click.echo(found.diagnostics)
    _print_tasks(found)


def _print_tasks(found: Standing) -> None:
    for page in found.run.pages:
        click.echo(f"{page.title}: {page.url}")
    if found.run.tasks:
        click.echo()
        out = console()
        out.print(task_table(found.run.tasks, found.run.at, out.width))


@click.command("list")
@click.option("--running", is_flag=True, help="Only those that have not ended.")
@click.option("--local", is_flag=True, help="Only those of this machine; YARN is not asked.")
@click.option("--limit", default=50, show_default=True, help="Most runs to show that only the index remembers.")
@output_option
@with_config
def list_applications(*, running: bool, local: bool, limit: int, output: str, config: Config) -> None:
    """List runs, newest first: those that YARN remembers, and those that the index does."""
    found = (list_local if local else list_runs)(config, running_only=running, limit=limit)
    if output == "json":
        print_json(found)
        return
    rows = [
        (each.application_id, each.name, each.queue, each.state, each.final_status, _when(each), _time(each))
        for each in found
    ]
    print_table("applications", ["id", "name", "queue", "state", "final status", "started", "time"], rows)


def _when(each: Listed) -> str:
    return f"{dt.datetime.fromtimestamp(each.started_ms / 1000).astimezone():%Y-%m-%d %H:%M}"


def _time(each: Listed) -> str:
    return render_seconds((each.finished_ms - each.started_ms) / 1000) if each.finished_ms else ""


def _how_long(each: Listed) -> str:
    return f" after {_time(each)}" if each.finished_ms else ""
