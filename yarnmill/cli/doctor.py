"""``yarnmill doctor``: what this machine lacks, with the command that mends it."""

import os
from collections.abc import Sequence

import click

from yarnmill.cli.options import config_options, output_option, print_json
from yarnmill.config import load_config
from yarnmill.localcluster.checks import Check
from yarnmill.localcluster.doctor import examine, is_sound


@click.command()
@output_option
@config_options
@click.pass_context
def doctor(
    ctx: click.Context, config_file: str | None, overrides: Sequence[str], home: str | None, output: str
) -> None:
    """Check this machine; the exit status is 0 when all that is needed is there, else 2."""
    found = examine(load_config(config_file, overrides, home=home), os.environ)
    if output == "json":
        print_json(found)
    else:
        for check in found:
            click.echo(render_check(check))
    if not is_sound(found):
        ctx.exit(2)


def render_check(check: Check) -> str:
    """Return the line of one check."""
    word, colour = ("ok", "green") if check.ok else ("lacks", "red") if check.needed else ("note", "yellow")
    line = f"{click.style(f'{word:>5}', fg=colour)}  {check.name}: {check.found}"
    return f"{line}; to mend it: {check.mend}" if check.mend else line
