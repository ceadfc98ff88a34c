"""The keys of a bucket in pages, and the buckets of an account."""

import base64
import binascii
import datetime as dt
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec
from flask import Response, request

from yarnmill.blobs import BlobInfo, BlobName, BlobStore
from yarnmill.blobs.http.headers import Answer, parse_integer
from yarnmill.blobs.http.s3.calls import UPLOADS, Call
from yarnmill.blobs.http.s3.documents import Element, Fields, document, is_text
from yarnmill.blobs.http.s3.objects import etag
from yarnmill.blobs.http.s3.refusals import S3Error
from yarnmill.errors import BadDataError, NotFoundError

_MOST_KEYS: Final = 1000
_LAST: Final = "\U0010ffff"
"""Comes after all other characters: what begins with a prefix comes before the prefix and this."""


class Query(NamedTuple):
    """What is to be listed: names that begin with ``prefix``, after one, folded at ``delimiter``."""

    prefix: str
    delimiter: str
    after: str
    most: int

    def common_prefix(self, name: str) -> str:
        """Return what stands for a name together with others, empty if it stands for itself."""
        at = name.find(self.delimiter, len(self.prefix)) if self.delimiter else -1
        return "" if at < 0 else name[: at + len(self.delimiter)]


class Page(NamedTuple):
    """What is listed: blobs, one that is damaged by its name alone; prefixes; what the next page comes after."""

    blobs: list[tuple[str, BlobInfo | None]]
    prefixes: list[str]
    following: str | None


def page_of(store: BlobStore, account: str, container: str, query: Query) -> Page:
    """Return the first names, and what they have in common, without those that are gone."""
    page, last, after = Page([], [], None), query.after, query.after
    while names := store.names(account, container, query.prefix, after, _MOST_KEYS):
        for name in names:
            common = query.common_prefix(name.name)
            if common and common == last:
                continue
            found, info = _looked_at(store, name)
            if not found:
                continue
            if len(page.blobs) + len(page.prefixes) == query.most:
                return page._replace(following=last)
            last = common or name.name
            if common:
                page.prefixes.append(common)
            else:
                page.blobs.append((name.name, info))
        if len(names) < _MOST_KEYS:
            break
        after = names[-1].name
        if query.common_prefix(after) == last:  # it stands for all that begin so, and they may be many
            after = max(after, last + _LAST)
    return page


def _looked_at(store: BlobStore, name: BlobName) -> tuple[bool, BlobInfo | None]:
    """Return whether a blob is there, and what is known of it, which is nothing if it is damaged."""
    try:
        return True, store.stat(name.id)
    except NotFoundError:
        return False, None
    except BadDataError:  # its neighbours are well, and whoever reads it is told
        return True, None


def list_objects(call: Call) -> Response:
    """Answer a page of keys, in S3's second form or its first."""
    call.require("read")
    is_second = request.args.get("list-type") == "2"
    token, marker = request.args.get("continuation-token"), request.args.get("marker", "")
    start = request.args.get("start-after", "") if is_second else marker
    most = parse_integer(request.args, "max-keys")
    query = Query(
        prefix=request.args.get("prefix", ""),
        delimiter=request.args.get("delimiter", ""),
        after=_parse_token(token) if is_second and token is not None else start,
        most=_MOST_KEYS if most is None else min(most, _MOST_KEYS),
    )
    page = page_of(call.store, call.account, call.container, query) if query.most else Page([], [], None)
    texts = [query.prefix, query.delimiter, start, *page.prefixes, *(name for name, _ in page.blobs)]
    # XML has no way to write some characters, whether the client thought of them or not.
    encoding = "url" if not all(map(is_text, texts)) else request.args.get("encoding-type", "")

    def shown(text: str) -> str:
        return spelled(text, encoding)

    fields: list[tuple[str, str] | Element] = [
        ("Name", call.container),
        ("Prefix", shown(query.prefix)),
        ("MaxKeys", str(query.most)),
        ("IsTruncated", str(page.following is not None).lower()),
    ]
    if query.delimiter:
        fields.append(("Delimiter", shown(query.delimiter)))
    if encoding:
        fields.append(("EncodingType", encoding))
    if is_second:
        fields.append(("KeyCount", str(len(page.blobs) + len(page.prefixes))))
        fields += [("StartAfter", shown(start))] if start else []
        fields += [("ContinuationToken", token)] if token is not None else []
        fields += [("NextContinuationToken", _render_token(page.following))] if page.following is not None else []
    else:
        fields.append(("Marker", shown(marker)))
        fields += [("NextMarker", shown(page.following))] if page.following is not None else []
    fields += [Element("Contents", _facts(shown(name), info)) for name, info in page.blobs]
    fields += [Element("CommonPrefixes", [("Prefix", shown(prefix))]) for prefix in page.prefixes]
    return xml_answer(Element("ListBucketResult", fields))


def spelled(text: str, encoding: str) -> str:
    """Return a text as it stands in an answer that says so of its encoding."""
    return quote(text, safe="/", errors="replace") if encoding == "url" else text


def _facts(key: str, info: BlobInfo | None) -> Fields:
    if info is None:
        return [("Key", key)]
    return [
        ("Key", key),
        ("LastModified", iso_time(info.created_at_ms)),
        ("ETag", etag(info)),
        ("Size", str(info.size_bytes)),
        ("StorageClass", "STANDARD"),
    ]


def list_buckets(call: Call) -> Response:
    """Answer the containers of an account that names are in."""
    call.require("read")
    names = [name for name in call.store.containers(call.account) if name != UPLOADS]
    buckets = [Element("Bucket", [("Name", name), ("CreationDate", iso_time(0))]) for name in names]
    owner = Element("Owner", [("ID", call.account), ("DisplayName", call.account)])
    return xml_answer(Element("ListAllMyBucketsResult", [owner, Element("Buckets", buckets)]))


def xml_answer(root: Element) -> Response:
    """Return a document as an answer."""
    return Answer(document(root), mimetype="application/xml")


def iso_time(at_ms: int) -> str:
    """Return a time as S3's documents have it."""
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _render_token(after: str) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(after)).decode()


def _parse_token(text: str) -> str:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=str)
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise S3Error("InvalidArgument", "continuation-token: not one of this server", mend="list anew") from None
