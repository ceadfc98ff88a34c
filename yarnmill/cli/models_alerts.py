"""``yarnmill models alerts``: when somebody is to be told how a model answers."""

from collections.abc import Sequence
from typing import get_args

import click

from yarnmill.cli.models_options import environment_option, expected_option
from yarnmill.cli.options import output_option, print_json, print_removed, print_table, with_config
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError
from yarnmill.registry import Registry
from yarnmill.registry.records import Alert, Condition, Metric, Severity
from yarnmill.units import Seconds


@click.group()
def alerts() -> None:
    """Alerts: conditions on how a model answers, and who is told.

    Prometheus raises them, by the rules that `yarnmill models alerts rules` writes.
    """


@alerts.command("set")
@click.argument("model")
@click.argument("name")
@click.option("--metric", required=True, type=click.Choice(get_args(Metric)), help="What is looked at.")
@click.option("--above", type=float, default=None, help="Raised above this: a share, seconds, requests a second, PSI.")
@click.option("--below", type=float, default=None, help="Raised below this.")
@click.option("--for", "for_", default="1 min", show_default=True, help="Raised if it has been so for as long.")
@click.option(
    "--severity", type=click.Choice(get_args(Severity)), default="warning", show_default=True, help="How grave it is."
)
@click.option("--receiver", required=True, help="Who is told: a label that Alertmanager routes by.")
@click.option("--off", is_flag=True, help="Keep it, and raise nothing.")
@environment_option
@expected_option
@output_option
@with_config
def set_alert(  # noqa: PLR0913  # one argument an option
    model: str,
    name: str,
    *,
    metric: Metric,
    above: float | None,
    below: float | None,
    for_: str,
    severity: Severity,
    receiver: str,
    off: bool,
    environment: str | None,
    expected: int | None,
    output: str,
    config: Config,
) -> None:
    """Set the alert NAME of MODEL, new or not; the same again changes nothing."""
    bound = above if below is None else below
    if bound is None or (above is not None and below is not None):
        raise ConfigurationError("neither --above nor --below, or both", expected="one of them")
    condition = Condition(
        metric=metric,
        comparison="above" if below is None else "below",
        bound=bound,
        for_s=float(Seconds.parse(for_)),
        severity=severity,
    )
    made = Registry(config.registry_url).alerts.put(
        model, name, condition, receiver=receiver, environment=environment, enabled=not off, expected=expected
    )
    if output == "json":
        print_json(made)
        return
    click.echo(_told(made))


@alerts.command("list")
@click.argument("model", required=False)
@output_option
@with_config
def list_alerts(model: str | None, output: str, config: Config) -> None:
    """List the alerts of MODEL, or all."""
    found = Registry(config.registry_url).alerts.find(model)
    if output == "json":
        print_json(found)
        return
    _print(found)


@alerts.command()
@click.argument("model")
@click.argument("name")
@environment_option
@expected_option
@output_option
@with_config
def rm(model: str, name: str, *, environment: str | None, expected: int | None, output: str, config: Config) -> None:
    """Take the alert NAME of MODEL away."""
    Registry(config.registry_url).alerts.delete(model, name, environment, expected=expected)
    print_removed(name, output)


@alerts.command()
@click.option("--match", "matchers", default="", help="What else the series must match, such as 'job=\"serving\"'.")
@environment_option
@with_config
def rules(matchers: str, *, environment: str | None, config: Config) -> None:
    """Print all alerts of an environment as a file of rules for Prometheus (`rule_files`)."""
    from serving.alertrules import render_rules  # noqa: PLC0415  # other commands need not load it

    registry = Registry(config.registry_url)
    name = registry.environments.get(environment).name
    click.echo(render_rules(registry.alerts.find(environment=name), name, matchers), nl=False)


def _print(found: Sequence[Alert]) -> None:
    rows = [
        (one.model, one.environment, one.name, _condition(one), one.condition.severity, one.receiver, one.enabled)
        for one in found
    ]
    shown = [(*row[:-1], "on" if row[-1] else "off") for row in rows]
    print_table("alerts", ["model", "environment", "alert", "condition", "severity", "receiver", ""], shown)


def _condition(alert: Alert) -> str:
    condition = alert.condition
    return f"{condition.metric} {condition.comparison} {condition.bound:g} for {condition.for_s:g} s"


def _told(alert: Alert) -> str:
    off = "" if alert.enabled else ", which is off"
    return f"alert {alert.name} of {alert.model} in {alert.environment}: {_condition(alert)}{off}"
