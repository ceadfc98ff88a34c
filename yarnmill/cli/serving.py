"""``yarnmill serving``: transformers tried, and who may use the control API of a tier."""

from pathlib import Path

import click

from yarnmill.cli.options import output_option, print_removed, with_config
from yarnmill.cli.serving_simulate import simulate
from yarnmill.cli.tokens import end_of, print_new_token, print_tokens, ttl_option
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError

_tokens_option = click.option(
    "--tokens", type=click.Path(path_type=Path), default=None, help="The file [serving.tokens]."
)


@click.group()
def serving() -> None:
    """Try a transformer; say who may use the control API of a serving tier."""


serving.add_command(simulate)


@serving.group()
def token() -> None:
    """Tokens of the control API, with a role each.

    A reader looks; a deployer deploys, undeploys and routes; an administrator also makes and changes projects.
    """


@token.command()
@click.argument("name")
@click.option(
    "--role", type=click.Choice(["reader", "deployer", "administrator"]), required=True, help="What it may do."
)
@click.option(
    "--project", "projects", multiple=True, help="Good in this project alone; may be given again [*: in all]."
)
@ttl_option
@_tokens_option
@output_option
@with_config
def new(  # noqa: PLR0913  # click's options
    name: str, *, role: str, projects: tuple[str, ...], ttl: str, tokens: Path | None, output: str, config: Config
) -> None:
    """Add a token called NAME to the file and print it, this once: the file has only its hash.

    The file is made if it is not there. The audit calls whoever has the token NAME.
    """
    from serving.control.tokens import ALL_PROJECTS, ROLES, add_role_token  # noqa: PLC0415  # it loads the registry

    asked = next(one for one in ROLES if one == role)
    path = _path(tokens, config)
    secret = add_role_token(path, name, asked, projects or (ALL_PROJECTS,), expires_at_ms=end_of(ttl))
    print_new_token(name, secret, output)


@token.command()
@_tokens_option
@output_option
@with_config
def ls(tokens: Path | None, output: str, config: Config) -> None:
    """List the tokens of the file: role, projects, when each was made, until when it is good."""
    from serving.control.tokens import load_role_tokens  # noqa: PLC0415

    entries = load_role_tokens(_path(tokens, config)).tokens
    print_tokens(entries, output, ["role", "projects"], lambda one: (one.role, one.projects))


@token.command()
@click.argument("name")
@_tokens_option
@output_option
@with_config
def rm(name: str, tokens: Path | None, output: str, config: Config) -> None:
    """Take the token NAME back: running tiers refuse it from the next request on."""
    from serving.control.tokens import remove_role_token  # noqa: PLC0415

    remove_role_token(_path(tokens, config), name)
    print_removed(name, output)


def _path(tokens: Path | None, config: Config) -> Path:
    path = tokens or config.serving.tokens_path
    if path is None:
        raise ConfigurationError(
            "no file of tokens is named",
            expected="--tokens FILE, or the key serving.tokens",
            mend="--tokens tokens.yaml",
        )
    return path
