"""``yarnmill models``: the registry from a shell."""

from pathlib import Path
from typing import get_args

import click

from yarnmill.bundle.manifest import Flavour
from yarnmill.cli.models_alerts import alerts
from yarnmill.cli.models_drift import drift
from yarnmill.cli.models_environments import environments
from yarnmill.cli.models_options import environment_option, expected_option, print_endpoint, say
from yarnmill.cli.models_projects import projects
from yarnmill.cli.models_route import route
from yarnmill.cli.models_schemas import schemas
from yarnmill.cli.models_show import show
from yarnmill.cli.options import moment, output_option, print_json, print_table, with_config
from yarnmill.config import Config
from yarnmill.errors import NotFoundError
from yarnmill.records import parse_yaml
from yarnmill.registry import Registry
from yarnmill.registry.engine import open_engine
from yarnmill.registry.gates import Gate
from yarnmill.registry.migrate import migrate as migrate_database
from yarnmill.registry.names import parse_version_name
from yarnmill.registry.retention import Policy
from yarnmill.registry.schema import HEAD


@click.group()
def models() -> None:
    """Models, and which of their versions answer."""


models.add_command(alerts)
models.add_command(schemas)
models.add_command(drift)
models.add_command(environments)
models.add_command(projects)
models.add_command(route)
models.add_command(show)


@models.command("list")
@output_option
@with_config
def list_models(output: str, config: Config) -> None:
    """List every model."""
    found = Registry(config.registry_url).versions.models()
    if output == "json":
        print_json(found)
        return
    rows = [(model.name, model.project, model.versions, model.deployed or "-") for model in found]
    print_table("models", ["model", "project", "versions", "answers"], rows)


@models.command()
@click.argument("output_url")
@click.option("--model", required=True, help="Name of the model; it need not be there yet.")
@click.option("--flavour", required=True, type=click.Choice(get_args(Flavour)), help="How the model was trained.")
@click.option("--onnx", "as_onnx", is_flag=True, help="Convert a model of scikit-learn, XGBoost or LightGBM to ONNX.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label of the version.")
@click.option(
    "--transformer",
    type=click.Path(path_type=Path),
    default=None,
    help="YAML of what stands between a request and the model: lookups of features, encoders, expressions.",
)
@click.option("--properties", is_flag=True, help="Print key=value lines, which a workflow's shell action captures.")
@output_option
@with_config
def publish(  # noqa: PLR0913  # click's options
    output_url: str,
    *,
    model: str,
    flavour: Flavour,
    as_onnx: bool,
    labels: tuple[str, ...],
    transformer: Path | None,
    properties: bool,
    output: str,
    config: Config,
) -> None:
    """Make the training output at OUTPUT_URL the next version of a model; the same output again changes nothing."""
    # What opens a model loads its libraries: not for the other commands.
    from yarnmill.lifecycle.publish import publish as publish_output  # noqa: PLC0415

    named = parse_labels(labels)
    published = publish_output(
        output_url, model, flavour, config, say, as_onnx=as_onnx, labels=named, transformer=transformer
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
@environment_option
@expected_option
@output_option
@with_config
def deploy(  # click's options
    model: str, version: int, *, environment: str | None, expected: int | None, output: str, config: Config
) -> None:
    """Fetch, verify and open VERSION of MODEL, then let it answer alone."""
    from yarnmill.lifecycle.deploy import deploy as deploy_version  # noqa: PLC0415  # as above

    endpoint = deploy_version(model, version, config, environment=environment, expected=expected, progress=say)
    print_endpoint(endpoint, output)


@models.command()
@click.argument("model")
@click.argument("version", type=int)
@click.option("--gate", "gate_file", required=True, type=click.Path(), help="YAML file of the rules it must pass.")
@click.option("--scores", default=None, metavar="URL", help="Its scores, for rules on the same rows.")
@click.option("--serving-scores", default=None, metavar="URL", help="The serving version's scores of the same rows.")
@environment_option
@output_option
@with_config
def promote(  # noqa: PLR0913  # click's options
    model: str,
    version: int,
    *,
    gate_file: str,
    scores: str | None,
    serving_scores: str | None,
    environment: str | None,
    output: str,
    config: Config,
) -> None:
    """Judge VERSION of MODEL by a gate, and let it answer if it passes (exit status 20 if not)."""
    from yarnmill.lifecycle.promote import GateFailedError  # noqa: PLC0415  # as above
    from yarnmill.lifecycle.promote import promote as promote_version  # noqa: PLC0415
    from yarnmill.lifecycle.scorepairs import ScoreTables  # noqa: PLC0415

    if (scores is None) != (serving_scores is None):
        raise click.UsageError("--scores and --serving-scores go together")
    path = Path(gate_file)
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file", expected="a gate's rules in YAML")
    tables = None if scores is None or serving_scores is None else ScoreTables(candidate=scores, serving=serving_scores)
    gate = parse_yaml(path.read_text(), Gate, source=str(path))
    try:
        promotion = promote_version(model, version, gate, config, environment=environment, scores=tables, progress=say)
    except GateFailedError as failure:
        if output == "json":
            print_json(failure.promotion)
        raise
    if output == "json":
        print_json(promotion)
        return
    click.echo(f"{model}: version {version} passed its gate and answers (revision {promotion.revision})")


@models.command("roll-back")
@click.argument("model")
@environment_option
@expected_option
@output_option
@with_config
def roll_back(model: str, *, environment: str | None, expected: int | None, output: str, config: Config) -> None:
    """Bring back the rule of MODEL that stood before the present one."""
    print_endpoint(Registry(config.registry_url).endpoints.roll_back(model, environment, expected=expected), output)


@models.command()
@click.argument("model")
@environment_option
@expected_option
@output_option
@with_config
def stop(model: str, *, environment: str | None, expected: int | None, output: str, config: Config) -> None:
    """Let nothing answer for MODEL; its versions run on."""
    print_endpoint(Registry(config.registry_url).endpoints.stop(model, environment, expected=expected), output)


@models.command()
@click.argument("model")
@click.argument("version", type=int)
@environment_option
@output_option
@with_config
def undeploy(model: str, version: int, *, environment: str | None, output: str, config: Config) -> None:
    """Take VERSION of MODEL out of an environment; refused while it serves."""
    endpoint = Registry(config.registry_url).deployments.undeploy(model, version, environment)
    if output == "json":
        print_json(endpoint)
        return
    click.echo(f"{model}/{version} in {endpoint.environment}: {endpoint.status}")


@models.command()
@click.argument("one")
@click.argument("other")
@output_option
@with_config
def compare(one: str, other: str, output: str, config: Config) -> None:
    """Compare two versions, each MODEL/VERSION: metrics, configuration, inputs, libraries, labels."""
    from yarnmill.registry.compare import compare as compare_versions  # noqa: PLC0415  # reads bundles

    registry = Registry(config.registry_url)
    first, second = (registry.versions.get(*parse_version_name(name)) for name in (one, other))
    differences = compare_versions(first, second)
    if output == "json":
        print_json(differences)
        return
    rows = [(each.kind, each.name, each.one, each.other, each.change) for each in differences]
    print_table(f"{one} and {other}", ["what", "name", one, other, "change"], rows)


@models.command("gc")
@click.option("--keep", type=click.IntRange(1), default=10, show_default=True, help="Newest versions of each model.")
@click.option(
    "--served-within-days", type=float, default=30.0, show_default=True, help="Keep what served within so many days."
)
@click.option("--model", default=None, help="This model only.")
@click.option("--apply", "is_applied", is_flag=True, help="Retire them; without it the plan is printed.")
@output_option
@with_config
def collect(  # click's options
    *, keep: int, served_within_days: float, model: str | None, is_applied: bool, output: str, config: Config
) -> None:
    """Retire versions that nobody needs and delete their blobs: the plan, unless --apply is given.

    Never one that serves or runs, served lately, is what a kept one was made from, or has the label `keep`.
    """
    from yarnmill.lifecycle.retire import retire  # noqa: PLC0415  # opens stores

    registry = Registry(config.registry_url)
    policy = Policy(keep=keep, served_within_days=served_within_days)
    planned = registry.retention.plan(policy, model)
    if not is_applied:
        if output == "json":
            print_json({"would_retire": planned})
            return
        rows = [(f"{one.model}/{one.version}", one.bundle_id[:12], moment(one.created_at)) for one in planned]
        print_table("would be retired (--apply does it)", ["version", "bundle", "made"], rows)
        return
    retired = retire(registry, policy, planned, say)
    if output == "json":
        print_json(retired)
        return
    click.echo(f"{len(retired.versions)} versions retired, {retired.deleted_blobs} blobs deleted")


@models.command()
@output_option
@with_config
def migrate(output: str, config: Config) -> None:
    """Bring the registry's database to the newest schema; an embedded one is brought there by itself."""
    migrate_database(open_engine(config.registry_url))
    if output == "json":
        print_json({"schema": HEAD})
        return
    click.echo(f"registry: schema {HEAD}")


def parse_labels(texts: tuple[str, ...]) -> dict[str, str]:
    """Return labels from ``key=value`` texts."""
    labels = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"{text!r} is no label: it needs KEY=VALUE")
        labels[key] = value
    return labels
