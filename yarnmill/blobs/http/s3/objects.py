"""``PUT``, ``GET``, ``HEAD`` and ``DELETE`` of one key."""

import base64
import datetime as dt
from collections.abc import Iterator
from http import HTTPStatus
from typing import IO, Final

from flask import Response, request
from werkzeug.http import http_date

from yarnmill.blobs import Attributes, BlobInfo, OpenBlob
from yarnmill.blobs.http.bodies import READ_BYTES
from yarnmill.blobs.http.headers import Answer, user_headers, value_of
from yarnmill.blobs.http.ranges import parse_range
from yarnmill.blobs.http.reading import NO_PAGE, closed_with_answer, send_part
from yarnmill.blobs.http.s3.calls import Call, live
from yarnmill.blobs.http.s3.documents import Element, document
from yarnmill.blobs.http.s3.payload import Payload
from yarnmill.blobs.http.s3.refusals import S3Error
from yarnmill.errors import ConflictError, NotFoundError

META: Final = "x-amz-meta-"
SERVICE: Final = "s3"

_MOST_META_BYTES: Final = 2048
_NOT_KEPT: Final = (
    "cache-control",
    "content-disposition",
    "content-language",
    "expires",
    "x-amz-grant-",
    "x-amz-object-lock-",
    "x-amz-server-side-encryption",
    "x-amz-tagging",
    "x-amz-website-redirect-location",
)
"""What S3 would keep or do with a put; to take it and forget it would damage what is read."""

_OVERRIDES: Final = ("Content-Type", "Content-Disposition", "Cache-Control", "Content-Language", "Expires")
"""Headers of an answer that a signed request may ask for."""


def put_object(call: Call) -> Response:
    """Store the body under a key that no blob has or had; the same once more is the same blob."""
    call.require("write")
    attributes, payload = said_attributes(call), Payload(call.caller)
    stream = payload.stream()
    if (known := live(call.store, call.name)) is not None:
        refuse_if_wanted_absent(call)
        if payload.said_sha256 not in {None, known.sha256} or not is_alike(known, attributes):
            raise taken(call)
    else:
        known = put_anew(call, stream, attributes)
    while stream.read(READ_BYTES):  # what the store has not read: what its hash is, the payload knows at its end
        pass
    if known.sha256 != payload.sha256:
        raise taken(call)
    return Answer(headers={"ETag": etag(known), **payload.echoes})


def put_anew(call: Call, stream: IO[bytes], attributes: Attributes) -> BlobInfo:
    """Store a blob under the key of a call, where none is; what somebody else put alike meanwhile stands for it.

    Raises
    ------
    ConflictError
        If another blob has or had the key.
    """
    try:
        return call.store.put(stream, attributes, name=call.name)
    except ConflictError:  # it was deleted, or somebody else put it meanwhile
        refuse_if_wanted_absent(call)
        known = live(call.store, call.name)
        if known is None or not is_alike(known, attributes):
            raise
        return known


def taken(call: Call) -> S3Error:
    """Return the error of a put whose key a blob with other bytes, or of which other things are said, has."""
    what = f"{call.name}: a blob has this name, and keeps it for ever"
    return S3Error("ObjectAlreadyExists", what, mend="choose another key")


def refuse_if_wanted_absent(call: Call) -> None:
    """Refuse a put that is to be one only where nothing is."""
    if call.header("If-None-Match") == "*":
        raise S3Error("PreconditionFailed", "If-None-Match: * and a blob has or had this name")


def etag(info: BlobInfo) -> str:
    """Return the ETag of a blob."""
    return f'"{info.sha256}"'


def said_attributes(call: Call) -> Attributes:
    """Return what a blob is to be put with.

    Raises
    ------
    S3Error
        If something is asked for that could not be kept.
    """
    headers = {name.lower(): value for name, value in request.headers.items()}
    if lost := next((name for name in headers if name.startswith(_NOT_KEPT)), None):
        raise S3Error("NotImplemented", f"{lost}: is not kept here", expected=f"the same as {META}… of your own")
    if headers.get("content-encoding", "aws-chunked").strip(", ") not in {"", "aws-chunked"}:
        raise S3Error("NotImplemented", "content-encoding: is not kept here", expected="the bytes as they are")
    if headers.get("x-amz-acl", "private") not in {"private", "bucket-owner-full-control"}:
        raise S3Error("NotImplemented", "x-amz-acl: access is a matter of the container", mend="the list `public`")
    if call.header("If-None-Match") not in {"", "*"} or call.header("If-Match"):
        raise S3Error("NotImplemented", "a put can be conditional on nothing being there", expected="If-None-Match: *")
    user = {name.removeprefix(META): _utf8(name, value) for name, value in headers.items() if name.startswith(META)}
    if sum(len(name) + len(value.encode()) for name, value in user.items()) > _MOST_META_BYTES:
        raise S3Error("MetadataTooLarge", "the user's metadata is too large", expected=f"{_MOST_META_BYTES} bytes")
    token = call.caller.token
    content_type = headers.get("content-type") or Attributes().content_type
    return Attributes(content_type=content_type, owner=token.name if token else "", service=SERVICE, user=user)


def _utf8(name: str, value: str) -> str:
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise S3Error("InvalidArgument", f"{name}: not UTF-8", expected="text in UTF-8") from None


def is_alike(known: BlobInfo, attributes: Attributes) -> bool:
    """Return whether a blob was put with the same type and metadata."""
    said = known.attributes or Attributes()
    return (said.content_type, dict(said.user)) == (attributes.content_type, dict(attributes.user))


def get_object(call: Call) -> Response:
    """Answer a blob, a range of it, or that it is as it was."""
    call.require("read")
    blob = call.store.opened(call.name.id)
    return closed_with_answer(blob, lambda: _answer(call, blob))


def _answer(call: Call, blob: OpenBlob) -> Response:
    info = blob.info
    response = Answer(headers={"ETag": etag(info), "Last-Modified": http_date(info.created_at_ms // 1000)})
    if not _is_wanted(info):
        response.status_code = HTTPStatus.NOT_MODIFIED
        return response
    response.headers.extend(_facts(info))
    for name, value in _asked_for(call):
        response.headers[name] = value
    wanted = parse_range(call.header("Range"), info.size_bytes)
    start, stop = wanted or (0, info.size_bytes)
    if wanted is not None:
        response.status_code = HTTPStatus.PARTIAL_CONTENT
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{info.size_bytes}"
    elif call.header("x-amz-checksum-mode").upper() == "ENABLED":
        response.headers["x-amz-checksum-sha256"] = base64.b64encode(bytes.fromhex(info.sha256)).decode()
        response.headers["x-amz-checksum-type"] = "FULL_OBJECT"
    if request.method != "HEAD":
        send_part(response, blob, start, stop)
    response.headers["Content-Length"] = str(stop - start)
    return response


def _facts(info: BlobInfo) -> Iterator[tuple[str, str]]:
    yield "Accept-Ranges", "bytes"
    yield "Content-Type", value_of((info.attributes or Attributes()).content_type)
    if info.expires_at_ms is not None:
        yield "x-amz-expiration", f'expiry-date="{http_date(info.expires_at_ms // 1000)}", rule-id="ttl"'
    yield from user_headers(info, META)
    yield from NO_PAGE.items()


def _asked_for(call: Call) -> Iterator[tuple[str, str]]:
    for header in _OVERRIDES:
        value = request.args.get(f"response-{header.lower()}")
        if value is not None:
            if call.caller.token is None and not call.caller.access.is_open:
                raise S3Error("InvalidRequest", f"response-{header.lower()} needs a signed request")
            yield header, value_of(value)


def _is_wanted(info: BlobInfo) -> bool:
    """Return whether a blob is to be sent: False if the client has it.

    Raises
    ------
    S3Error
        If it is not the one that is meant.
    """
    made = dt.datetime.fromtimestamp(info.created_at_ms // 1000, dt.UTC)
    if request.if_match:
        if not request.if_match.contains(info.sha256):
            raise S3Error("PreconditionFailed", "If-Match: the blob has another ETag", expected=etag(info))
    elif request.if_unmodified_since is not None and made > request.if_unmodified_since:
        raise S3Error("PreconditionFailed", "If-Unmodified-Since: the blob is younger")
    if request.if_none_match:
        return not request.if_none_match.contains_weak(info.sha256)
    return request.if_modified_since is None or made > request.if_modified_since


def object_tagging(call: Call) -> Response:
    """Answer no tags, which a client asks for before it copies in parts: none are kept."""
    call.require("read")
    call.store.stat(call.name.id)
    return Answer(document(Element("Tagging", [Element("TagSet", [])])), mimetype="application/xml")


def delete_object(call: Call) -> Response:
    """Delete a blob; nothing happens if there is none. Nobody else gets its name."""
    call.require("delete")
    delete_key(call, call.key)
    return Answer(status=HTTPStatus.NO_CONTENT)


def delete_key(call: Call, key: str) -> None:
    """Delete the blob of a key, if there is one."""
    try:
        call.store.delete(call.name_of(key).id)
    except NotFoundError:
        return
