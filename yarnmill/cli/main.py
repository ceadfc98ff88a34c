"""Entry of the command ``yarnmill``: sub-commands loaded on use, errors printed in one place."""

import importlib
import sys
from collections.abc import Sequence
from typing import Final

import click

from yarnmill import __version__
from yarnmill.errors import YarnMillError

_COMMANDS: Final = {
    "blobs": ("yarnmill.cli.blobs", "Put, get and verify immutable blobs."),
    "bundle": ("yarnmill.cli.bundle", "Pack, show and verify model bundles."),
    "cluster": ("yarnmill.cli.cluster", "A real Hadoop on this machine: up, down, status, env, logs, kinit."),
    "demo": ("yarnmill.cli.demo", "The main job end to end, and its data."),
    "doctor": ("yarnmill.cli.doctor", "Check this machine, with the command that mends each lack."),
    "env": ("yarnmill.cli.env", "Python environments for the nodes."),
    "experiments": ("yarnmill.cli.experiments", "Versions that share requests: what they do, ramps that go back."),
    "features": ("yarnmill.cli.features", "Snapshots of feature tables, for features at request time."),
    "jobs": ("yarnmill.cli.jobs", "Send Spark jobs: join, train, score."),
    "mlflow": ("yarnmill.cli.mlflow", "MLflow's tracking server beside the registry."),
    "models": ("yarnmill.cli.models", "Models, which version answers, promotion, retention."),
    "oozie": ("yarnmill.cli.oozie", "Render and check workflow definitions."),
    "runs": ("yarnmill.cli.runs", "Everything that ran, with parameters and metrics."),
    "serve": ("yarnmill.cli.serve", "The serving tier: models over REST."),
    "serving": ("yarnmill.cli.serving", "Try a transformer; tokens of the serving tier's control API."),
    "versions": ("yarnmill.cli.versions", "Versions of models: list, show, search, label."),
}


class _LazyGroup(click.Group):
    """A group whose commands are imported only when called: ``yarnmill --help`` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(_COMMANDS[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, package_name="yarnmill")
def yarnmill() -> None:
    """Batch machine learning for people who own a Hadoop cluster."""


def run(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Run a click command as a whole program and return its exit status; print errors, never a trace for a mistake."""
    try:
        result = command.main(args=None if arguments is None else list(arguments), standalone_mode=False)
    except YarnMillError as error:
        click.echo(f"{click.style('error', fg='red', bold=True)} ({error.kind}): {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    return result if isinstance(result, int) else 0


def main() -> None:
    """Run ``yarnmill`` and leave with its exit status."""
    sys.exit(run(yarnmill))


if __name__ == "__main__":
    main()
