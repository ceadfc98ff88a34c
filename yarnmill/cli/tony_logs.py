"""``tony_py logs``: what tasks have written, and what they write."""

import sys
from typing import Final

import click

from tony_py.listing import is_over
from tony_py.local import local_folder
from tony_py.logs import DRIVER, await_logs, finished_logs, is_of_task
from tony_py.lookup import Found, find_application, is_local
from tony_py.tailing import follow_logs, source_of
from yarnmill.cli.options import with_config
from yarnmill.config import Config
from yarnmill.errors import NotFoundError

_COLOURS: Final = ("cyan", "magenta", "yellow", "green", "blue", "bright_cyan", "bright_magenta", "bright_yellow")


@click.command()
@click.argument("application_id")
@click.option("-f", "--follow", is_flag=True, help="Go on until the application ends.")
@click.option(
    "--task", "tasks", multiple=True, metavar="TASK", help="worker:1, or worker for all of them, or driver; repeatable."
)
@with_config
def logs(application_id: str, follow: bool, tasks: tuple[str, ...], config: Config) -> None:  # noqa: FBT001  # click passes options by name
    """Print what the tasks of APPLICATION_ID have written, of a running one too.

    With -f each line comes as it is written, behind the name of its task.
    """
    found = find_application(application_id, config)
    _refuse_unknown(found, tasks)
    if follow and found.is_running:
        _follow(found, tasks, config)
    elif is_local(application_id):
        _print_local(found, tasks, config)
    else:
        _print(found, tasks)


def _follow(found: Found, tasks: tuple[str, ...], config: Config) -> None:
    if found.entry is None:
        raise NotFoundError(
            f"{found.application_id}: it has not begun yet, and the index does not know it",
            mend=f"a moment later: tony_py logs -f {found.application_id}",
        )
    follow_logs(source_of(found.entry, local_folder(config)), tasks, _Emitter(), lambda: is_over(found, config))


def _print_local(found: Found, tasks: tuple[str, ...], config: Config) -> None:
    if found.entry is not None:
        follow_logs(source_of(found.entry, local_folder(config)), tasks, _Emitter(), lambda: True)


def _print(found: Found, tasks: tuple[str, ...]) -> None:
    names = {each.container_id: each.task for each in found.events if each.container_id and each.task}
    wanted = [container for container, task in names.items() if is_of_task(task, tasks)]
    only = wanted[0] if tasks and len(wanted) == 1 else ""
    await_logs(found.application_id, lambda line: click.echo(line, err=True))
    for file in finished_logs(found.application_id, only):
        task = names.get(file.container_id, DRIVER)
        if is_of_task(task, tasks) and file.data:
            click.secho(f"{task}  {file.container_id}  {file.name}", bold=True)
            click.echo(file.data.decode(errors="replace").rstrip("\n"))
            click.echo()


class _Emitter:
    """Prints lines behind the names of their tasks; each task keeps its colour."""

    def __init__(self) -> None:
        self._colours: dict[str, str] = {}

    def __call__(self, task: str, line: str) -> None:
        colour = self._colours.setdefault(task, _COLOURS[len(self._colours) % len(_COLOURS)])
        click.echo(f"{click.style(task, fg=colour)} {line}")
        sys.stdout.flush()


def _refuse_unknown(found: Found, tasks: tuple[str, ...]) -> None:
    names = {each.task for each in found.events if each.task} | {task.task for task in found.run.tasks}
    known = {*names, *(name.partition(":")[0] for name in names), DRIVER}
    unknown = [task for task in tasks if task not in known]
    if unknown and names:
        raise NotFoundError(
            f"{unknown[0]}: no such task in {found.application_id}", expected=f"one of {', '.join(sorted(known))}"
        )
