"""``yarnmill models schemas``: which columns are a model's features, its answers, and what came true."""

import click

from yarnmill.cli.options import output_option, print_json, print_table, with_config
from yarnmill.config import Config
from yarnmill.registry import Registry


@click.group()
def schemas() -> None:
    """Model schemas, which Merlin's clients set: columns of features, of answers, and of what came true."""


@schemas.command("list")
@click.argument("model", required=False)
@output_option
@with_config
def list_schemas(model: str | None, output: str, config: Config) -> None:
    """List the schemas of MODEL, or all; `--output json` has every column."""
    found = Registry(config.registry_url).schemas.find(model)
    if output == "json":
        print_json(found)
        return
    rows = []
    for one in found:
        output_of = one.spec.model_prediction_output
        answers, truth = output_of.columns
        rows.append((one.model, one.id, len(one.spec.feature_types), type(output_of).__name__, answers, truth or "-"))
    print_table("schemas", ("model", "schema", "features", "output", "answer", "what came true"), rows)
