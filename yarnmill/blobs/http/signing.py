"""What the server signs and later knows again: URLs that stand for a token, and ids of uploaded chunks.

HMAC-SHA256 over everything that is said, by the key in the tokens file; compared in constant time. A signed URL is good
until it expires, also where the token of its signer is taken back; another key in the file ends all of them at once.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlencode

from yarnmill.blobs.http.headers import URL_TYPE
from yarnmill.blobs.http.refusals import BadRequestError, UnauthorizedError
from yarnmill.errors import BadDataError
from yarnmill.records import Record, compact_json, parse_json

SIGNATURE: Final = "x-ambry-signature"
EXPIRY: Final = "et"
"""Parameter of a signed URL: until when it is good, in seconds since 1970."""

CHUNK_PREFIX: Final = "signedId/"


class Chunk(Record, frozen=True):
    """An uploaded part of a blob to come: the blob that keeps it, and what it was uploaded for."""

    blob: str
    session: str
    account: str
    container: str


def signature(key: str, *said: str) -> str:
    """Return the signature of some texts."""
    return hmac.new(bytes.fromhex(key), json.dumps(said).encode(), hashlib.sha256).hexdigest()


def signed_url(key: str, method: str, base: str, path: str, arguments: Iterable[tuple[str, str]]) -> str:
    """Return a URL below ``base`` that is good for one method with these arguments, its expiry among them."""
    query = urlencode(sorted((*arguments, (URL_TYPE, method))))
    return f"{base.rstrip('/')}{path}?{query}&{SIGNATURE}={signature(key, 'url', method, path, query)}"


def verify_url(key: str, method: str, path: str, pairs: Iterable[tuple[str, str]], now_s: float) -> dict[str, str]:
    """Return the arguments of a signed URL.

    Raises
    ------
    UnauthorizedError
        If it was changed, is used for something else, or has expired.
    """
    pairs = list(pairs)
    arguments = dict(pairs)
    query = urlencode(sorted(pair for pair in pairs if pair[0] != SIGNATURE))
    wanted = signature(key, "url", method, path, query)
    if not hmac.compare_digest(wanted.encode(), arguments.pop(SIGNATURE).encode()):
        raise UnauthorizedError("the signature does not fit this request", expected="the URL as it was signed")
    del arguments[URL_TYPE]
    if now_s >= int(arguments.pop(EXPIRY)):
        raise UnauthorizedError("the signed URL has expired", mend="have another one signed")
    return arguments


def render_chunk_id(key: str, chunk: Chunk) -> str:
    """Return the id that a client knows a chunk by."""
    said = base64.urlsafe_b64encode(compact_json(chunk)).decode().rstrip("=")
    return f"{CHUNK_PREFIX}{said}.{signature(key, 'chunk', said)}"


def parse_chunk_id(key: str, text: str) -> Chunk:
    """Return what a chunk's id says.

    Raises
    ------
    BadRequestError
        If this server did not sign it.
    """
    said, _, signed = text.removeprefix("/").removeprefix(CHUNK_PREFIX).partition(".")
    if not hmac.compare_digest(signature(key, "chunk", said).encode(), signed.encode()):
        raise BadRequestError(f"{text[:80]!r}: not an id of a chunk that was uploaded here", expected="/signedId/…")
    try:
        return parse_json(base64.urlsafe_b64decode(said + "=" * (-len(said) % 4)), Chunk, source="chunk")
    except (binascii.Error, BadDataError):
        raise BadRequestError(f"{text[:80]!r}: of another version", mend="upload the chunks again") from None
