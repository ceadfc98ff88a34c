"""``yarnmill models environments``: where versions answer."""

import click

from yarnmill.cli.options import output_option, print_json, print_table, with_config
from yarnmill.config import Config
from yarnmill.registry import Registry


@click.group()
def environments() -> None:
    """Environments: where versions answer."""


@environments.command("list")
@output_option
@with_config
def list_environments(output: str, config: Config) -> None:
    """List every environment."""
    found = Registry(config.registry_url).environments.find()
    if output == "json":
        print_json(found)
        return
    rows = [(one.name, one.target or "-", "yes" if one.is_default else "", one.revision) for one in found]
    print_table("environments", ["environment", "target", "default", "revision"], rows)


@environments.command()
@click.argument("name")
@click.option("--target", default="", help="What its serving tier is reached by, such as a URL.")
@output_option
@with_config
def create(name: str, target: str, output: str, config: Config) -> None:
    """Add the environment NAME; the same again changes nothing."""
    made = Registry(config.registry_url).environments.create(name, target)
    if output == "json":
        print_json(made)
        return
    click.echo(f"environment {made.name}: {made.target or 'no target'}")


@environments.command()
@click.argument("name")
@click.option("--target", default=None, help="What its serving tier is reached by; refused while versions are live.")
@click.option("--default", "is_default", is_flag=True, help="Make it the default environment.")
@output_option
@with_config
def update(name: str, *, target: str | None, is_default: bool, output: str, config: Config) -> None:
    """Change the environment NAME."""
    changed = Registry(config.registry_url).environments.update(name, target=target, is_default=is_default)
    if output == "json":
        print_json(changed)
        return
    click.echo(f"environment {changed.name}: {changed.target or 'no target'}{', the default' * changed.is_default}")
