"""``yarnmill features``: snapshots of feature tables, which models look into when they are asked."""

import datetime as dt

import click

from yarnmill import fs
from yarnmill.cli.models_options import environment_option, print_endpoint, say
from yarnmill.cli.options import output_option, plan_option, print_json, print_table, with_config
from yarnmill.config import Config

_day = click.DateTime(["%Y-%m-%d"])


@click.group()
def features() -> None:
    """Snapshots of feature tables, for features at request time."""


@features.command()
@click.argument("table")
@click.option("--ds", type=_day, default=None, help="The day at whose end it is [that of the newest partition].")
@click.option("--first", type=_day, default=None, help="First day to read, where each partition has all entities.")
@click.option("--made", default=None, metavar="URL", help="Output of a finished snapshot_features; no job is sent.")
@click.option("--deploy/--no-deploy", "deploys", default=True, help="Let it answer at once, which is the default.")
@environment_option
@plan_option
@output_option
@with_config
def publish(  # noqa: PLR0913  # click's options
    table: str,
    *,
    ds: dt.datetime | None,
    first: dt.datetime | None,
    made: str | None,
    deploys: bool,
    environment: str | None,
    plan: bool,
    output: str,
    config: Config,
) -> None:
    """Take a snapshot of TABLE (namespace.table) by a Spark job, publish it, and let it answer.

    Tiers take it within serving.poll, all requests go on. Snapshots are versions of a model with the table's name:
    `yarnmill models roll-back` brings the one before back, `yarnmill models gc` clears old ones away.
    """
    if made is None:
        made = fs.join(config.storage.runs, "features", table)
        if _is_planned(table, made, (ds, first), config, output, plan=plan):
            return
    elif ds or first or plan:
        raise click.UsageError("--made names a snapshot that is there: --ds, --first and --plan are for making one")
    # What publishes opens bundles and the registry: not for the plan.
    from yarnmill.lifecycle.deploy import deploy  # noqa: PLC0415
    from yarnmill.lifecycle.features import publish_snapshot  # noqa: PLC0415

    published = publish_snapshot(made, table, config, say)
    endpoint = None
    if deploys:
        endpoint = deploy(table, published.version, config, environment=environment, progress=say)
    if output == "json":
        print_json(published)
    elif endpoint is not None:
        print_endpoint(endpoint, output)
    else:
        click.echo(f"{published.model} version {published.version}  {published.bundle_id}")


def _is_planned(  # what is asked for
    table: str, made: str, days: tuple[dt.datetime | None, ...], config: Config, output: str, *, plan: bool
) -> bool:
    """Print the plan of the job if that is wanted, else run it; return whether it was. ``days``: ds, first."""
    from jobs.snapshot_features import Config as JobConfig  # noqa: PLC0415  # it loads pyspark
    from yarnmill.sparksubmit.plan import render  # noqa: PLC0415  # likewise
    from yarnmill.sparksubmit.submit import prepare, run_job  # noqa: PLC0415  # likewise

    ds, first = (None if day is None else day.date() for day in days)
    job = JobConfig(output=made, tables=config.storage.tables, table=table, ds=ds, first=first)
    if plan:
        submission = prepare("snapshot_features", job, config)
        if output == "json":
            print_json(submission)
        else:
            click.echo(render(submission), nl=False)
        return True
    run_job("snapshot_features", job, config, say)
    return False


@features.command()
@output_option
@with_config
def ls(output: str, config: Config) -> None:
    """List the snapshots that are kept, and which of them answer."""
    from yarnmill.lifecycle.features import snapshots_in  # noqa: PLC0415  # it opens the registry
    from yarnmill.registry import Registry  # noqa: PLC0415  # likewise

    found = snapshots_in(Registry(config.registry_url))
    if output == "json":
        print_json(found)
        return
    rows = [(one.table, one.version, one.ds, one.entities, "yes" if one.answers else "") for one in found]
    print_table("snapshots", ["table", "version", "ds", "entities", "answers"], rows)
