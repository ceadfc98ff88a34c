"""Copies within the store: a key, or a part of an upload, of the bytes of another key; none leaves the server."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple
from urllib.parse import unquote

from flask import Response, request
from werkzeug.http import parse_etags

from yarnmill.blobs import Attributes, BlobInfo, BlobName, OpenBlob
from yarnmill.blobs.http.s3 import uploads
from yarnmill.blobs.http.s3.calls import Call, check_key, live
from yarnmill.blobs.http.s3.documents import Element
from yarnmill.blobs.http.s3.listing import iso_time, xml_answer
from yarnmill.blobs.http.s3.multipart import part_number, upload_of
from yarnmill.blobs.http.s3.objects import etag, is_alike, put_anew, refuse_if_wanted_absent, said_attributes, taken
from yarnmill.blobs.http.s3.refusals import S3Error

SOURCE: Final = "x-amz-copy-source"

_RANGE: Final = f"{SOURCE}-range"
_IF_MATCH: Final = f"{SOURCE}-if-match"
_IF_NONE_MATCH: Final = f"{SOURCE}-if-none-match"
_KNOWN: Final = frozenset({SOURCE, _RANGE, _IF_MATCH, _IF_NONE_MATCH})
_DIRECTIVE: Final = "x-amz-metadata-directive"


class _Source(NamedTuple):
    """What is copied: the blob, open, and its name."""

    blob: OpenBlob
    name: BlobName


def copy_object(call: Call) -> Response:
    """Store the bytes of another key under a key that no blob has or had; the same once more is the same blob."""
    call.require("write")
    directive = call.header(_DIRECTIVE) or "COPY"
    if directive not in {"COPY", "REPLACE"}:
        raise S3Error("InvalidArgument", f"{_DIRECTIVE}: {directive[:40]}", expected="COPY or REPLACE")
    said = said_attributes(call)
    with _source(call) as source:
        before = source.blob.info
        kept = before.attributes or Attributes()
        # Who copies owns the copy; how long the other one lives is its own matter.
        attributes = said if directive == "REPLACE" else _with(said, kept)
        known = live(call.store, call.name)
        if known is not None:
            refuse_if_wanted_absent(call)
        else:
            known = put_anew(call, source.blob.part(), attributes)
    if known.sha256 != before.sha256 or not is_alike(known, attributes):
        raise taken(call)
    return _answer("CopyObjectResult", known)


def copy_part(call: Call) -> Response:
    """Store the bytes of another key, or a range of them, as a part of an upload."""
    call.require("write")
    number = part_number()
    upload_of(call)
    with _source(call) as source:
        start, stop = _range(call.header(_RANGE), source)
        part = uploads.put_part(
            call.store, call.account, request.args["uploadId"], number, source.blob.part(start, stop)
        )
    return _answer("CopyPartResult", part)


@contextmanager
def _source(call: Call) -> Iterator[_Source]:
    unknown = sorted(
        name for name in map(str.lower, request.headers.keys()) if name.startswith(SOURCE) and name not in _KNOWN
    )
    if unknown:
        raise S3Error("NotImplemented", f"{unknown[0]}: is not looked at here", expected=f"{_IF_MATCH}")
    name = _named(call)
    call.caller.require("read", call.account, name.container)
    blob = call.store.opened(name.id)
    try:
        _check_conditions(call, blob.info)
        yield _Source(blob, name)
    finally:
        blob.close()


def _named(call: Call) -> BlobName:
    text, query, _ = call.header(SOURCE).partition("?")
    if query:
        raise S3Error("NotImplemented", f"{SOURCE}: names a version", expected="no versionId: a key has one blob")
    container, slash, key = unquote(text, errors="surrogateescape").removeprefix("/").partition("/")
    if not (slash and container and key):
        raise S3Error("InvalidArgument", f"{SOURCE}: {text[:100]!r}", expected="BUCKET/KEY")
    check_key(call.account, container, key)
    return BlobName(account=call.account, container=container, name=key)


def _check_conditions(call: Call, info: BlobInfo) -> None:
    wanted, unwanted = call.header(_IF_MATCH), call.header(_IF_NONE_MATCH)
    if wanted and not parse_etags(wanted).contains(info.sha256):
        raise S3Error("PreconditionFailed", f"{_IF_MATCH}: the blob has another ETag", expected=etag(info))
    if unwanted and parse_etags(unwanted).contains_weak(info.sha256):
        raise S3Error("PreconditionFailed", f"{_IF_NONE_MATCH}: it is that blob")


def _range(text: str, source: _Source) -> tuple[int, int]:
    size = source.blob.info.size_bytes
    if not text:
        return 0, size
    first, dash, last = text.removeprefix("bytes=").partition("-")
    is_range = text.startswith("bytes=") and dash and first.isdecimal() and last.isdecimal()
    if not (is_range and int(first) <= int(last) < size):
        raise S3Error("InvalidRange", f"{_RANGE}: {text[:60]}", expected=f"bytes=FIRST-LAST within {size} bytes")
    return int(first), int(last) + 1


def _with(said: Attributes, kept: Attributes) -> Attributes:
    return Attributes(content_type=kept.content_type, owner=said.owner, service=said.service, user=kept.user)


def _answer(root: str, info: BlobInfo) -> Response:
    return xml_answer(Element(root, [("LastModified", iso_time(info.created_at_ms)), ("ETag", etag(info))]))
