"""``yarnmill mlflow``: MLflow's tracking server beside the registry."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

import click

from yarnmill.cli.demo_server import free_port
from yarnmill.cli.options import output_option, print_json, with_config
from yarnmill.config import Config
from yarnmill.errors import ClusterUnavailableError, ConfigurationError
from yarnmill.registry import Registry
from yarnmill.registry.tracking import Tracking, track_pending


@click.group()
def mlflow() -> None:
    """MLflow's tracking server, and keeping it in step with the registry."""


@mlflow.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind.")
@click.option("--port", type=click.IntRange(0, 65535), default=5000, show_default=True, help="Port; 0: a free one.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that answer.")
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
    # By its default a worker that imports for five seconds is taken for dead and ended.
    arguments += ["--workers", str(workers), "--no-serve-artifacts", "--uvicorn-opts=--timeout-worker-healthcheck=120"]
    sys.exit(_serve(arguments, environment))


def _serve(arguments: list[str], environment: dict[str, str]) -> int:
    """Run MLflow's server until it ends or this process is told to; return the exit status."""
    # A group of its own, for MLflow starts a server that it does not end when it is ended itself.
    with subprocess.Popen(arguments, env=environment, start_new_session=True) as server:
        asked: list[int] = []

        def end(number: int, _frame: object) -> None:
            asked.append(number)
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        status = server.wait()
    return 0 if asked else status


@mlflow.command()
@output_option
@with_config
def sync(output: str, config: Config) -> None:
    """Bring MLflow in step with the registry: runs that are missing, labels that changed.

    Exit status 10 if it is still behind, as it is while MLflow does not answer: to be tried again.
    """
    registry = Registry(config.registry_url)
    done = track_pending(registry, Tracking(config.tracking_uri), _say)
    behind = len(registry.versions.untracked())
    if output == "json":
        print_json({"done": done, "behind": behind})
    else:
        click.echo(f"{done} versions brought in step, {behind} still behind")
    if behind:
        raise ClusterUnavailableError(
            f"MLflow is behind by {behind} versions", mend="mend what was said of each, then yarnmill mlflow sync"
        )


_say: Callable[[str], None] = lambda message: click.echo(message, err=True)  # noqa: E731
