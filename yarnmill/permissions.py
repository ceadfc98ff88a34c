"""Who can read a file on HDFS: what YARN asks before it keeps a file for all users of a node."""

from contextlib import suppress
from pathlib import PurePosixPath
from typing import Final

import hdfs_native
from hdfs_native.fsspec import HdfsFileSystem

from yarnmill import fs
from yarnmill.errors import ConfigurationError

_OTHERS_READ: Final = 0o004
_OTHERS_ENTER: Final = 0o001
_PUBLIC_FILE: Final = 0o644
_PUBLIC_FOLDER: Final = 0o755


def is_on_default_hdfs(url: str) -> bool:
    """Return whether a URL names a file on the HDFS of ``HADOOP_CONF_DIR``."""
    return url.startswith(("hdfs:///", f"{fs.default_hdfs_url()}/")) if url.startswith("hdfs:") else False


def is_public(url: str) -> bool:
    """Return whether everybody can read a file on HDFS; for one that is not there yet, whether it could be.

    YARN refuses a public file where this is false: the file's own permissions and those of each folder
    above it count.
    """
    client, path = _client(url)
    status = _status(client, path)
    if status is not None and not status.isdir and not status.permission & _OTHERS_READ:
        return False
    above = (_status(client, str(parent)) for parent in PurePosixPath(path).parents)
    return all(each is None or each.permission & _OTHERS_ENTER for each in above)


def make_public_folder(url: str) -> None:
    """Make a folder and its parents, those that were not there so that everybody can enter and read them."""
    client, path = _client(url)
    chain = [path, *(str(parent) for parent in PurePosixPath(path).parents)]
    missing = [each for each in chain if _status(client, each) is None]
    fs.make_folder(url)
    with fs.translated(url):
        for each in missing:  # whatever the cluster's umask says
            client.set_permission(each, _PUBLIC_FOLDER)


def make_public_file(url: str) -> None:
    """Let everybody read a file."""
    client, path = _client(url)
    with fs.translated(url):
        client.set_permission(path, _PUBLIC_FILE)


def _client(url: str) -> tuple[hdfs_native.Client, str]:
    filesystem, path = fs.locate(url)
    if not isinstance(filesystem, HdfsFileSystem):
        raise ConfigurationError(f"{url}: not on HDFS", expected="hdfs://...")
    return filesystem.client, path


def _status(client: hdfs_native.Client, path: str) -> hdfs_native.FileStatus | None:
    with fs.translated(path), suppress(FileNotFoundError):
        return client.get_file_info(path)
    return None
