"""Blobs that come in chunks, each a request of its own, and become one by a last request (stitching).

A chunk is a blob with a short life that is known by a signed id. Stitching copies the chunks, which go when they
expire: a client that lost the answer can ask once more.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from yarnmill.blobs import Attributes, BlobInfo, BlobStore
from yarnmill.blobs.http.bodies import READ_BYTES, measured, received
from yarnmill.blobs.http.headers import (
    ACCOUNT,
    CONTAINER,
    SESSION,
    TTL,
    Arguments,
    parse_integer,
    required,
)
from yarnmill.blobs.http.refusals import BadRequestError
from yarnmill.blobs.http.signing import Chunk, parse_chunk_id, render_chunk_id
from yarnmill.blobs.states import now_ms
from yarnmill.errors import BadDataError, NotFoundError
from yarnmill.records import parse_json

_CHUNK_TTL_S: Final = 86_400
_MOST_CHUNK_TTL_S: Final = 28 * 86_400
_MOST_REQUEST_BYTES: Final = 16 * 1024 * 1024


class StitchRequest(msgspec.Struct, frozen=True):
    """What a client sends; what else it says is its own."""

    signed_chunk_ids: tuple[str, ...] = msgspec.field(name="signedChunkIds")


def chunk_attributes(arguments: Arguments, attributes: Attributes) -> Attributes:
    """Return what a chunk is put with: for a day, or as long as is asked for, and never public."""
    required(arguments, SESSION)
    ttl_s = parse_integer(arguments, TTL, least=1, most=_MOST_CHUNK_TTL_S) or _CHUNK_TTL_S
    return msgspec.structs.replace(attributes, private=True, expires_at_ms=now_ms() + ttl_s * 1000)


def chunk_location(key: str, arguments: Arguments, info: BlobInfo) -> str:
    """Return where a chunk is said to be: its signed id."""
    said = info.attributes or Attributes()
    chunk = Chunk(blob=info.id, session=arguments[SESSION], account=said.account, container=said.container)
    return "/" + render_chunk_id(key, chunk)


def stitched(store: BlobStore, key: str, attributes: Attributes) -> Iterator[bytes]:
    """Return the bytes of the chunks that the current request names, one after the other.

    Raises
    ------
    BadRequestError
        If a chunk is not one of this server, is of another session, account or container, or is not there any more.
    """
    body = measured(received(), None, _MOST_REQUEST_BYTES).read()
    try:
        wanted = parse_json(body, StitchRequest, source="the body")
    except BadDataError as problem:
        raise BadRequestError(problem.what, expected='{"signedChunkIds": ["/signedId/…"]}') from None
    chunks = [parse_chunk_id(key, text) for text in wanted.signed_chunk_ids]
    if not chunks:
        raise BadRequestError("signedChunkIds: none", expected="the ids of the chunks, in their order")
    for number, chunk in enumerate(chunks):
        if chunk.session != chunks[0].session:
            raise BadRequestError(f"signedChunkIds[{number}]: of another session", expected="chunks of one session")
        if (chunk.account, chunk.container) != (attributes.account, attributes.container):
            raise BadRequestError(
                f"signedChunkIds[{number}]: uploaded for {_whose(chunk.account, chunk.container)}",
                expected=f"chunks for {_whose(attributes.account, attributes.container)}, by {ACCOUNT} and {CONTAINER}",
            )
        try:
            store.stat(chunk.blob)
        except NotFoundError:
            what = f"signedChunkIds[{number}]: not there any more"
            raise BadRequestError(what, mend="upload it again") from None
    return joined(store, [chunk.blob for chunk in chunks])


def _whose(account: str, container: str) -> str:
    return f"{account}/{container}" if account or container else "no account"


def joined(store: BlobStore, ids: Iterable[str]) -> Iterator[bytes]:
    """Yield the bytes of some blobs, one after the other."""
    for blob_id in ids:
        with store.open(blob_id) as stream:
            while data := stream.read(READ_BYTES):
                yield data
