"""What ``yarnmill experiments show --rewards`` shows: what came of each version's answers, by unit."""

import datetime as dt

import click

from yarnmill.cli.experiments_options import plain
from yarnmill.cli.options import moment, print_json, print_table
from yarnmill.errors import ConfigurationError
from yarnmill.experiments.rewards import COLUMNS, compare_rewards, rewards_of
from yarnmill.predictions import Span, read_labelled
from yarnmill.registry import ModelEndpoint
from yarnmill.units import Seconds


def show_rewards(
    endpoint: ModelEndpoint, log_url: str, since: Seconds | None, *, beside: int | None, alpha: float, output: str
) -> None:
    """Print what came of the answers of an endpoint's versions.

    Parameters
    ----------
    endpoint
        Whose, and the rule that stands.
    log_url
        The prediction log.
    since
        How far to look back; None: to when the rule came.
    beside, alpha
        As in :func:`yarnmill.experiments.rewards.compare_rewards`, with its errors.
    output
        ``json``, or a table.

    Raises
    ------
    ConfigurationError
        If there is no URL.
    """
    if not log_url:
        raise ConfigurationError(
            "serving.log.url is empty: there is no prediction log",
            expected="the URL that the tiers log to, such as hdfs:///yarnmill/predictions",
            mend="--log URL, or set serving.log.url",
        )
    start = endpoint.changed_at if since is None else dt.datetime.now(dt.UTC) - dt.timedelta(seconds=since)
    rows = read_labelled(log_url, endpoint.model, Span(start), columns=COLUMNS)
    comparison = compare_rewards(rewards_of(rows), endpoint.rule, beside=beside, alpha=alpha)
    if output == "json":
        print_json(comparison)
        return
    click.echo(f"since {moment(start)} UTC: {rows.num_rows:,} rows answered")
    table = [
        (
            str(arm.version),
            "-" if arm.share is None else f"{arm.share:g} %",
            f"{arm.units:,}",
            f"{arm.labels:,}",
            plain(arm.reward),
            "" if arm.higher_reward is None else plain(arm.higher_reward, signed=True),
        )
        for arm in comparison.arms
    ]
    higher = f"higher reward than {comparison.beside}"
    print_table(endpoint.model, ["version", "share", "units", "labels", "mean reward of a unit", higher], table)
