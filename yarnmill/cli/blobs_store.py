"""What the commands of ``yarnmill blobs`` share."""

import functools
from collections.abc import Callable
from typing import Any

import click

from yarnmill.blobs import BlobStore, FileSystemBlobStore, open_store
from yarnmill.blobs.ids import name_of
from yarnmill.cli.options import with_config
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError

root_option = click.option("--root", default=None, help="Root of the store: file://… or hdfs://… [storage.blobs].")


def with_store(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``--root`` and the configuration's options; pass the store they name as ``store``."""

    @with_config
    @root_option
    @functools.wraps(function)
    def command(config: Config, root: str | None, **arguments: Any) -> None:  # noqa: ANN401  # click's own
        function(store=open_store(root or config.storage.blobs), **arguments)

    return command


def files_of(store: BlobStore) -> FileSystemBlobStore:
    """Return a store whose files are ours to keep; ConfigurationError if another does that."""
    if not isinstance(store, FileSystemBlobStore):
        raise ConfigurationError(f"{store.url}: keeps house by itself", expected="file:// or hdfs://")
    return store


def shown(blob_id: str) -> str:
    """Return a blob's name if it has one, else its id."""
    return str(name_of(blob_id) or blob_id)
