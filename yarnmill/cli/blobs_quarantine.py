"""``yarnmill blobs quarantine``: damaged blobs out of the way."""

import click

from yarnmill.blobs import BlobStore
from yarnmill.blobs.ids import shown
from yarnmill.blobs.quarantine import damaged_copies
from yarnmill.blobs.quarantine import quarantine as set_aside
from yarnmill.cli.blobs_store import blob_id_of, files_of, refuse_no_store, with_store
from yarnmill.cli.options import output_option, plan_option, print_json, print_table


@click.command()
@click.argument("blobs", nargs=-1, metavar="[BLOB]...")
@plan_option
@with_store
@output_option
def quarantine(blobs: tuple[str, ...], plan: bool, store: BlobStore, output: str) -> None:  # noqa: FBT001  # click's own
    """Set damaged blobs aside, in ROOT/quarantine, so that the same bytes can be put again under their ids and names.

    Reads every blob, or each BLOB (its id or name). What is sound stays, other blobs of a pack and other copies too.
    """
    files = files_of(store)
    refuse_no_store(files)
    found = list(damaged_copies(files, map(blob_id_of, blobs) if blobs else None))
    if not plan:
        found = list(set_aside(files, found))
    if output == "json":
        print_json(found)
        return
    rows = [(shown(one.blob), one.url, one.size_bytes, one.aside) for one in found]
    print_table("to set aside" if plan else "set aside", ["blob", "from", "bytes", "to"], rows)
