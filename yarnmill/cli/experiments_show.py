"""``yarnmill experiments show``: what each version of a model did, and how sure it is that they differ."""

import time
from typing import TYPE_CHECKING

import click

from yarnmill.cli.experiments_options import CounterSource, Duration, counters_option, percent, plain
from yarnmill.cli.models_options import environment_option, say
from yarnmill.cli.options import output_option, print_json, print_table, with_config
from yarnmill.config import Config
from yarnmill.errors import ClusterUnavailableError
from yarnmill.registry import Registry
from yarnmill.units import Seconds

if TYPE_CHECKING:
    from yarnmill.experiments.tallies import Growth


@click.command()
@click.argument("model")
@click.option("--beside", type=int, default=None, help="What others are compared with [the largest share].")
@click.option("--during", type=Duration(), default="0 s", show_default=True, help="Count for so long.")
@click.option("--slow", type=Duration(), default="100 ms", show_default=True, help="What is slow.")
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Probability to miss, ever.")
@click.option("--rewards", is_flag=True, help="Show the labels that the prediction log has, instead.")
@click.option("--since", type=Duration(), default=None, help="With --rewards: how far back [since the rule stands].")
@click.option("--log", "log_url", default=None, metavar="URL", help="With --rewards: the log [serving.log.url].")
@counters_option
@environment_option
@output_option
@with_config
def show(  # noqa: PLR0913  # click's options
    model: str,
    *,
    beside: int | None,
    during: Seconds,
    slow: Seconds,
    alpha: float,
    rewards: bool,
    since: Seconds | None,
    log_url: str | None,
    counters: CounterSource,
    environment: str | None,
    output: str,
    config: Config,
) -> None:
    """Show what each version of MODEL answers: requests, failures, slow answers, scores.

    Intervals hold however often they are looked at, all of one kind together. Counts are since the tiers were started,
    or of the time that --during says. With --rewards no tier is asked: what came of the answers, which the feedback of
    clients says, is compared by unit.
    """
    if not rewards and (since is not None or log_url is not None):
        raise click.UsageError("--since and --log are for --rewards; --during says how long to count otherwise")
    endpoint = Registry(config.registry_url).endpoints.get(model, environment)
    if rewards:
        from yarnmill.cli.experiments_rewards import show_rewards  # noqa: PLC0415  # it loads Arrow

        show_rewards(endpoint, log_url or config.serving.log.url, since, beside=beside, alpha=alpha, output=output)
        return
    # It loads SciPy: not for the other commands.
    from yarnmill.experiments.comparison import compare  # noqa: PLC0415

    growth = counters.growth_of(model, environment, config)
    _look(growth)
    if during > 0:
        time.sleep(during)
        _look(growth)
    else:
        growth.since_the_start()
    comparison = compare(growth, endpoint.rule, beside=beside, slow_s=slow, alpha=alpha)
    if output == "json":
        print_json(comparison)
        return
    rows = [
        (
            f"{arm.version}{' (mirror)' * (arm.share is None)}",
            "-" if arm.share is None else f"{arm.share:g} %",
            f"{arm.tally.requests:,.0f}",
            percent(arm.errors),
            percent(arm.slower),
            plain(arm.score),
            "" if arm.more_errors is None else percent(arm.more_errors, signed=True),
            "" if arm.more_slower is None else percent(arm.more_slower, signed=True),
            "" if arm.higher_score is None else plain(arm.higher_score, signed=True),
        )
        for arm in comparison.arms
    ]
    than = f"than {comparison.beside}"
    columns = ["version", "share", "requests", "errors %", f"over {slow:g} s %", "score"]
    print_table(model, [*columns, f"more errors {than}", f"more slow {than}", f"higher score {than}"], rows)


def _look(growth: "Growth") -> None:
    troubles = growth.look()
    for trouble in troubles:
        say(f"no answer from {trouble}")
    if len(troubles) == growth.tiers:
        raise ClusterUnavailableError("no serving tier answers", mend="name each replica: --tier http://HOST:PORT")
