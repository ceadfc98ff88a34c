"""``yarnmill demo``: the main job end to end on a real Hadoop, and the data it runs on."""

import os
import time
from pathlib import Path
from typing import Final

import click

from yarnmill import environments
from yarnmill.cli.demo_movielens import movielens
from yarnmill.cli.demo_report import DemoReport, show, write
from yarnmill.cli.demo_server import DemoServer
from yarnmill.cli.options import config_options
from yarnmill.config import Config, load_config
from yarnmill.localcluster.cluster import LocalCluster
from yarnmill.localcluster.state import ClusterState

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

    config = load_config(config_file, overrides, home=home)
    report_path = Path(report_file) if report_file else config.home_path.parent / _REPORT
    cluster = LocalCluster(config.home_path, config.cluster)
    server = DemoServer(config)
    job = MainJob(config, server.start, fast=fast, progress=_tell)
    failure: BaseException | None = None
    try:
        with job.step("set up the training environment" if not fast else "check the set-up"):
            if not fast:
                environments.ensure("training", _tell)
        with job.step("start the cluster") as step:
            state = cluster.up(lambda message: _tell(f"   {message}"))
            step.detail = state.hdfs_url
        os.environ.update(state.environment())
        job.run()
    except BaseException as error:
        failure = error
        raise
    finally:
        report = job.report(failure)
        write(report, report_path)
        if keep:
            _say_what_is_up(config, state=cluster.status(), server=server)
        else:
            _stop(server, cluster)
    _finish(report, report_path)


def _finish(report: DemoReport, path: Path) -> None:
    show(report)
    click.echo(f"report: {path}")


@demo.command("down")
@config_options
def down(home: str | None, overrides: tuple[str, ...], config_file: str | None) -> None:
    """Stop the server and the cluster that ``demo run --keep`` left up."""
    config = load_config(config_file, overrides, home=home)
    _stop(DemoServer(config), LocalCluster(config.home_path, config.cluster))


def _stop(server: DemoServer, cluster: LocalCluster) -> None:
    _tell("── stopping server and cluster")
    server.stop()
    cluster.down(lambda message: _tell(f"   {message}"))


def _say_what_is_up(config: Config, *, state: ClusterState, server: DemoServer) -> None:
    click.echo(f"HDFS: {state.hdfs_url}; ResourceManager: {state.resourcemanager_web}; serving: {server.url}")
    click.echo(f'in a shell: eval "$(yarnmill cluster env --home {config.home})"; to stop all of it: make demo-down')


def _tell(message: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {message}", err=True)
