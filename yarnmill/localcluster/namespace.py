"""HDFS's namespace: formatted whole or not at all, with the folders that programs expect."""

import secrets
import subprocess
from collections.abc import Callable, Mapping
from typing import Final

import hdfs_native

from yarnmill import fs
from yarnmill.errors import ClusterUnavailableError
from yarnmill.localcluster import logs
from yarnmill.localcluster.daemons import Launch, daemon_environment, format_command
from yarnmill.localcluster.layout import Layout

_PLATFORM: Final = "/yarnmill"
"""Root of the platform's own folders: where users are no administrators they could not make it."""


def is_formatted(layout: Layout) -> bool:
    """Return whether a whole NameNode folder stands in its place."""
    return (layout.namenode / "current" / "VERSION").exists()


def set_remains_aside(layout: Layout, progress: Callable[[str], None]) -> None:
    """Keep, under another name, what an HDFS without its names left: a new one would refuse to start beside it."""
    if is_formatted(layout):
        return
    for folder in (layout.namenode, layout.datanode):
        if folder.exists():
            aside = folder.with_name(f"{folder.name}.unusable-{secrets.token_hex(4)}")
            folder.rename(aside)
            progress(f"{folder} belongs to no whole HDFS: kept as {aside}")
    for leftover in layout.root.glob(".namenode.*.tmp"):
        fs.delete(leftover)


def format_if_new(
    layout: Layout, launch: Launch, environment: Mapping[str, str], progress: Callable[[str], None]
) -> None:
    """Format HDFS beside its place and rename it, unless it is there: an interrupted format leaves nothing.

    Raises
    ------
    ClusterUnavailableError
        If the NameNode refuses to format, with its reason.
    """
    if is_formatted(layout):
        return
    progress("formatting HDFS")
    fresh = layout.namenode.with_name(f".namenode.{secrets.token_hex(6)}.tmp")
    done = subprocess.run(
        format_command(layout, launch, fresh),
        env=daemon_environment(layout, launch, environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ClusterUnavailableError(
            f"HDFS could not be formatted: {logs.cause_in(done.stdout + done.stderr) or done.stderr[-500:]}",
            mend="yarnmill doctor",
        )
    fresh.rename(layout.namenode)


def make_folders(hdfs_url: str, user: str, *, is_admin: bool = False) -> None:
    """Make the folders that programs expect on every HDFS, and prove by a file that it takes writes.

    Parameters
    ----------
    is_admin
        Whether this process acts as HDFS's administrator and the user is an ordinary one.

    Raises
    ------
    ClusterUnavailableError
        If it does not.
    """
    temporary = "/tmp"  # noqa: S108  # HDFS's, not the machine's
    shared = (temporary, _PLATFORM) if is_admin else (temporary,)
    try:
        client = hdfs_native.Client(hdfs_url)
        for folder in shared:
            client.mkdirs(folder, 0o777, create_parent=True)
            client.set_permission(folder, 0o1777)
    except (OSError, RuntimeError) as problem:
        raise _no_writes(hdfs_url, problem) from None
    make_home(hdfs_url, user, is_admin=is_admin)
    probe = f"{hdfs_url}{temporary}/.yarnmill-up-{secrets.token_hex(6)}"
    fs.write_bytes(probe, b"up")
    fs.delete(probe)


def make_home(hdfs_url: str, user: str, *, is_admin: bool) -> None:
    """Make a user's folder, which the administrator hands over to him."""
    home = f"/user/{user}"
    try:
        client = hdfs_native.Client(hdfs_url)
        client.mkdirs(home, 0o755, create_parent=True)
        if is_admin:
            client.set_owner(home, user)
    except (OSError, RuntimeError) as problem:
        raise _no_writes(hdfs_url, problem) from None


def _no_writes(hdfs_url: str, problem: Exception) -> ClusterUnavailableError:
    return ClusterUnavailableError(f"{hdfs_url} takes no writes: {problem}", mend="yarnmill cluster status")
