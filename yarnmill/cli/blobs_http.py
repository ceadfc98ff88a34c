"""``yarnmill blobs serve`` and ``token``: the blob store over HTTP, and who may use it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from yarnmill.blobs import open_store
from yarnmill.cli.options import output_option, print_json, print_removed, with_config
from yarnmill.cli.tokens import end_of, print_new_token, print_tokens, ttl_option
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError

F = TypeVar("F", bound=Callable[..., Any])


@click.command()
@click.option("--root", default=None, help="Root of the store: file://… or hdfs://… [storage.blobs].")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind.")
@click.option("--port", type=click.IntRange(0, 65535), required=True, help="Port; 0 takes a free one.")
@click.option("--tokens", type=click.Path(path_type=Path), default=None, help="Who may do what; see `token new`.")
@click.option("--open", "is_open", is_flag=True, help="Everybody may do everything.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Worker processes.")
@click.option("--threads", type=click.IntRange(min=1), default=64, show_default=True, help="Requests at once in each.")
@click.option("--access-log", default="-", metavar="FILE", help="One JSON line a request; - is standard error.")
@click.option("--pid-file", type=click.Path(path_type=Path), default=None, help="Written while the server runs.")
@with_config
def serve(  # noqa: PLR0913  # one argument an option
    config: Config,
    *,
    root: str | None,
    host: str,
    port: int,
    tokens: Path | None,
    is_open: bool,
    workers: int,
    threads: int,
    access_log: str,
    pid_file: Path | None,
) -> None:
    """Answer Ambry's REST over the blob store until Ctrl-C or SIGTERM.

    Prints one line, `serving blobs on http://HOST:PORT`, when it takes requests. Named blobs are for those with a
    token unless the tokens file has their ACCOUNT/CONTAINER under `public`; others are unless they were put with
    `x-ambry-private: false` or, as Ambry has it, without that header.
    """
    # Flask and gunicorn load only for this command.
    from yarnmill.blobs.http import server  # noqa: PLC0415

    if is_open == (tokens is not None):
        raise ConfigurationError(
            "--tokens and --open: both" if is_open else "neither --tokens nor --open",
            expected="--tokens FILE, or --open where everybody may do everything",
            mend="yarnmill blobs token new --tokens FILE NAME",
        )
    if is_open:
        click.secho(
            f"--open: whoever reaches {host} reads, writes and deletes every blob", fg="red", bold=True, err=True
        )
    options = server.ServerOptions(
        host=host,
        port=port,
        tokens=tokens,
        workers=workers,
        threads=threads,
        access_log=access_log,
        pid_file=pid_file,
    )
    server.serve(open_store(root or config.storage.blobs), options, lambda url: click.echo(f"serving blobs on {url}"))


@click.group()
def token() -> None:
    """Tokens of `yarnmill blobs serve`."""


def _tokens_option(help_text: str) -> Callable[[F], F]:
    return click.option("--tokens", type=click.Path(path_type=Path), required=True, help=help_text)


@token.command()
@click.argument("name")
@_tokens_option("The file; made if it is not there.")
@click.option("--account", "accounts", multiple=True, help="Good for this account's blobs alone [for all].")
@click.option("--may", default="read,write,delete", show_default=True, help="What it is good for.")
@ttl_option
@output_option
def new(name: str, tokens: Path, accounts: tuple[str, ...], may: str, ttl: str, output: str) -> None:
    """Add a token called NAME to a file and print it, this once: the file has only its hash."""
    from yarnmill.blobs.http.tokens import RIGHTS, add_token  # noqa: PLC0415

    rights = tuple(right for right in RIGHTS if right in may.split(","))
    if not rights or not set(may.split(",")) <= set(RIGHTS):
        raise ConfigurationError(f"--may {may}", expected="some of read,write,delete with commas between them")
    secret = add_token(tokens, name, may=rights, accounts=accounts, expires_at_ms=end_of(ttl))
    print_new_token(name, secret, output)


@token.command()
@_tokens_option("The file.")
@output_option
def ls(tokens: Path, output: str) -> None:
    """List the tokens of a file: what each is good for, when it was made, until when it is good."""
    from yarnmill.blobs.http.tokens import key_id_of, load_rules  # noqa: PLC0415

    entries = load_rules(tokens).tokens
    print_tokens(entries, output, ["id", "may", "accounts"], lambda one: (key_id_of(one), one.may, one.accounts))


@token.command()
@click.argument("name")
@_tokens_option("The file.")
@output_option
def rm(name: str, tokens: Path, output: str) -> None:
    """Take the token NAME back: running servers refuse it from the next request on, and its pair for S3 clients."""
    from yarnmill.blobs.http.tokens import remove_token  # noqa: PLC0415

    remove_token(tokens, name)
    print_removed(name, output)


@token.command()
@click.argument("name")
@_tokens_option("The file.")
@output_option
def s3(name: str, tokens: Path, output: str) -> None:
    """Print what S3 clients need to act as the token NAME, as lines that a shell can take as variables.

    The pair is as good as the token, and is made of it and of the key in the file: it ends with either.
    """
    from yarnmill.blobs.http.tokens import key_id_of, load_rules, named_token, s3_secret  # noqa: PLC0415

    rules = load_rules(tokens)
    entry = named_token(rules, name)
    pair = {"access_key_id": key_id_of(entry), "secret_access_key": s3_secret(rules, entry)}
    if output == "json":
        print_json(pair)
        return
    for key, value in pair.items():
        click.echo(f"AWS_{key.upper()}={value}")
