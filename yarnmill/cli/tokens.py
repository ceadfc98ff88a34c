"""What the commands of every kind of token have in common: until when one is good, and how they are listed."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from yarnmill.cli.options import print_json, print_table
from yarnmill.records import to_plain
from yarnmill.tokens import TokenEntry, now_ms
from yarnmill.units import Seconds, render_time

F = TypeVar("F", bound=Callable[..., Any])


def ttl_option(function: F) -> F:
    """Add ``--ttl``; :func:`end_of` says when that is."""
    return click.option(
        "--ttl", default="", metavar="DURATION", help="How long it is good, such as '30 d' [until it is removed]."
    )(function)


def end_of(ttl: str) -> int | None:
    """Return when a token of that duration ends (milliseconds since 1970); None: never."""
    return now_ms() + int(Seconds.parse(ttl) * 1000) if ttl else None


def print_tokens(
    entries: Sequence[TokenEntry], output: str, columns: Sequence[str], cells: Callable[[Any], tuple[object, ...]]
) -> None:
    """Print tokens without their hashes.

    Parameters
    ----------
    entries, output
        The tokens, and the form: ``text`` or ``json``.
    columns, cells
        What stands between a token's name and its times, and what of an entry stands there.
    """
    if output == "json":
        print_json([_shown(one, columns, cells(one)) for one in entries])
        return
    rows = [(one.name, *map(_text, cells(one)), _time(one.created_at_ms, ""), _end(one)) for one in entries]
    print_table("tokens", ["name", *columns, "made", "expires"], rows)


def print_new_token(name: str, token: str, output: str) -> None:
    """Print a token, this once."""
    if output == "json":
        print_json({"name": name, "token": token})
        return
    click.echo(token)


def _shown(entry: TokenEntry, columns: Sequence[str], cells: tuple[object, ...]) -> dict[str, object]:
    plain = {key: value for key, value in to_plain(entry).items() if key != "sha256"}
    return plain | dict(zip(columns, cells, strict=True))


def _text(cell: object) -> object:
    return ", ".join(cell) or "all" if isinstance(cell, tuple) else cell


def _end(entry: TokenEntry) -> str:
    return _time(entry.expires_at_ms, "never")


def _time(at_ms: int | None, otherwise: str) -> str:
    return otherwise if at_ms is None else render_time(at_ms)
