"""``yarnmill env``: what is built once for later: Python environments for the nodes, Spark's classes."""

import click

from yarnmill import environments
from yarnmill.sparkclasses import ensure_archive


@click.group()
def env() -> None:
    """Python environments for the nodes, built from locks into the user cache; Spark's classes for its JVMs."""


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


@env.command()
def spark_classes() -> None:
    """Keep Spark's classes as Java has them once loaded, so that its JVMs start in half of the CPU time; print where.

    Jobs that this Python submits take them from there, on the nodes that have the file at the same place.
    """
    click.echo(ensure_archive(lambda message: click.echo(message, err=True)))
