"""The command ``tony_py``: submit, follow, list, kill."""

import sys
from typing import Final

import click

from tony_py import client
from tony_py.keys import render_sections
from tony_py.loading import load_application
from yarnmill import yarn
from yarnmill.cli import tony_line
from yarnmill.cli.main import run
from yarnmill.cli.options import output_option, plan_option, print_json, print_table
from yarnmill.config import load_config
from yarnmill.units import render_seconds

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
    plan: bool,
    output: str,
) -> None:
    """Send the application of FILE and follow it; exit status 0 only if it succeeded.

    In place of FILE stand TonY's own options, with one dash or two: see docs/from-tony.md.

    --plan prints YAML that plain `skein application submit` accepts.
    """
    config = load_config(config_file, home=home)
    application = tony_line.load(file, tony, overrides, config, _say)
    if plan:
        planned = client.plan_application(application, config, overwrite=overwrite)
        for line in client.missing_on_hdfs(planned):
            _say(line)
        click.echo(planned.text, nl=False)
        return
    if detach:
        _submit_detached(client.plan_application(application, config, overwrite=overwrite), output)
        return
    report, _ = client.run_application(application, config, _say, overwrite=overwrite)
    if output == "json":
        print_json(report)
        return
    rows = [(task.task, task.exit_code, task.container_id, task.host) for task in report.tasks]
    print_table(f"{report.application_id}: {report.state}", ["task", "exit code", "container", "host"], rows)
    print_table("metrics", ["metric", "value"], sorted(report.metrics.items()))


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
    planned = client.plan_application(load_application(file, overrides), load_config(config_file, home=home))
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
@output_option
def status(application_id: str, output: str) -> None:
    """Say how APPLICATION_ID is."""
    found = yarn.application(application_id)
    if output == "json":
        print_json(found)
        return
    end = f", {found.final_status}" if found.is_finished else f", {found.progress:.0%}"
    click.echo(f"{found.application_id} {found.name}: {found.state}{end}")
    if found.diagnostics:
        click.echo(found.diagnostics)


@tony_py.command()
@click.argument("application_id")
def logs(application_id: str) -> None:
    """Print the logs of all containers of APPLICATION_ID."""
    click.echo(client.logs(application_id), nl=False)


@tony_py.command()
@click.argument("application_id")
def kill(application_id: str) -> None:
    """Kill APPLICATION_ID."""
    client.kill(application_id)
    click.echo(f"{application_id}: killed")


@tony_py.command("list")
@click.option("--running", is_flag=True, help="Only those that have not ended.")
@output_option
def list_applications(running: bool, output: str) -> None:  # noqa: FBT001  # click passes options by name
    """List the applications that YARN remembers, newest first."""
    found = client.applications(running_only=running)
    if output == "json":
        print_json(found)
        return
    rows = [(app.application_id, app.name, app.queue, app.state, app.final_status, _duration(app)) for app in found]
    print_table("applications", ["id", "name", "queue", "state", "final status", "time"], rows)


def _duration(app: yarn.ApplicationStatus) -> str:
    return render_seconds((app.finished_ms - app.started_ms) / 1000) if app.finished_ms else ""


def _say(line: str) -> None:
    click.echo(line, err=True)


def main() -> None:
    """Run ``tony_py`` and leave with its exit status."""
    sys.exit(run(tony_py))


if __name__ == "__main__":
    main()
