"""``yarnmill serve``: the tier that answers."""

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from yarnmill.cli.options import config_options
from yarnmill.config import Config, load_config

if TYPE_CHECKING:
    from serving.control.backing import Backing


@click.command()
@click.option("--host", default=None, help="Address to bind [serving.host].")
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="Port; 0 takes a free one [serving.port].")
@click.option("--workers", type=click.IntRange(min=1), default=None, help="Worker processes [serving.workers].")
@click.option("--server", type=click.Choice(["gunicorn", "granian"]), default=None, help="[serving.server]")
@click.option(
    "--control/--no-control",
    default=None,
    help="Let Merlin's clients deploy and route below /merlin, and people below /console [serving.control].",
)
@click.option("--tokens", default=None, metavar="FILE", help="Who may, see `yarnmill serving token` [serving.tokens].")
@click.option("--access-log", default="-", metavar="FILE", help="One JSON line a request; - is standard error.")
@click.option("--pid-file", type=click.Path(path_type=Path), default=None, help="Written while the tier runs.")
@config_options
def serve(  # noqa: PLR0913, PLR0917  # one argument an option
    host: str | None,
    port: int | None,
    workers: int | None,
    server: str | None,
    control: bool | None,  # noqa: FBT001  # click's
    tokens: str | None,
    access_log: str,
    pid_file: Path | None,
    config_file: str | None,
    overrides: tuple[str, ...],
    home: str | None,
) -> None:
    """Answer predictions over REST until Ctrl-C or SIGTERM.

    Models are the registry's endpoints; a deployment is picked up within a second. Prints one line,
    `serving on http://HOST:PORT`, when every worker has loaded its models.
    """
    # Flask and gunicorn load only for this command.
    from serving.server import ServerOptions  # noqa: PLC0415
    from serving.server import serve as run_tier  # noqa: PLC0415

    flags = [
        f"serving.{key}={json.dumps(value)}"  # in quotes: what overrides is YAML, to which `::` is no text
        for key, value in (
            ("host", host),
            ("port", port),
            ("workers", workers),
            ("server", server),
            ("control", control),
            ("tokens", tokens),
        )
        if value is not None
    ]
    config = load_config(config_file, (*overrides, *flags), home=home)
    options = ServerOptions(access_log=access_log, pid_file=pid_file)
    run_tier(config, options, lambda url: click.echo(f"serving on {url}"), _backing(config, config_file, overrides))


def _backing(config: Config, config_file: str | None, overrides: Sequence[str]) -> "Backing | None":
    if not config.serving.control:
        return None
    from serving.control.backing import Backing  # noqa: PLC0415
    from yarnmill.lifecycle.deploy import carry_out  # noqa: PLC0415  # it opens models of every flavour
    from yarnmill.lifecycle.driverlog import driver_log  # noqa: PLC0415
    from yarnmill.lifecycle.starting import PredictionStarter  # noqa: PLC0415
    from yarnmill.registry import Registry  # noqa: PLC0415

    same = [
        *(("--config", config_file) if config_file else ()),
        *(word for one in overrides for word in ("--set", one)),
    ]
    predict = [sys.executable, "-m", "yarnmill.cli.main", "jobs", "predict", "--home", config.home, *same]
    starter = PredictionStarter(
        predict,
        config.home_path / "serving" / "jobs",
        config.serving.jobs.most,
        partial(Registry, config.registry_url),
    )
    return Backing(partial(carry_out, config=config), driver_log, starter)
