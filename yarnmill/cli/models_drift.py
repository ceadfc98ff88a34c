"""``yarnmill models drift``: whether what a model is asked and answers is still as it was in training."""

from typing import TYPE_CHECKING, Final

import click

from yarnmill.cli.experiments_options import tier_option, tiers_of
from yarnmill.cli.models_options import environment_option, say
from yarnmill.cli.options import output_option, print_json, print_table, with_config
from yarnmill.config import Config
from yarnmill.errors import JobFailedError

if TYPE_CHECKING:
    from yarnmill.drift.comparison import SeriesDrift, VersionDrift

_COLUMNS: Final = ("series", "", "PSI", "by chance", "KS", "JS", "p", "missing %", "zero %", "new %", "verdict")


@click.command()
@click.argument("model")
@click.option("--version", type=int, default=None, help="Of this version only [all that answer].")
@click.option("--psi", type=float, default=0.2, show_default=True, help="PSI over what it is by chance, at most.")
@click.option("--missing", type=float, default=5.0, show_default=True, help="Points more that may be missing.")
@click.option("--new", type=float, default=5.0, show_default=True, help="Points more that may be of no known category.")
@click.option("--alpha", type=float, default=0.01, show_default=True, help="Probability of an alert without a reason.")
@tier_option
@environment_option
@output_option
@with_config
def drift(  # noqa: PLR0913  # click's options
    model: str,
    *,
    version: int | None,
    psi: float,
    missing: float,
    new: float,
    alpha: float,
    tiers: tuple[str, ...],
    environment: str | None,
    output: str,
    config: Config,
) -> int:
    """Compare what MODEL was asked and answered, in this hour and the one before, with the reference in its bundle.

    A series has drifted, and the exit status is 20, when it is over a limit and that is more than chance. In brackets
    stands what the reference has.
    """
    # They load NumPy: not for the other commands.
    from yarnmill.drift.rules import Rules  # noqa: PLC0415
    from yarnmill.lifecycle.watch import watch  # noqa: PLC0415

    try:
        rules = Rules(psi=psi, missing=missing / 100.0, new=new / 100.0, alpha=alpha)
    except ValueError as problem:
        raise click.UsageError(str(problem)) from None
    found = watch(model, tiers_of(tiers, environment, config), rules, version=version, progress=say)
    if output == "json":
        print_json(found)
    else:
        for one in found.versions:
            _print_version(model, one)
    return JobFailedError.exit_code if found.verdict == "drifted" else 0


def _print_version(model: str, version: "VersionDrift") -> None:
    if version.reason:
        click.echo(f"{model}/{version.version}: {version.reason}")
        return
    since = "" if version.since is None else f" since {version.since:%Y-%m-%d %H:%M} UTC"
    print_table(f"{model}/{version.version}: {version.rows:,} rows{since}", _COLUMNS, _rows(version.series))


def _rows(series: tuple["SeriesDrift", ...]) -> list[tuple[str, ...]]:
    order = {"drifted": 0, "unsure": 1, "steady": 2, "unknown": 3}
    return [_row(one) for one in sorted(series, key=lambda one: order[one.verdict])]


def _row(one: "SeriesDrift") -> tuple[str, ...]:
    distance, broken = one.distance, [each for each in one.findings if each.is_broken]
    why = "; ".join(str(each) for each in broken or one.findings if each.is_over)
    measured = ("-",) * 5
    if distance is not None:
        ks = "-" if distance.ks is None else f"{distance.ks:.3f}"
        numbers = f"{distance.psi:.3f}", f"{distance.psi_by_chance:.3f}", ks, f"{distance.js:.3f}"
        measured = (*numbers, f"{distance.p_value:.2g}")
    now, before = one.now, one.reference
    rates = (_rate(now.missing, before.missing), _rate(now.zeros, before.zeros), _rate(now.new, before.new))
    return (one.name, one.side, *measured, *rates, f"{one.verdict}: {why}" if why else one.verdict)


def _rate(now: float | None, before: float | None) -> str:
    return "-" if now is None or before is None else f"{now * 100:.1f} ({before * 100:.1f})"
