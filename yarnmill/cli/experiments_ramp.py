"""``yarnmill experiments ramp``: a new version comes to answer everything, or goes back by itself."""

import click

from yarnmill.cli.experiments_options import CounterSource, Duration, counters_option
from yarnmill.cli.models_options import environment_option, say
from yarnmill.cli.options import output_option, plan_option, print_json, with_config
from yarnmill.config import Config
from yarnmill.errors import JobFailedError
from yarnmill.records import to_plain
from yarnmill.registry import Rule
from yarnmill.units import Seconds


@click.command()
@click.argument("model")
@click.argument("version", type=int)
@click.option("--shares", default="1,5,25,50,100", show_default=True, help="Its shares one after the other, percent.")
@click.option("--hold", type=Duration(), default="10 min", show_default=True, help="How long it keeps each, at least.")
@click.option("--least", type=int, default=500, show_default=True, help="Requests it answers at each, at least.")
@click.option("--dark", type=Duration(), default="0 s", show_default=True, help="How long it is mirrored to first.")
@click.option("--errors", type=float, default=1.0, show_default=True, help="Points of percent it may fail more often.")
@click.option("--slower", type=float, default=2.0, show_default=True, help="Points more it may be slow.")
@click.option("--slow", type=Duration(), default="100 ms", show_default=True, help="What is slow.")
@click.option("--drift", type=float, default=None, help="Deviations that its mean score may be away.")
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Probability to go back without a reason.")
@click.option("--poll", type=Duration(), default="5 s", show_default=True, help="Between two looks.")
@counters_option
@environment_option
@plan_option
@output_option
@with_config
def ramp(  # noqa: PLR0913  # click's options
    model: str,
    version: int,
    *,
    shares: str,
    hold: Seconds,
    least: int,
    dark: Seconds,
    errors: float,
    slower: float,
    slow: Seconds,
    drift: float | None,
    alpha: float,
    poll: Seconds,
    counters: CounterSource,
    environment: str | None,
    plan: bool,
    output: str,
    config: Config,
) -> int:
    """Let VERSION of MODEL answer more and more requests, as long as it is no worse than what answered before.

    It goes back at once, and the exit status is 20, when it is sure that it fails more often, is slow more often, or
    scores otherwise than it may. Killed in the middle, the share that it has stands: the same command goes on there.
    """
    # What opens a model, and what judges, loads libraries: not for the other commands, nor for their help.
    from yarnmill.experiments.ramp import Ramp  # noqa: PLC0415
    from yarnmill.experiments.sources import Tiers  # noqa: PLC0415
    from yarnmill.experiments.tallies import Growth  # noqa: PLC0415
    from yarnmill.lifecycle.ramp import Ramping  # noqa: PLC0415

    try:
        how = Ramp(
            shares=_percents(shares),
            hold_s=hold,
            least=least,
            dark_s=dark,
            errors=errors / 100.0,
            slower=slower / 100.0,
            slow_s=slow,
            drift=drift,
            alpha=alpha,
        )
    except ValueError as problem:
        raise click.UsageError(str(problem)) from None
    # A plan can be made where no tier is known.
    growth = Growth(model, Tiers(())) if plan else counters.growth_of(model, environment, config)
    ramping = Ramping(model, version, how, config, growth, environment=environment, poll_s=poll, progress=say)
    if plan:
        _print_plan(ramping.plan(), output)
        return 0
    try:
        outcome = ramping.run()
    except KeyboardInterrupt:
        say(
            f"{model}: the rule stands as it is: the same command goes on from there, "
            f"yarnmill models show {model} shows it"
        )
        raise
    if output == "json":
        print_json(outcome)
    elif outcome.state == "finished":
        click.echo(f"{model}: version {version} answers everything (revision {outcome.revision})")
    else:
        click.echo(f"{model}: version {version} went back to {outcome.before} (revision {outcome.revision})")
    return 0 if outcome.state == "finished" else JobFailedError.exit_code


def _percents(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(one.strip().removesuffix("%")) for one in text.split(","))
    except ValueError:
        raise click.UsageError(f"--shares {text!r}: not percents such as 1,5,25,50,100") from None


def _print_plan(steps: "list[tuple[float, Rule]]", output: str) -> None:
    if output == "json":
        print_json([{"share": share, "rule": to_plain(rule)} for share, rule in steps])
        return
    for share, rule in steps:
        click.echo(f"{f'{share:g} %' if share else 'mirrored':>8}   {rule}")
