"""``yarnmill demo movielens``: real ratings into HDFS, as tables with definitions."""

from collections.abc import Callable

import click

from yarnmill.cli.options import config_options, output_option, print_json
from yarnmill.config import Config, load_config
from yarnmill.movielens.load import load
from yarnmill.report import RunReport
from yarnmill.units import render_seconds


def ingest(config: Config, progress: Callable[[str], None]) -> tuple[RunReport, bool]:
    """Load the ratings below ``storage.tables``; return the report and whether anything was written."""
    return load(config.storage.tables, progress)


@click.command("movielens")
@config_options
@output_option
def movielens(home: str | None, overrides: tuple[str, ...], config_file: str | None, output: str) -> None:
    """Load 100,004 real film ratings into HDFS: observations, users, films."""
    config = load_config(config_file, overrides, home=home)
    report, written = ingest(config, lambda message: click.echo(message, err=True))
    if output == "json":
        print_json(report)
        return
    if not written:
        click.echo(f"up to date: {report.counts['rows_ratings']:,} ratings below {config.storage.tables}")
        return
    click.echo(
        f"{report.counts['rows_ratings']:,} ratings, {report.counts['rows_user_activity']:,} changes of users, "
        f"{report.counts['rows_film_activity']:,} changes of films: {report.counts['written']} partitions written "
        f"in {render_seconds(report.seconds)}"
    )
