"""``yarnmill blobs``: the immutable blob store from a shell."""

import functools
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from yarnmill.blobs import BlobStore, open_store
from yarnmill.blobs.scrub import scrub
from yarnmill.cli.options import output_option, print_json, print_table, with_config
from yarnmill.config import Config
from yarnmill.errors import BadDataError
from yarnmill.units import render_bytes


@click.group()
def blobs() -> None:
    """Immutable blobs: written once, named by the SHA-256 of their bytes, verified on every read."""


def _with_store(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``--root`` and the configuration's options; pass the store they name as ``store``."""

    @with_config
    @click.option("--root", default=None, help="Root of the store: file://… or hdfs://… [storage.blobs].")
    @functools.wraps(function)
    def command(config: Config, root: str | None, **arguments: Any) -> None:  # noqa: ANN401  # click's own
        function(store=open_store(root or config.storage.blobs), **arguments)

    return command


@blobs.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@_with_store
@output_option
def put(files: tuple[str, ...], store: BlobStore, output: str) -> None:
    """Store FILES (`-`: standard input) and print their ids."""
    infos = []
    for name in files:
        with click.open_file(name, "rb") as stream:
            infos.append(store.put(stream))
    if output == "json":
        print_json(infos)
        return
    for info, name in zip(infos, files, strict=True):
        click.echo(f"{info.id}  {name}")


@blobs.command()
@click.argument("blob_id")
@click.argument("path", type=click.Path(path_type=Path, allow_dash=True))
@_with_store
def get(blob_id: str, path: Path, store: BlobStore) -> None:
    """Write blob BLOB_ID to the fresh file PATH, or to standard output (`-`), once every byte is verified."""
    if str(path) != "-":
        store.download(blob_id, path)
        return
    with store.open(blob_id) as stream:
        shutil.copyfileobj(stream, sys.stdout.buffer)


@blobs.command()
@_with_store
@output_option
def ls(store: BlobStore, output: str) -> None:
    """List every blob with its size."""
    infos = (store.stat(blob_id) for blob_id in store.ids())
    if output == "json":
        print_json(list(infos))
        return
    for info in infos:
        click.echo(f"{info.id}  {info.size_bytes}")


@blobs.command()
@click.argument("blob_id")
@_with_store
@output_option
def stat(blob_id: str, store: BlobStore, output: str) -> None:
    """Show what is known of blob BLOB_ID without reading it."""
    info = store.stat(blob_id)
    if output == "json":
        print_json(info)
        return
    click.echo(f"{info.id}  {info.size_bytes}")


@blobs.command()
@_with_store
@output_option
def verify(store: BlobStore, output: str) -> None:
    """Read every blob and report all damage; exit status 21 if there is any. Nothing is changed."""
    report = scrub(store)
    if output == "json":
        print_json(report)
    else:
        click.echo(
            f"{report.store}: {report.blobs} blobs, {render_bytes(report.size_bytes)}, {len(report.damaged)} damaged"
        )
        if report.damaged:
            rows = [(damage.blob, damage.size_bytes, damage.problem) for damage in report.damaged]
            print_table("damaged", ["blob", "bytes", "problem"], rows)
    if report.damaged:
        raise BadDataError(
            f"{report.store}: {len(report.damaged)} damaged of {report.blobs} blobs",
            mend="keep the damaged files for inspection under other names, then put the blobs again from their source",
        )
