"""Options that every command shares, and the one way results are printed."""

import datetime as dt
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

from yarnmill import kerberos
from yarnmill.config import Config, load_config
from yarnmill.records import to_plain

F = TypeVar("F", bound=Callable[..., Any])


def config_options(function: F) -> F:
    """Add ``--config``, ``--set`` and ``--home``; pass them to :func:`yarnmill.config.load_config`."""
    for option in (
        click.option("--home", default=None, help="Home folder of everything embedded."),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set one key for this command."),
        click.option("--config", "config_file", default=None, help="YAML file over the defaults [YARNMILL_CONFIG]."),
    ):
        function = option(function)
    return function


def loaded_config(config_file: str | None, overrides: Sequence[str], home: str | None) -> Config:
    """Return the configuration; until the command ends this process acts as its ``security.principal``."""
    config = load_config(config_file, overrides, home=home)
    click.get_current_context().with_resource(kerberos.signed_in(config.security.principal, config.security.keytab))
    return config


def with_config(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of :func:`config_options` and pass what they load as ``config``."""

    @config_options
    @functools.wraps(function)
    def command(config_file: str | None, overrides: tuple[str, ...], home: str | None, **arguments: Any) -> Any:  # noqa: ANN401  # click's own
        return function(config=loaded_config(config_file, overrides, home), **arguments)

    return command


def output_option(function: F) -> F:
    """Add ``--output text|json`` as ``output``."""
    option = click.option("--output", type=click.Choice(["text", "json"]), default="text", help="Form of the result.")
    return option(function)


def plan_option(function: F) -> F:
    """Add ``--plan``: print what would be sent, send nothing."""
    return click.option("--plan", is_flag=True, help="Print what would be sent, and send nothing.")(function)


def console() -> Console:
    """Return a console on standard output: colours only on a terminal, wide tables kept whole in a pipe."""
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def moment(at: dt.datetime) -> str:
    """Return a moment as tables show it, in UTC."""
    return f"{at.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}"


def print_json(value: object) -> None:
    """Print a record, or a list of records, as JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(to_plain(value)), indent=2).decode())


def print_removed(name: str, output: str) -> None:
    """Say that something with a name was taken away, to programs: for people no news is good news."""
    if output == "json":
        print_json({"name": name, "removed": True})


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows as a table; an empty one says so."""
    if not rows:
        click.echo(f"{title}: none")
        return
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row))
    console().print(table)
