"""``GET`` and ``HEAD``: a blob, a range of it, or what is known of it."""

import datetime as dt
import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import IO, Final

from flask import Flask, Response, request
from werkzeug.http import http_date, is_resource_modified

from yarnmill.blobs import BlobInfo, OpenBlob, parse_blob_id
from yarnmill.blobs.http.access import Access
from yarnmill.blobs.http.bodies import READ_BYTES
from yarnmill.blobs.http.headers import Answer, info_headers, user_headers
from yarnmill.blobs.http.ranges import parse_range
from yarnmill.blobs.http.refusals import of_request
from yarnmill.errors import BadDataError

NO_PAGE: Final = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}
"""What somebody put is shown, but never acts, as a page of this server."""

_log = logging.getLogger(__name__)


def add_reading(app: Flask, access: Access) -> None:
    """Add the addresses of blobs and of what is known of them."""

    @app.get("/<blob_id>")
    def blob(blob_id: str) -> Response:
        """Answer a blob or a range of it."""
        with of_request():
            parse_blob_id(blob_id)
        return blob_response(access.require_read(blob_id), access)

    @app.get("/<blob_id>/BlobInfo")
    def blob_info(blob_id: str) -> Response:
        """Answer what is known of a blob, in headers."""
        with of_request():
            parse_blob_id(blob_id)
        info = _known(access, blob_id)
        return Answer(headers=[*_common(info, access), *info_headers(info, private=access.is_private(info))])

    @app.get("/<blob_id>/UserMetadata")
    def user_metadata(blob_id: str) -> Response:
        """Answer what the owner of a blob says of it, in headers."""
        with of_request():
            parse_blob_id(blob_id)
        info = _known(access, blob_id)
        return Answer(headers=[*_common(info, access), *user_headers(info)])


def _known(access: Access, blob_id: str) -> BlobInfo:
    with closing(access.require_read(blob_id)) as blob:
        return blob.info


def blob_response(blob: OpenBlob, access: Access) -> Response:
    """Return the answer to a request for a blob that may be read: all of it, a range, or that it is as it was."""
    return closed_with_answer(blob, lambda: _answer(blob, access))


def closed_with_answer(blob: OpenBlob, answer: Callable[[], Response]) -> Response:
    """Return an answer at whose end a blob is closed, which it is at once if there is no answer."""
    try:
        response = answer()
    except BaseException:
        blob.close()
        raise
    response.call_on_close(blob.close)
    return response


def _answer(blob: OpenBlob, access: Access) -> Response:
    info = blob.info
    created = dt.datetime.fromtimestamp(info.created_at_ms // 1000, dt.UTC)
    response = Answer(headers=_common(info, access))
    response.set_etag(info.sha256)
    if not is_resource_modified(request.environ, etag=info.sha256, last_modified=created):
        response.status_code = 304
        return response
    for name, value in info_headers(info, private=access.is_private(info)):
        response.headers[name] = value
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Content-Type"] = response.headers["x-ambry-content-type"]
    response.headers.extend(NO_PAGE)
    start, stop = 0, info.size_bytes
    wanted = parse_range(request.headers.get("Range", ""), info.size_bytes) if _range_holds(info) else None
    if wanted is not None:
        start, stop = wanted
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{info.size_bytes}"
    if request.method != "HEAD":
        send_part(response, blob, start, stop)
    response.headers["Content-Length"] = str(stop - start)
    return response


def _range_holds(info: BlobInfo) -> bool:
    """Return whether a range is asked for of these very bytes."""
    condition = request.if_range
    return condition.date is None and condition.etag in {None, info.sha256}


def _common(info: BlobInfo, access: Access) -> list[tuple[str, str]]:
    # A public blob may be kept by a cache, which asks each time whether it was deleted.
    cached = "private, no-store" if access.is_private(info) else "public, no-cache"
    return [("Last-Modified", http_date(info.created_at_ms // 1000)), ("Cache-Control", cached)]


def send_part(response: Response, blob: OpenBlob, start: int, stop: int) -> None:
    """Let an answer be a part of a blob."""
    source = blob.part(start, stop)
    first = source.read(READ_BYTES)  # before the status is sent: damage here is still an answer of its own
    response.response = _rest(blob.info.id, first, source)


def _rest(blob_id: str, first: bytes, source: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a blob; damage ends the connection before the length that was promised."""
    yield first
    try:
        while chunk := source.read(READ_BYTES):
            yield chunk
    except BadDataError as problem:
        _log.error("%s: cut off in the middle of an answer: %s", blob_id, problem.what)
        # gunicorn closes the connection, as if the client had, and writes no second report.
        raise BrokenPipeError(errno.EPIPE, problem.what) from None
