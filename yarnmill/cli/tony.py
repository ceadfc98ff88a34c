"""The command ``tony_py``: submit and kill; the commands that only look stand in files of their own."""

import sys
from typing import Final

import click

from tony_py import client
from tony_py.keys import render_sections
from tony_py.loading import load_application
from tony_py.lookup import is_local
from yarnmill.cli import tony_line
from yarnmill.cli.main import run
from yarnmill.cli.options import loaded_config, output_option, plan_option, print_json, with_config
from yarnmill.cli.tony_attach import attach, run_attached
from yarnmill.cli.tony_history import diagnose, history
from yarnmill.cli.tony_logs import logs
from yarnmill.cli.tony_notebook import notebook
from yarnmill.cli.tony_status import list_applications, status
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError

_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


@click.group(context_settings=_SETTINGS)
def tony_py() -> None:
    """Run any program as a gang of containers on YARN."""


@tony_py.command()
@click.argument("file", type=click.Path(), required=False)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set one key of the application.")
@click.option("--config", "config_file", default=None, help="YAML file over the platform's defaults [YARNMILL_CONFIG].")
@click.option("--home", default=None, help="Home folder of everything embedded.")
@click.option("--overwrite", is_flag=True, help="Let the output take the place of another run's.")
@click.option("--detach", is_flag=True, help="Return when the application is sent.")
@click.option("--local", is_flag=True, help="Run it on this machine, without YARN.")
@plan_option
@output_option
@tony_line.tony_options
def submit(  # noqa: PLR0913  # one argument an option
    *,
    file: str | None,
    tony: tony_line.TonyLine,
    overrides: tuple[str, ...],
    config_file: str | None,
    home: str | None,
    overwrite: bool,
    detach: bool,
    local: bool,
    plan: bool,
    output: str,
) -> int:
    """Send the application of FILE and follow it; exit status 0 only if it succeeded.

    In place of FILE stand TonY's own options, with one dash or two: see docs/from-tony.md.

    In a terminal a table shows the tasks meanwhile, and Ctrl-C asks whether to detach or to kill.
    --plan prints YAML that plain `skein application submit` accepts.
    """
    config = loaded_config(config_file, (), home)
    application = tony_line.load(file, tony, overrides, config, _say)
    if plan:
        planned = client.plan_application(application, config, overwrite=overwrite)
        for line in client.missing_on_hdfs(planned):
            _say(line)
        click.echo(planned.text, nl=False)
        return 0
    if detach:
        _submit_detached(client.plan_application(application, config, overwrite=overwrite), output)
        return 0
    return run_attached(application, config, output, overwrite=overwrite, local=local)


@tony_py.command()
def keys() -> None:
    """Print every key of an application file with its default and its meaning."""
    click.echo(render_sections(), nl=False)


@tony_py.command()
@click.argument("file", type=click.Path())
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set one key of the application.")
@click.option("--config", "config_file", default=None, help="YAML file over the platform's defaults [YARNMILL_CONFIG].")
@click.option("--home", default=None, help="Home folder of everything embedded.")
def upload(file: str, overrides: tuple[str, ...], config_file: str | None, home: str | None) -> None:
    """Upload the environment of FILE's application, as `submit` would before sending it.

    After it, what `submit --plan` prints can be sent by plain `skein application submit`.
    """
    config = loaded_config(config_file, (), home)
    planned = client.plan_application(load_application(file, overrides), config)
    client.upload_needed(planned, _say)


def _submit_detached(planned: client.Planned, output: str) -> None:
    finished = client.finished_report(planned.launch)
    submitted = client.Submitted(
        state="up to date" if finished else "submitted",
        application_id=finished.application_id if finished else client.submit(planned, _say),
        output=planned.launch.application.output,
    )
    if output == "json":
        print_json(submitted)
    else:
        click.echo(f"{submitted.application_id}: {submitted.state}; report: {submitted.output}/report.json")


@tony_py.command()
@click.argument("application_id")
@with_config
def kill(application_id: str, config: Config) -> None:  # noqa: ARG001  # it says as whom
    """Kill APPLICATION_ID."""
    if is_local(application_id):
        raise ConfigurationError(
            f"{application_id}: runs on this machine, in the command that began it", mend="Ctrl-C there"
        )
    client.kill(application_id)
    click.echo(f"{application_id}: killed")


for command in (attach, diagnose, history, list_applications, logs, notebook, status):
    tony_py.add_command(command)


def _say(line: str) -> None:
    click.echo(line, err=True)


def main() -> None:
    """Run ``tony_py`` and leave with its exit status."""
    sys.exit(run(tony_py))


if __name__ == "__main__":
    main()
