"""``yarnmill oozie``: render workflow definitions, and check them against Oozie's own schemas."""

from pathlib import Path

import click

from oozie.render import render_properties, render_workflow
from oozie.workflow import definitions, read_workflow
from yarnmill.errors import NotFoundError


@click.group("oozie")
def oozie() -> None:
    """Render and check workflow definitions."""


@oozie.command("list")
def list_workflows() -> None:
    """List the workflows that come with YarnMill."""
    for name in definitions():
        click.echo(f"{name}  {read_workflow(name).meaning}")


@oozie.command("render")
@click.argument("workflow")
@click.option("--properties", is_flag=True, help="A job.properties to fill in, instead of the XML.")
def render(workflow: str, *, properties: bool) -> None:
    """Print the workflow.xml of WORKFLOW: a YAML file, or a name from `yarnmill oozie list`."""
    described = read_workflow(workflow)
    click.echo(render_properties(described) if properties else render_workflow(described), nl=False)


@oozie.command("validate")
@click.argument("workflow")
def validate(workflow: str) -> None:
    """Check WORKFLOW (an XML file, a YAML description, or a name) against the schemas of Oozie."""
    from oozie.schema import validate as check  # noqa: PLC0415  # lxml is heavy, and only this needs it

    if workflow.endswith(".xml"):
        path = Path(workflow)
        if not path.is_file():
            raise NotFoundError(f"{workflow}: no such file")
        check(path.read_bytes(), source=workflow)
    else:
        check(render_workflow(read_workflow(workflow)).encode(), source=workflow)
    click.echo(f"{workflow}: valid")
