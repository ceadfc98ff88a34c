"""``yarnmill experiments``: what versions that share the requests do, and how a new one comes to answer them all."""

import click

from yarnmill.cli.experiments_ramp import ramp
from yarnmill.cli.experiments_show import show


@click.group()
def experiments() -> None:
    """Versions that share a model's requests: what they do, and ramps that go back by themselves."""


experiments.add_command(ramp)
experiments.add_command(show)
