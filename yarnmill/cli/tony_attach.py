"""``tony_py attach``, and what it shares with ``submit``: a run followed to its end, in a table or in lines."""

import time
from typing import Final

import click

from tony_py import client
from tony_py.application import Application
from tony_py.following import DetachedError, follow
from tony_py.local import local_folder, run_local
from tony_py.lookup import Found, find_application, index_of, is_local
from tony_py.viewing import View
from yarnmill.cli.options import output_option, print_json, print_table, with_config
from yarnmill.cli.tony_view import detached, open_view
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError, JobFailedError, NotFoundError
from yarnmill.report import RunReport

_BEGINNING_S: Final = 1.0


@click.command()
@click.argument("application_id")
@output_option
@with_config
def attach(application_id: str, output: str, config: Config) -> int:
    """Follow APPLICATION_ID, wherever it was sent from; exit status 0 only if it succeeded."""
    if is_local(application_id):
        raise ConfigurationError(
            f"{application_id}: runs on this machine, in the command that began it",
            mend=f"tony_py logs -f {application_id}",
        )
    with open_view(output) as view:
        try:
            report = _follow(find_application(application_id, config), view, config)
        except DetachedError:
            return detached(application_id, view)
    print_report(report, output)
    return 0


def _follow(found: Found, view: View, config: Config) -> RunReport:
    while found.entry is None and found.is_running:  # sent by another program, and its driver has not begun
        time.sleep(_BEGINNING_S)
        found = find_application(found.application_id, config)
    if found.application is not None and found.entry is not None:
        return follow(found.entry, view, index_of(found.application_id, config), client.kill)
    if found.report is None:
        raise NotFoundError(
            f"{found.application_id}: it has ended, and its report is not known",
            mend=f"tony_py status {found.application_id}",
        )
    return _succeeded(found.report)


def _succeeded(report: RunReport) -> RunReport:
    if report.state != "succeeded":
        name = report.application_id
        raise JobFailedError(f"{name} failed: {report.exit_reason}", mend=f"tony_py diagnose {name}")
    return report


def run_attached(application: Application, config: Config, output: str, *, overwrite: bool, local: bool) -> int:
    """Run an application, show it meanwhile and its report in the end; return the exit status."""
    with open_view(output) as view:
        try:
            if local:
                folder = local_folder(config)
                report = _succeeded(run_local(application, config, folder, overwrite=overwrite, view=view))
            else:
                report, _ = client.run_application(application, config, view, overwrite=overwrite)
        except DetachedError as left:
            return detached(left.application_id, view)
    print_report(report, output)
    return 0


def print_report(report: RunReport, output: str) -> None:
    """Print how a run ended."""
    if output == "json":
        print_json(report)
        return
    rows = [(task.task, task.exit_code, task.container_id, task.host) for task in report.tasks]
    print_table(f"{report.application_id}: {report.state}", ["task", "exit code", "container", "host"], rows)
    print_table("metrics", ["metric", "value"], sorted(report.metrics.items()))
