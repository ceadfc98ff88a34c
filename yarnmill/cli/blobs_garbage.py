"""``yarnmill blobs gc`` and ``pack``: what keeps a store small."""

from contextlib import suppress

import click

from yarnmill.blobs import BlobInfo, BlobStore, open_store
from yarnmill.blobs.collect import collect, garbage
from yarnmill.blobs.ids import shown
from yarnmill.blobs.packing import pack as pack_now
from yarnmill.blobs.packing import packing, renew, worn
from yarnmill.cli.blobs_store import files_of, root_option, with_store
from yarnmill.cli.options import output_option, plan_option, print_json, print_table, with_config
from yarnmill.config import Config
from yarnmill.errors import NotFoundError
from yarnmill.registry import Registry
from yarnmill.units import Seconds, render_bytes, render_time


@click.command()
@click.option("--kept", default="7 d", show_default=True, help="What ended less long ago stays, and can be restored.")
@click.option(
    "--unreferenced",
    default="",
    metavar="DURATION",
    help="Also delete blobs without a name that no version of the registry has, put so long ago, such as '30 d'.",
)
@click.option("--collect", "act", is_flag=True, help="Remove it, after showing the plan.")
@root_option
@with_config
@output_option
def gc(kept: str, unreferenced: str, *, act: bool, root: str | None, config: Config, output: str) -> None:
    """Show what takes up room for nothing: what was deleted or has expired, puts that died. --collect removes it.

    What --unreferenced deletes is removed by a later gc, --kept after that: it can be restored so long.
    """
    files = files_of(open_store(root or config.storage.blobs))
    strangers = _unreferenced(files, unreferenced, config, act=act) if unreferenced else []
    plan = list(garbage(files, Seconds.parse(kept)))
    removed = [one for one in plan if collect(files, one)] if act else []
    for old in list(worn(files)) if act else ():
        with suppress(NotFoundError):  # somebody else did it
            renew(files, old)
    if output == "json":
        print_json({"unreferenced": strangers, "plan": plan, "collected": removed})
        return
    if unreferenced:
        put = [(one.id, one.size_bytes, render_time(one.created_at_ms)) for one in strangers]
        print_table("deleted: unreferenced" if act else "to delete: unreferenced", ["blob", "bytes", "put"], put)
    rows = [(shown(one.blob), one.size_bytes, one.reason, render_time(one.since_ms)) for one in plan]
    print_table("to collect", ["blob", "bytes", "why", "since"], rows)
    size = sum(one.size_bytes for one in (removed if act else plan))
    if act:
        click.echo(f"{files.url}: {len(removed)} collected, {render_bytes(size)}")
    elif plan or strangers:
        size += sum(one.size_bytes for one in strangers)
        count = len(plan) + len(strangers)
        click.echo(f"{files.url}: {count}, {render_bytes(size)}; the same with --collect removes them")


def _unreferenced(store: BlobStore, older: str, config: Config, *, act: bool) -> list[BlobInfo]:
    from yarnmill.lifecycle.unreferenced import delete_unreferenced, unreferenced  # noqa: PLC0415  # opens databases

    registry = Registry(config.registry_url)
    found = list(unreferenced(registry, store, Seconds.parse(older)))
    return delete_unreferenced(registry, store, found) if act else found


@click.command()
@click.option("--age", default="1 h", show_default=True, help="Only blobs that were put so long ago.")
@click.option(
    "--least",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Fewer blobs than these stay files of their own.",
)
@plan_option
@with_store
@output_option
def pack(age: str, least: int, plan: bool, store: BlobStore, output: str) -> None:  # noqa: FBT001  # click's own
    """Put small blobs together, many in a file: on HDFS each would be a block. Nothing else is seen of it."""
    files = files_of(store)
    packs = list(packing(files, Seconds.parse(age), least))
    if not plan:
        packs = [pack_now(files, one) for one in packs]
    if output == "json":
        print_json([{"blobs": len(one.ids), "size_bytes": one.size_bytes} for one in packs])
        return
    for one in packs:
        click.echo(f"{'would pack' if plan else 'packed'} {len(one.ids)} blobs, {render_bytes(one.size_bytes)}")
    if not packs:
        click.echo("nothing to pack")
