"""``GET /signedUrl``: a URL by which somebody without a token reads one blob, or puts one, for a while."""

import secrets
import time
from typing import Final

from flask import Flask, Response, request

from yarnmill.blobs import parse_blob_id
from yarnmill.blobs.http.access import Access
from yarnmill.blobs.http.headers import (
    BLOB_ID,
    CHUNK_UPLOAD,
    CONTENT_TYPE,
    MAX_UPLOAD_SIZE,
    SERVICE,
    SESSION,
    SIGNED_URL,
    URL_TTL,
    URL_TYPE,
    Answer,
    Arguments,
    ambry_headers,
    parse_attributes,
    parse_flag,
    parse_integer,
    required,
)
from yarnmill.blobs.http.refusals import BadRequestError, of_request
from yarnmill.blobs.http.signing import EXPIRY, signed_url

_TTL_S: Final = 300
_MOST_TTL_S: Final = 86_400
_MOST_UPLOAD_BYTES: Final = 100 * 1024 * 1024
"""What a signed URL lets somebody put if the signer does not say."""

_OF_THE_URL: Final = (URL_TYPE, URL_TTL, BLOB_ID)


def add_signed_urls(app: Flask, access: Access) -> None:
    """Add the address that signs."""

    @app.get("/signedUrl")
    def sign() -> Response:
        """Answer a signed URL in a header; the arguments of the put that it allows are in it."""
        arguments = ambry_headers()
        method = required(arguments, URL_TYPE)
        ttl_s = min(parse_integer(arguments, URL_TTL, least=1) or _TTL_S, _MOST_TTL_S)
        expiry = EXPIRY, str(int(time.time()) + ttl_s)
        match method:
            case "GET":
                path, said = f"/{_readable(access, arguments)}", {}
            case "POST":
                path, said = "/", _of_put(access, arguments)
            case _:
                raise BadRequestError(f"{URL_TYPE}: {method!r}", expected="GET or POST")
        url = signed_url(access.signing_key, method, request.host_url, path, (expiry, *said.items()))
        return Answer(headers={SIGNED_URL: url, "Cache-Control": "private, no-store"})


def _readable(access: Access, arguments: Arguments) -> str:
    with of_request():
        blob_id = parse_blob_id(required(arguments, BLOB_ID).removeprefix("/"))
    access.require_read(blob_id).close()
    return blob_id


def _of_put(access: Access, arguments: Arguments) -> dict[str, str]:
    access.put_arguments()
    parse_attributes({SERVICE: "-", CONTENT_TYPE: "-", **arguments})  # whoever uses the URL can say these
    said = {name: value for name, value in arguments.items() if name not in _OF_THE_URL}
    most = parse_integer(arguments, MAX_UPLOAD_SIZE)
    said[MAX_UPLOAD_SIZE] = str(_MOST_UPLOAD_BYTES if most is None else most)
    if parse_flag(arguments, CHUNK_UPLOAD):
        said.setdefault(SESSION, secrets.token_hex(16))
    return said
