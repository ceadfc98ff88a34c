"""``yarnmill blobs``: the immutable blob store from a shell."""

import functools
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from yarnmill.blobs import Attributes, BlobInfo, BlobStore, parse_name
from yarnmill.blobs.ids import is_plain_text, shown
from yarnmill.blobs.scrub import scrub
from yarnmill.blobs.states import now_ms
from yarnmill.cli.blobs_garbage import gc, pack
from yarnmill.cli.blobs_http import serve, token
from yarnmill.cli.blobs_quarantine import quarantine
from yarnmill.cli.blobs_store import blob_id_of, refuse_no_store, with_store
from yarnmill.cli.options import output_option, print_json, print_table
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError
from yarnmill.units import Seconds, render_bytes, render_time


@click.group()
def blobs() -> None:
    """Immutable blobs: written once, named for ever, verified on every read."""


blobs.add_command(gc)
blobs.add_command(pack)
blobs.add_command(quarantine)
blobs.add_command(serve)
blobs.add_command(token)


def _with_attributes(function: Callable[..., None]) -> Callable[..., None]:
    """Add what can be said of a blob; pass it as ``attributes``, None if nothing is."""

    @click.option("--type", "content_type", default="", help="Media type [application/octet-stream].")
    @click.option("--owner", default="", help="Who puts it, in their own words.")
    @click.option("--ttl", default="", metavar="DURATION", help="How long it lives, such as '30 d' [for ever].")
    @click.option("--meta", multiple=True, metavar="NAME=VALUE", help="Something to be known of it.")
    @functools.wraps(function)
    def command(content_type: str, owner: str, ttl: str, meta: tuple[str, ...], **arguments: Any) -> None:  # noqa: ANN401  # click's own
        function(attributes=_attributes(content_type, owner, ttl, meta), **arguments)

    return command


def _attributes(content_type: str, owner: str, ttl: str, meta: tuple[str, ...]) -> Attributes | None:
    if not (content_type or owner or ttl or meta):
        return None
    pairs = [each.partition("=") for each in meta]
    if wrong := next((each for each, (key, sign, _) in zip(meta, pairs, strict=True) if not (key and sign)), None):
        raise ConfigurationError(f"--meta {wrong!r}", expected="NAME=VALUE")
    if odd := next((text for text in (content_type, owner, *meta) if not is_plain_text(text)), None):
        raise ConfigurationError(f"{odd!r} cannot be kept", expected="text in UTF-8")
    return Attributes(
        content_type=content_type or Attributes().content_type,
        owner=owner,
        expires_at_ms=now_ms() + int(Seconds.parse(ttl) * 1000) if ttl else None,
        user={key: value for key, _, value in pairs},
    )


@blobs.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--name", default="", metavar="ACCOUNT/CONTAINER/NAME", help="A name that one file is known by for ever.")
@_with_attributes
@with_store
@output_option
def put(files: tuple[str, ...], name: str, attributes: Attributes | None, store: BlobStore, output: str) -> None:
    """Store FILES (`-`: standard input) and print their ids.

    Without an option a blob's id is the SHA-256 of its bytes, and the same bytes are the same blob.
    """
    if name and len(files) != 1:
        raise ConfigurationError(f"--name: {len(files)} files", expected="one file for one name")
    infos = []
    for file in files:
        with click.open_file(file, "rb") as stream:
            infos.append(store.put(stream, attributes, name=parse_name(name) if name else None))
    if output == "json":
        print_json(infos)
        return
    for info, file in zip(infos, files, strict=True):
        click.echo(f"{info.id}  {file}")


@blobs.command()
@click.argument("blob")
@click.argument("path", type=click.Path(path_type=Path, allow_dash=True))
@with_store
@output_option
def get(blob: str, path: Path, store: BlobStore, output: str) -> None:
    """Write BLOB (its id or name) to the fresh file PATH once every byte is verified, or to standard output (`-`)."""
    if str(path) != "-":
        info = store.download(blob_id_of(blob), path)
        if output == "json":
            print_json(info)
        return
    if output == "json":
        raise ConfigurationError("--output json: standard output is the blob's", expected="a file as PATH")
    with store.open(blob_id_of(blob)) as stream:
        shutil.copyfileobj(stream, sys.stdout.buffer)


@blobs.command()
@click.argument("names", default="", metavar="[ACCOUNT/CONTAINER/[PREFIX]]")
@with_store
@output_option
def ls(names: str, store: BlobStore, output: str) -> None:
    """List all blobs, or those in a container whose names begin with a prefix.

    Exit status 21 if there are damaged ones, which are not listed.
    """
    damaged: list[str] = []
    infos = _live(store, _ids(store, names), damaged)
    if output == "json":
        print_json(list(infos))
    else:
        for info in infos:
            click.echo(f"{shown(info.id)}  {info.size_bytes}")
    if damaged:
        raise BadDataError(
            f"{store.url}: {len(damaged)} damaged and not listed, {shown(damaged[0])} the first",
            mend=f"yarnmill blobs verify --root {store.url}",
        )


def _ids(store: BlobStore, names: str) -> Iterator[str]:
    if not names:
        return store.ids()
    account, _, rest = names.partition("/")
    container, _, prefix = rest.partition("/")
    if not (account and container):
        raise ConfigurationError(f"{names!r} names no container", expected="ACCOUNT/CONTAINER/, or a prefix behind it")
    return iter([name.id for name in store.names(account, container, prefix)])


def _live(store: BlobStore, ids: Iterator[str], damaged: list[str]) -> Iterator[BlobInfo]:
    """Yield what is known of blobs; those of which nothing is, for they are damaged, go into the list."""
    for blob_id in ids:
        with suppress(NotFoundError):  # deleted, expired
            try:
                yield store.stat(blob_id)
            except BadDataError:
                damaged.append(blob_id)


@blobs.command()
@click.argument("blob")
@with_store
@output_option
def stat(blob: str, store: BlobStore, output: str) -> None:
    """Show what is known of BLOB (its id or name) without reading it."""
    info = store.stat(blob_id_of(blob))
    if output == "json":
        print_json(info)
        return
    click.echo(f"{info.id}  {info.size_bytes}")
    said = info.attributes or Attributes()
    end = "never" if info.expires_at_ms is None else render_time(info.expires_at_ms)
    facts = {"sha256": info.sha256, "created": render_time(info.created_at_ms), "expires": end}
    facts |= {"type": said.content_type, "owner": said.owner, **{f"meta {key}": said.user[key] for key in said.user}}
    for key, value in facts.items():
        click.echo(f"  {key}: {value}")


@blobs.command()
@click.argument("blob")
@with_store
@output_option
def rm(blob: str, store: BlobStore, output: str) -> None:
    """Delete BLOB (its id or name); it can be restored until it is collected."""
    store.delete(blob_id_of(blob))
    if output == "json":
        print_json({"id": blob_id_of(blob), "deleted": True})


@blobs.command()
@click.argument("blob")
@with_store
@output_option
def restore(blob: str, store: BlobStore, output: str) -> None:
    """Bring back the deleted BLOB (its id or name)."""
    info = store.undelete(blob_id_of(blob))
    if output == "json":
        print_json(info)


@blobs.command()
@click.argument("blob")
@click.argument("ttl", metavar="DURATION|never")
@with_store
@output_option
def expire(blob: str, ttl: str, store: BlobStore, output: str) -> None:
    """Let BLOB (its id or name) live so long from now on, such as '30 d', or for ever."""
    info = store.update_ttl(blob_id_of(blob), None if ttl == "never" else now_ms() + int(Seconds.parse(ttl) * 1000))
    if output == "json":
        print_json(info)


@blobs.command()
@with_store
@output_option
def verify(store: BlobStore, output: str) -> None:
    """Read every blob and report all damage; exit status 21 if there is any. Nothing is changed."""
    refuse_no_store(store)  # that nothing is damaged where nothing is would be no news
    report = scrub(store)
    if output == "json":
        print_json(report)
    else:
        click.echo(
            f"{report.store}: {report.blobs} blobs, {render_bytes(report.size_bytes)}, {len(report.damaged)} damaged"
        )
        if report.damaged:
            rows = [(shown(damage.blob), damage.url, damage.problem) for damage in report.damaged]
            print_table("damaged", ["blob", "where", "problem"], rows)
    if report.damaged:
        raise BadDataError(
            f"{report.store}: {len(report.damaged)} damaged of {report.blobs} blobs",
            mend=f"yarnmill blobs quarantine --root {report.store}, then put the blobs again from their source",
        )
