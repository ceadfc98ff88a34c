"""``yarnmill cluster``: a real Hadoop on this machine."""

import os
import shlex
import signal
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import click

from yarnmill.cli.options import config_options, output_option, print_json, print_table
from yarnmill.config import Config, load_config
from yarnmill.errors import NotFoundError
from yarnmill.localcluster import distribution, logs
from yarnmill.localcluster.cluster import LocalCluster
from yarnmill.localcluster.state import ClusterState
from yarnmill.units import Seconds, render_bytes

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def cluster() -> None:
    """Run a real Hadoop on this machine: NameNode, DataNode, ResourceManager, NodeManagers."""


def _shape_options(function: F) -> F:
    """Add the options that stand for keys of ``cluster.*``."""
    for option in (
        click.option("--secure", is_flag=True, default=None, help="Kerberos and access lists, with a KDC of its own."),
        click.option(
            "--gpus", "nodemanager_gpus", type=click.IntRange(0), help="Countable yarn.io/gpu of each NodeManager."
        ),
        click.option(
            "--vcores", "nodemanager_vcores", type=click.IntRange(1), help="Virtual cores of each NodeManager."
        ),
        click.option(
            "--memory", "nodemanager_memory", metavar="SIZE", help="Memory of each NodeManager, such as '6 GiB'."
        ),
        click.option("--nodemanagers", type=click.IntRange(1, 16), help="Number of NodeManagers."),
    ):
        function = option(function)
    return function


def _cluster_of(config: Config) -> LocalCluster:
    return LocalCluster(config.home_path, config.cluster)


def _progress(text: str) -> None:
    click.echo(text, err=True)


@cluster.command()
@_shape_options
@output_option
@config_options
def up(
    config_file: str | None, overrides: Sequence[str], home: str | None, output: str, **named: str | float | None
) -> None:
    """Start the cluster, or what of it does not run; nothing happens if it is up."""
    shape = [f"cluster.{key}={value}" for key, value in named.items() if value is not None]
    config = load_config(config_file, [*overrides, *shape], home=home)
    # A scheduler that ends this program must not leave half a cluster: end as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    state = _cluster_of(config).up(_progress)
    _print_state(state, output)
    if output == "text":
        option = f" --home {shlex.quote(home)}" if home else ""
        click.echo(f'to use it in this shell: eval "$(yarnmill cluster env{option})"')


@cluster.command()
@config_options
def down(config_file: str | None, overrides: Sequence[str], home: str | None) -> None:
    """Stop all daemons and whatever containers are left."""
    config = load_config(config_file, overrides, home=home)
    count = _cluster_of(config).down(_progress)
    click.echo("the cluster is down" if count else "the cluster was down already")


@cluster.command()
@output_option
@config_options
@click.pass_context
def status(
    ctx: click.Context, config_file: str | None, overrides: Sequence[str], home: str | None, output: str
) -> None:
    """Show daemons, nodes, HDFS and queues; the exit status is 0 only when all of it is up."""
    state = _cluster_of(load_config(config_file, overrides, home=home)).status()
    _print_state(state, output)
    if state.state != "up":
        ctx.exit(10)


def _print_state(state: ClusterState, output: str) -> None:
    if output == "json":
        print_json(state)
        return
    click.echo(f"cluster in {state.root}: {state.state}")
    if state.state == "down":
        return
    rows = [
        (each.name, each.pid or "not running", f"{each.rss_mib} MiB", each.address, each.web) for each in state.daemons
    ]
    print_table(f"daemons ({state.rss_mib} MiB)", ("daemon", "pid", "memory", "address", "web"), rows)
    print_table(
        "nodes",
        ("node", "state", "containers", "memory MiB", "vcores", "GPUs"),
        [
            (
                node.id,
                node.state,
                node.containers,
                f"{node.memory_used_mib}/{node.memory_mib}",
                f"{node.vcores_used}/{node.vcores}",
                f"{node.gpus_used}/{node.gpus}",
            )
            for node in state.nodes
        ],
    )
    print_table(
        "queues",
        ("queue", "state", "capacity %", "used %", "applications"),
        [(q.name, q.state, f"{q.capacity_percent:g}", f"{q.used_percent:.1f}", q.applications) for q in state.queues],
    )
    if state.hdfs is not None:
        safe = ", in safe mode" if state.hdfs.safe_mode else ""
        used, free = render_bytes(state.hdfs.used_bytes), render_bytes(state.hdfs.remaining_bytes)
        click.echo(f"{state.hdfs.url}: {state.hdfs.live_datanodes} DataNode, {used} used, {free} free{safe}")


@cluster.command()
@output_option
@config_options
def env(config_file: str | None, overrides: Sequence[str], home: str | None, output: str) -> None:
    """Print the exports that make hdfs, yarn, skein and spark-submit work in a shell."""
    state = _cluster_of(load_config(config_file, overrides, home=home)).running_state()
    if output == "json":
        print_json(state.environment())
    else:
        click.echo("\n".join(state.render_exports()))


@cluster.command()
@click.option("--user", default="", help="Whose: another user is made if he is new; the ticket's file is printed.")
@click.option("--cache", default=None, metavar="FILE", help="Where to put it.")
@click.option("--lifetime", default="0", metavar="TIME", help="How long it is to live, such as '10 min'.")
@config_options
def kinit(  # one argument an option
    *, user: str, cache: str | None, lifetime: str, config_file: str | None, overrides: Sequence[str], home: str | None
) -> None:
    """Fetch a fresh Kerberos ticket on a cluster that was started with --secure."""
    own = _cluster_of(load_config(config_file, overrides, home=home))
    seconds = int(Seconds.parse(lifetime))
    click.echo(own.fetch_ticket(user, cache=Path(cache).absolute() if cache else None, lifetime_s=seconds))


@cluster.command("logs")
@click.argument("daemon", required=False)
@click.option("-n", "--lines", default=50, show_default=True, type=click.IntRange(0), help="Last lines of each log.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written, until Ctrl-C.")
@config_options
def show_logs(
    daemon: str | None,
    config_file: str | None,
    overrides: Sequence[str],
    home: str | None,
    *,
    lines: int,
    follow: bool,
) -> None:
    """Show the logs of one daemon, or of all."""
    layout = _cluster_of(load_config(config_file, overrides, home=home)).layout
    known = sorted(path.stem for path in layout.logs.glob("*.log"))
    if not known:
        raise NotFoundError(f"no logs in {layout.logs}: this cluster was never up", mend="yarnmill cluster up")
    if daemon is not None and daemon not in known:
        raise NotFoundError(f"no log of a daemon {daemon!r}", expected=f"one of {', '.join(known)}")
    names = [daemon] if daemon else known
    paths = list(chain.from_iterable((layout.log(name), layout.out(name)) for name in names))
    for path in paths:
        for line in logs.tail(path, lines):
            click.echo(line if daemon else f"{path.stem}: {line}")
    if follow:
        for path, line in logs.follow(paths):
            click.echo(line if daemon else f"{path.stem}: {line}")


@cluster.command()
def fetch() -> None:
    """Bring Hadoop's jars into the cache, and nothing more."""
    jars = distribution.fetch(os.environ, _progress)
    click.echo(f"Hadoop {distribution.HADOOP_VERSION} is at hand: {jars}")
