"""What the commands of ``yarnmill experiments`` have in common."""

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from yarnmill.config import Config
from yarnmill.errors import ConfigurationError
from yarnmill.registry import Registry
from yarnmill.units import Seconds

if TYPE_CHECKING:
    from yarnmill.experiments.intervals import Interval
    from yarnmill.experiments.tallies import Growth

tier_option: Final = click.option(
    "--tier",
    "tiers",
    multiple=True,
    metavar="URL",
    help="A serving tier that answers there: every replica, one by one [the environment's target].",
)


class CounterSource(NamedTuple):
    """Where a command was told to read the tiers' counters: nothing of it, for where the configuration says."""

    tiers: tuple[str, ...]
    prometheus: str | None
    labels: tuple[str, ...]

    def growth_of(self, model: str, environment: str | None, config: Config) -> "Growth":
        """Return the counters of a model, which nobody has looked at yet; ConfigurationError if nobody knows where."""
        # They load SciPy: not for the other commands, nor for their help.
        from yarnmill.experiments.sources import Prometheus, Tiers  # noqa: PLC0415
        from yarnmill.experiments.tallies import Growth  # noqa: PLC0415

        url = self.prometheus or ("" if self.tiers else config.serving.prometheus)
        if url:
            return Growth(model, Prometheus(url, dict(_label(one) for one in self.labels)))
        if self.labels:
            raise click.UsageError("--select is for --prometheus, or serving.prometheus: neither names one")
        return Growth(model, Tiers(tiers_of(self.tiers, environment, config)))


def counters_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--tier``, ``--prometheus`` and ``--select``; pass them as ``counters``, a :class:`CounterSource`."""

    @tier_option
    @click.option(
        "--prometheus", metavar="URL", help="A Prometheus that scrapes the tiers, instead [serving.prometheus]."
    )
    @click.option(
        "--select", "labels", multiple=True, metavar="LABEL=VALUE", help="Which of those it scrapes, such as job=rank."
    )
    @functools.wraps(function)
    def command(tiers: tuple[str, ...], prometheus: str | None, labels: tuple[str, ...], **arguments: Any) -> Any:  # noqa: ANN401  # click's own
        if tiers and (prometheus or labels):
            raise click.UsageError("--tier names tiers, --prometheus and --select those that a Prometheus scrapes")
        return function(counters=CounterSource(tiers, prometheus, labels), **arguments)

    return command


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--select {text!r}: not LABEL=VALUE, such as job=rank")
    return name, value


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


def percent(found: "Interval", *, signed: bool = False) -> str:
    """Return an interval of a share as a table shows it, in percent."""
    return _text(found, 100.0, 2, signed=signed)


def plain(found: "Interval", *, signed: bool = False) -> str:
    """Return an interval of a number as a table shows it."""
    return _text(found, 1.0, 4, signed=signed)


def _text(found: "Interval", scale: float, digits: int, *, signed: bool) -> str:
    if math.isnan(found.estimate):
        return "-"
    one, low, high = (
        f"{value * scale:{'+' if signed else ''}.{digits}f}" for value in (found.estimate, found.lower, found.upper)
    )
    return f"{one} [{low}, {high}]"
