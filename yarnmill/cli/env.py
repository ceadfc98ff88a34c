"""``yarnmill env``: the Python environments that are shipped to the nodes."""

import click

from yarnmill import environments


@click.group()
def env() -> None:
    """Python environments for the nodes, built from locks into the user cache."""


@env.command()
@click.argument("name", type=click.Choice(environments.NAMES))
def build(name: environments.Name) -> None:
    """Build environment NAME unless it is there; print its Python."""
    click.echo(environments.ensure(name, lambda message: click.echo(message, err=True)))


@env.command()
@click.argument("name", type=click.Choice(environments.NAMES))
def path(name: environments.Name) -> None:
    """Print the Python of environment NAME."""
    click.echo(environments.python_of(name))
