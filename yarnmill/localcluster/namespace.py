"""HDFS's namespace: formatted whole or not at all, with the folders that programs expect."""

import secrets
import subprocess
from collections.abc import Callable, Mapping

import hdfs_native

from yarnmill import fs
from yarnmill.errors import ClusterUnavailableError
from yarnmill.localcluster import logs
from yarnmill.localcluster.daemons import Launch, daemon_environment, format_command
from yarnmill.localcluster.layout import Layout


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


def make_folders(hdfs_url: str, user: str) -> None:
    """Make the folders that programs expect on every HDFS, and prove by a file that it takes writes.

    Raises
    ------
    ClusterUnavailableError
        If it does not.
    """
    temporary = "/tmp"  # noqa: S108  # HDFS's, not the machine's
    try:
        client = hdfs_native.Client(hdfs_url)
        client.mkdirs(temporary, 0o777, create_parent=True)
        client.set_permission(temporary, 0o1777)
        client.mkdirs(f"/user/{user}", 0o755, create_parent=True)
    except (OSError, RuntimeError) as problem:
        raise ClusterUnavailableError(
            f"{hdfs_url} takes no writes: {problem}", mend="yarnmill cluster status"
        ) from None
    probe = f"{hdfs_url}{temporary}/.yarnmill-up-{secrets.token_hex(6)}"
    fs.write_bytes(probe, b"up")
    fs.delete(probe)
