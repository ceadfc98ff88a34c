"""The uploads in parts that are under way in a bucket, in pages."""

from typing import Final, NamedTuple

from flask import Response, request

from yarnmill.blobs.http.headers import parse_integer
from yarnmill.blobs.http.s3 import uploads
from yarnmill.blobs.http.s3.calls import Call
from yarnmill.blobs.http.s3.documents import Element
from yarnmill.blobs.http.s3.listing import Query, iso_time, spelled, xml_answer
from yarnmill.blobs.http.s3.uploads import Begun

_MOST_UPLOADS: Final = 1000


class _Page(NamedTuple):
    begun: list[Begun]
    prefixes: list[str]
    following: tuple[str, str] | None
    """Key and id that the next page comes after; a common prefix has no id."""


def list_uploads(call: Call) -> Response:
    """Answer a page of the uploads of a bucket that are neither complete nor given up."""
    call.require("write")
    most = parse_integer(request.args, "max-uploads")
    query = Query(
        prefix=request.args.get("prefix", ""),
        delimiter=request.args.get("delimiter", ""),
        after=request.args.get("key-marker", ""),
        most=_MOST_UPLOADS if most is None else min(most, _MOST_UPLOADS),
    )
    after_id = request.args.get("upload-id-marker", "")
    begun = uploads.begun(call.store, call.account, call.container, query.prefix) if query.most else []
    page = _page(begun, query, after_id)
    # Only if it is asked for: unlike those of keys, clients do not undo the encoding of these answers by themselves.
    encoding = request.args.get("encoding-type", "")

    def shown(text: str) -> str:
        return spelled(text, encoding)

    fields: list[tuple[str, str] | Element] = [
        ("Bucket", call.container),
        ("Prefix", shown(query.prefix)),
        ("KeyMarker", shown(query.after)),
        ("UploadIdMarker", after_id),
        ("MaxUploads", str(query.most)),
        ("IsTruncated", str(page.following is not None).lower()),
    ]
    fields += [("Delimiter", shown(query.delimiter))] if query.delimiter else []
    fields += [("EncodingType", encoding)] if encoding else []
    if page.following is not None:
        key, upload_id = page.following
        fields += [("NextKeyMarker", shown(key)), ("NextUploadIdMarker", upload_id)]
    fields += [Element("Upload", _facts(shown(one.key), one)) for one in page.begun]
    fields += [Element("CommonPrefixes", [("Prefix", shown(prefix))]) for prefix in page.prefixes]
    return xml_answer(Element("ListMultipartUploadsResult", fields))


def _page(begun: list[Begun], query: Query, after_id: str) -> _Page:
    marker = query.after, after_id
    page, last = _Page([], [], None), marker
    # A marker without an id is a key, all of whose uploads were shown, or a prefix that stands for many.
    later = (one for one in begun if ((one.key, one.upload_id) > marker if after_id else one.key > query.after))
    for one in later:
        common = query.common_prefix(one.key)
        if common and common == last[0]:
            continue
        if len(page.begun) + len(page.prefixes) == query.most:
            return page._replace(following=last)
        if common:
            page.prefixes.append(common)
            last = common, ""
        else:
            page.begun.append(one)
            last = one.key, one.upload_id
    return page


def _facts(key: str, one: Begun) -> list[tuple[str, str]]:
    return [
        ("Key", key),
        ("UploadId", one.upload_id),
        ("Initiated", iso_time(one.at_ms)),
        ("StorageClass", "STANDARD"),
    ]
