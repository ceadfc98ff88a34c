"""``yarnmill bundle``: model bundles from a shell."""

from pathlib import Path
from typing import get_args

import click

from yarnmill.blobs import BlobStore, is_content_id, open_store
from yarnmill.bundle.diff import compare_bundles
from yarnmill.bundle.manifest import Comparison, Field, Flavour, Manifest, bundle_id, manifest_bytes, said_form
from yarnmill.bundle.pack import read_manifest, verify_bundle
from yarnmill.bundle.store import fetch_bundle, put_bundle, read_bundle_manifest, verify_stored
from yarnmill.cli.bundle_diff import print_difference
from yarnmill.cli.bundle_fresh import fresh_folder
from yarnmill.cli.bundle_mobile import held_bundle, mobile
from yarnmill.cli.options import output_option, print_json, print_table, with_config
from yarnmill.config import Config
from yarnmill.units import render_bytes


@click.group()
def bundle() -> None:
    """Model bundles: folders whose id covers every byte."""


@bundle.command()
@click.argument("output_url")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--flavour", required=True, type=click.Choice(get_args(Flavour)), help="How the model was trained.")
@click.option("--onnx", "as_onnx", is_flag=True, help="Convert a model of scikit-learn, XGBoost or LightGBM to ONNX.")
@click.option("--put", "stores", is_flag=True, help="Put the bundle into the blob store, too [storage.blobs].")
@output_option
@with_config
def pack(  # noqa: PLR0913  # its options
    output_url: str, folder: Path, flavour: Flavour, output: str, config: Config, *, as_onnx: bool, stores: bool
) -> None:
    """Pack the training output at OUTPUT_URL into the fresh local FOLDER and print the bundle's id."""
    # What opens a model loads its libraries: not for the commands below.
    from yarnmill.lifecycle.publish import pack_output  # noqa: PLC0415

    with fresh_folder(folder):
        manifest = pack_output(output_url, flavour, folder, config, as_onnx=as_onnx)
    if stores:
        put_bundle(open_store(config.storage.blobs), folder, manifest)
    packed = bundle_id(manifest_bytes(manifest))
    if output == "json":
        print_json({"bundle_id": packed})
        return
    click.echo(packed)


@bundle.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--rows", required=True, type=click.Path(path_type=Path), help="Some rows of its inputs, as example.json has them."
)
@with_config
def adopt(model: Path, output: Path, rows: Path, config: Config) -> None:
    """Write a SavedModel, or a file of TorchScript or torch.export, as a training run would, into the fresh OUTPUT.

    MODEL itself is asked what it takes, gives and answers. What it prints is the flavour to pack or publish OUTPUT by.
    """
    from yarnmill.lifecycle.adopted import adopt as adopt_model  # noqa: PLC0415  # as above

    click.echo(adopt_model(model, rows, output, config))


@bundle.command()
@click.argument("name", metavar="ID|FOLDER")
@output_option
@with_config
def show(name: str, output: str, config: Config) -> None:
    """Show the manifest of a bundle in the blob store (by ID) or in a local FOLDER."""
    manifest = _manifest(name, config)
    if output == "json":
        print_json(manifest)
        return
    _print(manifest)


@bundle.command()
@click.argument("before", metavar="ID|FOLDER")
@click.argument("after", metavar="ID|FOLDER")
@output_option
@with_config
def diff(before: str, after: str, output: str, config: Config) -> None:
    """Show what differs between two bundles, and whether the second can stand in for the first.

    Exit status 0 if they are the same, 1 if they differ.
    """
    difference = compare_bundles(_manifest(before, config), _manifest(after, config))
    if output == "json":
        print_json(difference)
    else:
        print_difference(difference)
    click.get_current_context().exit(0 if difference.is_same else 1)


@bundle.command()
@click.argument("name", metavar="ID|FOLDER")
@click.option("--files-only", is_flag=True, help="Do not open the model: its library need not be here.")
@output_option
@with_config
def verify(name: str, output: str, config: Config, *, files_only: bool) -> None:
    """Read every byte of a bundle in the blob store (by ID) or in a local FOLDER, and ask the model its example.

    Exit status 21 if a byte or an answer is not what it was.
    """
    manifest = verify_stored(_store(config), name) if is_content_id(name) else verify_bundle(Path(name))
    verified = bundle_id(manifest_bytes(manifest))
    if output == "json":
        difference = None if files_only else _difference(name, config)
        print_json({"bundle_id": verified, "files": len(manifest.files), "largest_difference": difference})
        return
    click.echo(f"{verified}: {len(manifest.files)} files, all sound")
    if not files_only:
        click.echo(_example_answered(_difference(name, config)))


@bundle.command()
@click.argument("bundle", metavar="ID")
@click.option(
    "--cache", type=click.Path(path_type=Path), default=None, help="Folder of bundles by id [<home>/cache/bundles]."
)
@output_option
@with_config
def fetch(bundle: str, cache: Path | None, output: str, config: Config) -> None:
    """Fetch bundle ID from the blob store into a local cache, verified, and print its folder."""
    folder = cache or config.home_path / "cache" / "bundles"
    fetched = fetch_bundle(_store(config), bundle, folder, limit_bytes=config.bundles.limit_bytes)
    if output == "json":
        print_json({"bundle_id": bundle, "folder": str(fetched)})
        return
    click.echo(fetched)


bundle.add_command(mobile)


def _store(config: Config) -> BlobStore:
    return open_store(config.storage.blobs)


def _manifest(name: str, config: Config) -> Manifest:
    return read_bundle_manifest(_store(config), name) if is_content_id(name) else read_manifest(Path(name))


def _difference(name: str, config: Config) -> float | None:
    """Return how far the model is from its example's answers, None if the bundle is of before there were examples."""
    # What opens a model loads its libraries: not for the other commands.
    from yarnmill.flavours.example import check_example  # noqa: PLC0415
    from yarnmill.flavours.open import open_predictor  # noqa: PLC0415

    with held_bundle(name, config) as bundle:
        return check_example(
            open_predictor(bundle.folder, allow_code=config.bundles.allow_code, training_python=config.training_python),
            bundle.folder,
        )


def _example_answered(difference: float | None) -> str:
    if difference is None:
        return "example: none, as in every bundle of schema version 1"
    return f"example: answered as when it was packed (largest difference {difference:.2g})"


def _print(manifest: Manifest) -> None:
    lineage = manifest.lineage
    click.echo(f"bundle {bundle_id(manifest_bytes(manifest))}")
    flavour = said_form(manifest.flavour, manifest.form)
    click.echo(f"flavour {flavour}, made {manifest.created_at.isoformat()} by run {lineage.run_id}")
    click.echo(f"application {lineage.application_id or '-'}, code {lineage.code_version}")
    for url in lineage.inputs:
        click.echo(f"input {url}")
    print_table("metrics", ["name", "value"], list(manifest.metrics.items()))
    print_table(
        "signature", ["", "name", "dtype", "shape"], [_field_row(manifest, field) for field in _fields(manifest)]
    )
    files = [(file.path, render_bytes(file.size_bytes), file.sha256) for file in manifest.files]
    print_table("files", ["path", "size", "SHA-256"], files)
    if manifest.comparisons:
        rows = [_comparison_row(each) for each in manifest.comparisons]
        print_table("comparisons", ["form", "against", "rows", "largest difference", "metrics"], rows)


def _comparison_row(each: Comparison) -> tuple[str, str, int, str, str]:
    metrics = "\n".join(f"{name} {value:.6g}" for name, value in each.metrics.items())
    return each.form, each.reference, each.rows, f"{each.largest_difference:.3g}", metrics


def _fields(manifest: Manifest) -> tuple[Field, ...]:
    return (*manifest.signature.inputs, *manifest.signature.outputs)


def _field_row(manifest: Manifest, field: Field) -> tuple[str, str, str, str]:
    kind = "input" if field in manifest.signature.inputs else "output"
    return kind, field.name, field.dtype, str(list(field.shape))
