"""What the commands of ``yarnmill models`` that change an endpoint have in common."""

from typing import Final

import click

from yarnmill.cli.options import print_json
from yarnmill.records import to_plain
from yarnmill.registry import ModelEndpoint

environment_option: Final = click.option(
    "--environment", default=None, help="Where; if not given, the default environment."
)
expected_option: Final = click.option(
    "--expected", type=int, default=None, help="Refuse unless the endpoint is at this revision (0: none yet)."
)


def print_endpoint(endpoint: ModelEndpoint, output: str) -> None:
    """Print which versions answer."""
    if output == "json":
        print_json(to_plain(endpoint))
        return
    if not endpoint.routes:
        click.echo(f"{endpoint.model}: nothing answers in {endpoint.environment} (revision {endpoint.revision})")
    elif len(endpoint.routes) == 1:
        version = endpoint.routes[0].version
        click.echo(
            f"{endpoint.model}: version {version} answers in {endpoint.environment} (revision {endpoint.revision})"
        )
    else:
        click.echo(f"{endpoint.model}: {endpoint.rule} in {endpoint.environment} (revision {endpoint.revision})")


def say(message: str) -> None:
    """Print a line of progress."""
    click.echo(message, err=True)
