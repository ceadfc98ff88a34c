"""``tony_py notebook``: Jupyter in a container with a GPU, on a port of this machine."""

import datetime as dt
from pathlib import Path

import click

from tony_py import client
from tony_py.loading import anchored
from tony_py.notebook import Notebook, NotebookView, notebook_application
from tony_py.tunnel import Tunnel, client_context
from yarnmill.cli.options import plan_option, with_config
from yarnmill.config import Config
from yarnmill.units import Mebibytes, Seconds


@click.command()
@click.option("--gpus", default=1, show_default=True, help="GPUs of the container.")
@click.option("--memory", default="4 GiB", show_default=True, help="Its memory.")
@click.option("--vcores", default=2, show_default=True, help="Its vcores.")
@click.option("--environment", default="", help="A Python on the nodes, or an archive with one, that has Jupyter.")
@click.option("--source", multiple=True, type=click.Path(exists=True), help="Files or folders to start with.")
@click.option("--folder", default="", help="Where the files are kept, on HDFS [your own folder below the runs].")
@click.option("--queue", default="", help="YARN queue.")
@click.option("--idle", default="1 h", show_default=True, help="End after so long with nobody connected; 0: never.")
@click.option("--port", default=0, help="Port of this machine [a free one].")
@plan_option
@with_config
def notebook(  # noqa: PLR0913  # one argument an option
    *,
    gpus: int,
    memory: str,
    vcores: int,
    environment: str,
    source: tuple[str, ...],
    folder: str,
    queue: str,
    idle: str,
    port: int,
    plan: bool,
    config: Config,
) -> int:
    """Open Jupyter in a container of the cluster; Ctrl-C ends it.

    Prints the address on this machine that leads there, token and all. What stands in the working folder is kept on
    HDFS every minute and at the end, and is there again the next time.
    """
    wanted = Notebook(
        gpus=gpus,
        memory=Mebibytes.parse(memory),
        vcores=vcores,
        environment=environment,
        queue=queue,
        source=source,
        folder=folder,
        idle=Seconds.parse(idle),
    )
    application = anchored(notebook_application(wanted, config, dt.datetime.now(dt.UTC)), Path.cwd())
    if plan:
        click.echo(client.plan_application(application, config).text, nl=False)
        return 0
    with Tunnel(client_context(*client.certificate_pair()), port) as tunnel:
        client.run_application(application, config, NotebookView(tunnel, _say, click.echo))
    return 0


def _say(line: str) -> None:
    click.echo(line, err=True)
