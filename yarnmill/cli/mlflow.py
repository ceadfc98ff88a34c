"""``yarnmill mlflow``: MLflow's tracking server beside the registry."""

import os
import sys
from collections.abc import Callable

import click

from yarnmill.cli.demo_server import free_port
from yarnmill.cli.options import with_config
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError
from yarnmill.registry import Registry
from yarnmill.registry.tracking import Tracking, track_pending


@click.group()
def mlflow() -> None:
    """MLflow's tracking server, and keeping it in step with the registry."""


@mlflow.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind.")
@click.option("--port", type=click.IntRange(0, 65535), default=5000, show_default=True, help="Port; 0: a free one.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Processes that answer.")
@with_config
def up(host: str, port: int, workers: int, config: Config) -> None:
    """Serve MLflow's pages and API over the runs that registry.tracking names, until it is interrupted."""
    uri = config.tracking_uri
    if "://" not in uri or uri.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"registry.tracking: {uri} is a server already",
            expected="a database, such as sqlite:///… or postgresql+psycopg://…",
        )
    track_pending(Registry(config.registry_url), Tracking(uri), _say)
    port = port or free_port()
    click.echo(f"MLflow on http://{host}:{port}")
    sys.stdout.flush()
    # The database's address may hold a password: it goes by the environment, not by the command line.
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "false",
    }
    arguments = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    arguments += ["--workers", str(workers), "--no-serve-artifacts"]
    os.execve(sys.executable, arguments, environment)  # noqa: S606  # this process becomes the server


@mlflow.command()
@with_config
def sync(config: Config) -> None:
    """Bring MLflow in step with the registry: runs that are missing, labels that changed."""
    registry = Registry(config.registry_url)
    done = track_pending(registry, Tracking(config.tracking_uri), _say)
    behind = len(registry.versions.untracked())
    click.echo(f"{done} versions brought in step, {behind} still behind")


_say: Callable[[str], None] = lambda message: click.echo(message, err=True)  # noqa: E731
