"""Content hashes of what is large, remembered as long as names, sizes and times stay as they were."""

import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from yarnmill.building import user_cache
from yarnmill.errors import BadDataError
from yarnmill.records import Record, canonical_json, fingerprint, parse_json


class Remembered(Record, frozen=True, kw_only=True):
    """The digest that something had when its signature was this."""

    path: str
    signature: str
    digest: str


def remembered_digest(path: Path, signature: str, compute: Callable[[], str]) -> str:
    """Return the digest of what stands at ``path``, computed anew only if its signature is another than last time.

    Parameters
    ----------
    path
        What it is the digest of; a name to remember it by.
    signature
        What changes whenever the content may have changed.
    compute
        Reads the content.
    """
    note = user_cache() / "digests" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:24]}.json"
    with suppress(OSError, BadDataError):  # not yet, or of another version
        known = parse_json(note.read_bytes(), Remembered, source=str(note))
        if (known.path, known.signature) == (str(path), signature):
            return known.digest
    digest = compute()
    note.parent.mkdir(parents=True, exist_ok=True)
    fresh = note.with_name(f".{note.name}.{secrets.token_hex(6)}.tmp")
    fresh.write_bytes(canonical_json(Remembered(path=str(path), signature=signature, digest=digest)))
    fresh.replace(note)
    return digest


def file_digest(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    status = path.stat()
    signature = fingerprint([["file", status.st_size, status.st_mtime_ns, status.st_ino]])

    def read() -> str:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    return remembered_digest(path, signature, read)
