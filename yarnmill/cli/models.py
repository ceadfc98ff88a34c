"""``yarnmill models``: the registry from a shell."""

from typing import get_args

import click

from yarnmill.bundle.manifest import Flavour
from yarnmill.cli.options import output_option, print_json, print_table, with_config
from yarnmill.config import Config
from yarnmill.registry import ModelVersion, Registry
from yarnmill.registry.engine import open_engine
from yarnmill.registry.migrate import migrate as migrate_database
from yarnmill.registry.schema import HEAD


@click.group()
def models() -> None:
    """Models, their versions, and which version answers."""


@models.command("list")
@output_option
@with_config
def list_models(output: str, config: Config) -> None:
    """List every model."""
    found = Registry(config.registry_url).models()
    if output == "json":
        print_json(found)
        return
    rows = [(model.name, model.project, model.versions, model.deployed or "-") for model in found]
    print_table("models", ["model", "project", "versions", "deployed"], rows)


@models.command()
@click.argument("model")
@output_option
@with_config
def versions(model: str, output: str, config: Config) -> None:
    """List the versions of MODEL."""
    found = Registry(config.registry_url).versions(model)
    if output == "json":
        print_json(found)
        return
    print_table(
        model, ["version", "flavour", "bundle", "application", "metrics", "when"], [_row(version) for version in found]
    )


@models.command()
@click.argument("model")
@output_option
@with_config
def show(model: str, output: str, config: Config) -> None:
    """Show every deployment of MODEL, newest first, and every change."""
    registry = Registry(config.registry_url)
    deployments, audit = registry.deployments(model), registry.audit(model)
    if output == "json":
        print_json({"deployments": deployments, "audit": audit})
        return
    rows = [(each.revision, each.version, each.bundle_id, _moment(each.changed_at.isoformat())) for each in deployments]
    print_table(f"{model}: deployments", ["revision", "version", "bundle", "when"], rows)
    changes = [(_moment(entry.at.isoformat()), entry.actor, entry.action, entry.before, entry.after) for entry in audit]
    print_table(f"{model}: changes", ["when", "who", "what", "before", "after"], changes)


@models.command()
@click.argument("output_url")
@click.option("--model", required=True, help="Name of the model; it need not be there yet.")
@click.option("--flavour", required=True, type=click.Choice(get_args(Flavour)), help="How the model was trained.")
@click.option("--onnx", "as_onnx", is_flag=True, help="Convert a model of scikit-learn, XGBoost or LightGBM to ONNX.")
@click.option("--properties", is_flag=True, help="Print key=value lines, which a workflow's shell action captures.")
@output_option
@with_config
def publish(  # noqa: PLR0913  # its options
    output_url: str, *, model: str, flavour: Flavour, as_onnx: bool, properties: bool, output: str, config: Config
) -> None:
    """Make the training output at OUTPUT_URL the next version of a model; the same output again changes nothing."""
    # What opens a model loads its libraries: not for the other commands.
    from yarnmill.publish import publish as publish_output  # noqa: PLC0415

    published = publish_output(
        output_url, model, flavour, config, lambda message: click.echo(message, err=True), as_onnx=as_onnx
    )
    if properties:
        click.echo(f"model={published.model}\nversion={published.version}\nbundle_id={published.bundle_id}")
        return
    if output == "json":
        print_json(published)
        return
    click.echo(f"{published.model} version {published.version}  {published.bundle_id}")


@models.command()
@click.argument("model")
@click.argument("version", type=int)
@click.option(
    "--expected", type=int, default=None, help="Refuse unless the endpoint is at this revision (0: none yet)."
)
@output_option
@with_config
def deploy(model: str, version: int, expected: int | None, output: str, config: Config) -> None:
    """Let VERSION of MODEL answer."""
    endpoint = Registry(config.registry_url).deploy(model, version, expected=expected)
    if output == "json":
        print_json(endpoint)
        return
    click.echo(f"{endpoint.model}: version {endpoint.version} answers (revision {endpoint.revision})")


@models.command()
@with_config
def migrate(config: Config) -> None:
    """Bring the registry's database to the newest schema; an embedded one is brought there by itself."""
    migrate_database(open_engine(config.registry_url))
    click.echo(f"registry: schema {HEAD}")


def _row(version: ModelVersion) -> tuple[object, ...]:
    metrics = " ".join(
        f"{name}={value:.4f}" for name, value in sorted(version.metrics.items()) if name.startswith("test_")
    )
    when = _moment(version.created_at.isoformat())
    return version.version, version.flavour, version.bundle_id[:12], version.application_id or "-", metrics, when


def _moment(text: str) -> str:
    return text[:19].replace("T", " ")
