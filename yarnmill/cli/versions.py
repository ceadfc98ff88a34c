"""``yarnmill versions``: versions of models from a shell."""

import click

from yarnmill.cli.models import parse_labels
from yarnmill.cli.options import moment, output_option, print_json, print_table, with_config
from yarnmill.config import Config
from yarnmill.registry import ModelVersion, Registry
from yarnmill.registry.names import parse_version_name
from yarnmill.registry.search import Query, parse_bound


@click.group()
def versions() -> None:
    """Versions of models: list, show, search, label."""


@versions.command("list")
@click.argument("model")
@output_option
@with_config
def list_versions(model: str, output: str, config: Config) -> None:
    """List the versions of MODEL."""
    _print(model, Registry(config.registry_url).versions.find(model), output)


@versions.command()
@click.argument("name")
@output_option
@with_config
def show(name: str, output: str, config: Config) -> None:
    """Show the version NAME (MODEL/VERSION) with its lineage."""
    model, number = parse_version_name(name)
    registry = Registry(config.registry_url)
    version = registry.versions.get(model, number)
    line = [] if version.parent is None else registry.search.ancestors(model, number)
    if output == "json":
        print_json({"version": version, "ancestors": [one.name for one in line]})
        return
    facts = [
        ("bundle", version.bundle_id),
        ("store", version.blobs_url),
        ("flavour", version.form),
        ("made", f"{moment(version.created_at)} by {version.created_by}"),
        ("run", f"{version.run_id} {version.application_id}".strip()),
        ("MLflow run", version.tracking_run_id or "not there yet"),
        ("made from", " ← ".join(one.name for one in line) or "-"),
        ("code", version.code_version or "-"),
        *(("input", url) for url in version.inputs),
        *(("library", f"{library} {number}") for library, number in sorted(version.libraries.items())),
        *(("label", f"{key}={value}") for key, value in sorted(version.labels.items())),
        *(("metric", f"{key} {value:.6g}") for key, value in sorted(version.metrics.items())),
    ]
    if version.retired_at is not None:
        facts.insert(0, ("retired", moment(version.retired_at)))
    print_table(name, ["what", "value"], facts)


@versions.command()
@click.option("--model", default=None, help="Of this model.")
@click.option("--project", default=None, help="Of this project's models.")
@click.option("--flavour", default=None, help="Of this flavour.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="With this label; may be given again.")
@click.option("--metric", "metrics", multiple=True, metavar="BOUND", help="Such as 'test_auc>=0.7'; again for more.")
@click.option("--input", "inputs", multiple=True, metavar="URL", help="Trained on it; a prefix if it ends in *.")
@click.option("--parent", default=None, metavar="MODEL/VERSION", help="Made from it, directly or not.")
@click.option("--retired", is_flag=True, help="Retired ones too.")
@click.option("--before", default=None, metavar="MODEL/VERSION", help="Go on after the last one of an earlier answer.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="So many at most.")
@output_option
@with_config
def search(  # noqa: PLR0913  # click's options
    *,
    model: str | None,
    project: str | None,
    flavour: str | None,
    labels: tuple[str, ...],
    metrics: tuple[str, ...],
    inputs: tuple[str, ...],
    parent: str | None,
    retired: bool,
    before: str | None,
    limit: int,
    output: str,
    config: Config,
) -> None:
    """Search versions by label, metric, input and parent, newest first; all that is given must hold."""
    query = Query(
        model=model,
        project=project,
        flavour=flavour,
        labels=parse_labels(labels),
        metrics=tuple(parse_bound(text) for text in metrics),
        inputs=inputs,
        parent=parent,
        retired=retired,
        before=before,
        limit=limit,
    )
    _print("versions", Registry(config.registry_url).search.versions(query), output)


@versions.command()
@click.argument("name")
@click.argument("labels", nargs=-1, required=True, metavar="KEY=VALUE…")
@output_option
@with_config
def label(name: str, labels: tuple[str, ...], output: str, config: Config) -> None:
    """Set labels of the version NAME (MODEL/VERSION); KEY= with nothing behind it takes one off."""
    model, number = parse_version_name(name)
    wanted = {key: value or None for key, value in parse_labels(labels).items()}
    version = Registry(config.registry_url).versions.label(model, number, wanted)
    if output == "json":
        print_json(version)
        return
    click.echo(f"{name}: {' '.join(f'{key}={value}' for key, value in sorted(version.labels.items())) or 'no labels'}")


def _print(title: str, found: list[ModelVersion], output: str) -> None:
    if output == "json":
        print_json(found)
        return
    columns = ["version", "flavour", "bundle", "application", "metrics", "labels", "when"]
    print_table(title, columns, [_row(version) for version in found])


def _row(version: ModelVersion) -> tuple[object, ...]:
    metrics = " ".join(
        f"{name}={value:.4f}" for name, value in sorted(version.metrics.items()) if name.startswith("test_")
    )
    labels = " ".join(f"{key}={value}" for key, value in sorted(version.labels.items()))
    when = moment(version.created_at) if version.retired_at is None else f"retired {moment(version.retired_at)}"
    return version.name, version.form, version.bundle_id[:12], version.application_id or "-", metrics, labels, when
