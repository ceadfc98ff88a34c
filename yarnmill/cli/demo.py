"""``yarnmill demo``: the main job end to end on a real Hadoop, and the data it runs on."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from yarnmill import environments
from yarnmill.cli.demo_movielens import movielens
from yarnmill.cli.demo_report import show, write
from yarnmill.cli.demo_server import DemoServer, free_port
from yarnmill.cli.options import config_options
from yarnmill.config import Config, load_config
from yarnmill.errors import ConfigurationError
from yarnmill.localcluster.cluster import LocalCluster
from yarnmill.localcluster.doctor import examine
from yarnmill.localcluster.state import ClusterState

if TYPE_CHECKING:
    from yarnmill.cli.demo_job import MainJob

_REPORT: Final = "report.json"


@click.group()
def demo() -> None:
    """Run the main job end to end, or load its data."""


demo.add_command(movielens)


@demo.command("run")
@config_options
@click.option("--fast", is_flag=True, help="GLMix alone: no training frameworks are needed.")
@click.option("--keep", is_flag=True, help="Leave cluster and server up, and print their addresses.")
@click.option("--report", "report_file", default=None, help="Where report.json goes; beside the home folder if unset.")
def run(  # a command's options
    home: str | None,
    overrides: tuple[str, ...],
    config_file: str | None,
    *,
    fast: bool,
    keep: bool,
    report_file: str | None,
) -> None:
    """Run the main job: MovieLens from HDFS to a REST answer."""
    from yarnmill.cli.demo_job import MainJob  # noqa: PLC0415  # loads Spark's and Skein's clients

    config = load_config(config_file, (f"serving.port={free_port()}", *overrides), home=home)
    report_path = Path(report_file) if report_file else config.home_path.parent / _REPORT
    cluster = LocalCluster(config.home_path, config.cluster)
    server = DemoServer(config)
    job = MainJob(config, server.start, fast=fast, progress=_tell)
    was_up = cluster.status().state == "up"
    failure: BaseException | None = None
    try:
        _set_up(job, cluster, config, fast=fast)
        job.run()
    except BaseException as error:
        failure = error
        raise
    finally:
        report = job.report(failure)
        write(report, report_path)
        if keep or was_up:  # what somebody left up is not ours to stop
            _say_what_is_up(config, cluster.status(), server)
        else:
            _stop(server, cluster)
    show(report)
    click.echo(f"report: {report_path}")


def _set_up(job: "MainJob", cluster: LocalCluster, config: Config, *, fast: bool) -> None:
    with job.step("check the machine"):
        lacking = [check for check in examine(config, os.environ) if check.needed and not check.ok]
        if lacking:
            raise ConfigurationError(
                "this machine lacks what the demo needs: "
                + "; ".join(f"{each.name}: {each.found}" for each in lacking),
                mend="; ".join(check.mend for check in lacking),
            )
    if not fast:
        with job.step("training environment") as step:
            step.state = "up to date" if environments.is_built("training") else "done"
            environments.ensure("training", _tell_indented)
    with job.step("start the cluster") as step:
        state = cluster.up(_tell_indented)
        step.detail = state.hdfs_url
    os.environ.update(state.environment())


@demo.command("down")
@config_options
def down(home: str | None, overrides: tuple[str, ...], config_file: str | None) -> None:
    """Stop the server and the cluster that ``demo run --keep`` left up."""
    config = load_config(config_file, overrides, home=home)
    _stop(DemoServer(config), LocalCluster(config.home_path, config.cluster))


def _stop(server: DemoServer, cluster: LocalCluster) -> None:
    _tell("── stopping server and cluster")
    server.stop()
    cluster.down(_tell_indented)


def _say_what_is_up(config: Config, state: ClusterState, server: DemoServer) -> None:
    click.echo(f"HDFS: {state.hdfs_url}; ResourceManager: {state.resourcemanager_web}; serving: {server.url}")
    click.echo(f'in a shell: eval "$(yarnmill cluster env --home {config.home})"; to stop all of it: make demo-down')


def _tell(message: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {message}", err=True)


def _tell_indented(message: str) -> None:
    _tell(f"   {message}")
