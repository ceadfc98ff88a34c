"""``yarnmill bundle diff`` as text."""

import click

from yarnmill.bundle.diff import Difference
from yarnmill.cli.options import print_table
from yarnmill.units import render_bytes


def print_difference(difference: Difference) -> None:
    """Print what differs between two bundles; what is the same is left out."""
    if difference.is_same:
        click.echo(f"{difference.before}: the same bundle")
        return
    click.echo(f"before {difference.before}")
    click.echo(f"after  {difference.after}")
    if difference.fields:
        rows = [
            (each.kind, each.name, each.change, each.what, "yes" if each.compatible else "NO")
            for each in difference.fields
        ]
        print_table("signature", ["", "name", "change", "what", "compatible"], rows)
    verdict = "yes" if difference.compatible else "NO: who asks the first cannot ask the second"
    click.echo(f"compatible: {verdict}")
    if difference.files:
        sizes = [
            (each.path, each.change, _size(each.before_bytes), _size(each.after_bytes)) for each in difference.files
        ]
        print_table("files", ["path", "change", "before", "after"], sizes)
    if difference.values:
        values = [(each.section, each.name, _cell(each.before), _cell(each.after)) for each in difference.values]
        print_table("lineage, metrics, environment", ["", "name", "before", "after"], values)


def _size(size: int | None) -> str:
    return "-" if size is None else render_bytes(size)


def _cell(value: str | float | None) -> str | float:
    return "-" if value is None else value
