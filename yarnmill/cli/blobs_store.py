"""What the commands of ``yarnmill blobs`` share."""

import functools
from collections.abc import Callable
from typing import Any

import click

from yarnmill.blobs import BlobStore, FileSystemBlobStore, open_store, parse_name
from yarnmill.cli.options import with_config
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError, NotFoundError

root_option = click.option("--root", default=None, help="Root of the store: file://… or hdfs://… [storage.blobs].")


def with_store(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``--root`` and the configuration's options; pass the store they name as ``store``."""

    @with_config
    @root_option
    @functools.wraps(function)
    def command(config: Config, root: str | None, **arguments: Any) -> None:  # noqa: ANN401  # click's own
        function(store=open_store(root or config.storage.blobs), **arguments)

    return command


def refuse_no_store(store: BlobStore) -> None:
    """Raise NotFoundError if nothing was ever put where a store should be: the root is another, or a disk not there."""
    if isinstance(store, FileSystemBlobStore) and not store.places.is_begun:
        raise NotFoundError(
            f"{store.url}: no blob store is there",
            expected="the root of one that something was put into",
            mend="--root, or the key storage.blobs",
        )


def files_of(store: BlobStore) -> FileSystemBlobStore:
    """Return a store whose files are ours to keep; ConfigurationError if another does that."""
    if not isinstance(store, FileSystemBlobStore):
        raise ConfigurationError(f"{store.url}: keeps house by itself", expected="file:// or hdfs://")
    return store


def blob_id_of(text: str) -> str:
    """Return the id of a blob that was given by its id or by its name."""
    return parse_name(text).id if "/" in text else text
