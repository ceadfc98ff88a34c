"""``yarnmill bundle mobile``: forms of a model for phones."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from yarnmill.blobs import is_content_id, open_store
from yarnmill.bundle.cache import HeldBundle
from yarnmill.bundle.manifest import bundle_id, manifest_bytes
from yarnmill.bundle.store import fetch_held, put_bundle
from yarnmill.cli.bundle_fresh import fresh_folder
from yarnmill.cli.options import output_option, print_json, with_config
from yarnmill.config import Config

if TYPE_CHECKING:
    from yarnmill.flavours.mobile import Form


@click.command()
@click.argument("name", metavar="ID|FOLDER")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--form", required=True, type=click.Choice(["quantised-onnx", "litert"]), help="What to make of it.")
@click.option(
    "--rows",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    help="Labelled rows to measure the loss of accuracy on, as example.json has them [the bundle's example].",
)
@click.option("--put", "stores", is_flag=True, help="Put the bundle into the blob store, too [storage.blobs].")
@output_option
@with_config
def mobile(  # noqa: PLR0913  # its options
    name: str, folder: Path, form: "Form", rows: Path | None, output: str, config: Config, *, stores: bool
) -> None:
    """Make a mobile form of a bundle in the fresh local FOLDER, a bundle of its own, and print its id."""
    # What opens a model loads its libraries: not for the other commands.
    from yarnmill.flavours.mobile import make_mobile  # noqa: PLC0415

    with held_bundle(name, config) as source, fresh_folder(folder):
        manifest = make_mobile(form, source.folder, folder, rows, config.training_python)
    if stores:
        put_bundle(open_store(config.storage.blobs), folder, manifest)
    comparison = manifest.comparisons[-1]
    if output == "json":
        print_json({"bundle_id": bundle_id(manifest_bytes(manifest)), "comparison": comparison})
        return
    click.echo(f"largest difference to ONNX over {comparison.rows} rows: {comparison.largest_difference:.3g}", err=True)
    for metric, value in comparison.metrics.items():
        click.echo(f"{metric} {value:.6g}", err=True)
    click.echo(bundle_id(manifest_bytes(manifest)))


def held_bundle(name: str, config: Config) -> HeldBundle:
    """Return a bundle by its id, fetched into the cache, or by its local folder."""
    if is_content_id(name):
        store = open_store(config.storage.blobs)
        cache = config.home_path / "cache" / "bundles"
        return fetch_held(store, name, cache, limit_bytes=config.bundles.limit_bytes)
    return HeldBundle(Path(name))
