"""``yarnmill models projects``: whose models are whose."""

import click

from yarnmill.cli.options import output_option, print_json, print_table, with_config
from yarnmill.config import Config
from yarnmill.registry import Registry


@click.group()
def projects() -> None:
    """Projects: whose models are whose."""


@projects.command("list")
@output_option
@with_config
def list_projects(output: str, config: Config) -> None:
    """List every project."""
    found = Registry(config.registry_url).projects.find()
    if output == "json":
        print_json(found)
        return
    rows = [(one.name, one.team or "-", ", ".join(one.administrators), ", ".join(one.readers)) for one in found]
    print_table("projects", ["project", "team", "administrators", "readers"], rows)


@projects.command()
@click.argument("name")
@click.option("--team", default=None, help="Team that owns it.")
@click.option("--administrator", "administrators", multiple=True, help="Who may change it; may be given again.")
@click.option("--reader", "readers", multiple=True, help="Who may read it; may be given again.")
@output_option
@with_config
def update(  # click's options
    name: str,
    *,
    team: str | None,
    administrators: tuple[str, ...],
    readers: tuple[str, ...],
    output: str,
    config: Config,
) -> None:
    """Change the project NAME, made if it is not there."""
    registry = Registry(config.registry_url)
    registry.projects.ensure(name)
    changed = registry.projects.update(name, team=team, administrators=administrators or None, readers=readers or None)
    if output == "json":
        print_json(changed)
        return
    click.echo(f"project {changed.name}: team {changed.team or '-'}")
