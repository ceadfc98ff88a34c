"""Uploading what applications share: once, under its content's name, visible by one rename."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from tony_py.plan import Upload
from yarnmill import fs
from yarnmill.errors import ConflictError
from yarnmill.permissions import is_on_default_hdfs, make_public_file, make_public_folder
from yarnmill.relocation import environment_members
from yarnmill.tarballs import write_tarball
from yarnmill.units import render_bytes


def upload(needed: Upload, progress: Callable[[str], None]) -> bool:
    """Bring something to HDFS unless it is there; return whether it was brought.

    Two who upload the same thing at once do no harm: one wins, and both go on with what the winner wrote.

    Raises
    ------
    ConflictError
        If it changed since its name was found.
    """
    if fs.exists(needed.target):
        progress(f"{needed.key}: on HDFS already: {needed.target}")
        return False
    progress(f"{needed.key}: uploading {needed.source} to {needed.target}")
    on_hdfs = is_on_default_hdfs(needed.target)
    if on_hdfs:
        make_public_folder(needed.target.rpartition("/")[0])
    try:
        with fs.open_write(needed.target) as stream:
            _refuse_changed(needed, _write(needed, stream))
    except ConflictError:
        if not fs.exists(needed.target):  # not the other's win
            raise
        progress(f"{needed.key}: another submission uploaded it meanwhile")
        return False
    if on_hdfs:
        make_public_file(needed.target)
    progress(f"{needed.key}: uploaded {render_bytes(fs.info(needed.target).size_bytes)}")
    return True


def is_uploaded(needed: Upload) -> bool:
    """Return whether there is nothing left to upload."""
    return fs.exists(needed.target)


def _write(needed: Upload, stream: IO[bytes]) -> str:
    """Write what is needed and return the digest of what was written."""
    if needed.kind == "environment":
        return write_tarball(environment_members(Path(needed.source)), stream)
    digest = hashlib.sha256()
    for chunk in fs.read_chunks(needed.source):
        digest.update(chunk)
        stream.write(chunk)
    return digest.hexdigest()


def _refuse_changed(needed: Upload, digest: str) -> None:
    if digest != needed.digest:
        raise ConflictError(
            f"{needed.key}: {needed.source} changed while it was uploaded",
            mend="wait until nothing is being installed, then run it again",
        )
