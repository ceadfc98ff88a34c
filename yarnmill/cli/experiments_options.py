"""What the commands of ``yarnmill experiments`` have in common."""

from typing import Final

import click

from yarnmill.config import Config
from yarnmill.errors import ConfigurationError
from yarnmill.registry import Registry
from yarnmill.units import Seconds

tier_option: Final = click.option(
    "--tier",
    "tiers",
    multiple=True,
    metavar="URL",
    help="A serving tier that answers there: every replica, one by one [the environment's target].",
)


class Duration(click.ParamType[Seconds]):
    """A duration, such as `10 min`."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Seconds:
        """Return the seconds."""
        if isinstance(value, Seconds):
            return value
        try:
            return Seconds.parse(str(value))
        except ConfigurationError as problem:
            self.fail(f"{problem.what}: expected {problem.expected}", param, ctx)


def tiers_of(given: tuple[str, ...], environment: str | None, config: Config) -> tuple[str, ...]:
    """Return where the tiers of an environment are; ConfigurationError if nobody knows."""
    if given:
        return given
    found = Registry(config.registry_url).environments.get(environment)
    if found.target.startswith(("http://", "https://")):
        return (found.target,)
    raise ConfigurationError(
        f"environment {found.name}: its target {found.target!r} is no URL of a serving tier",
        expected="--tier http://HOST:PORT, once for each replica",
    )
