"""The operations of a bucket beside its listing: a container is there as soon as somebody names it."""

from http import HTTPStatus
from typing import Final

from flask import Response

from yarnmill.blobs.http.headers import Answer
from yarnmill.blobs.http.s3.calls import Call, check_key
from yarnmill.blobs.http.s3.documents import Element, parse_elements
from yarnmill.blobs.http.s3.listing import Query, page_of, xml_answer
from yarnmill.blobs.http.s3.objects import delete_key
from yarnmill.blobs.http.s3.payload import Payload
from yarnmill.blobs.http.s3.refusals import S3Error

_MOST_DELETED: Final = 1000


def head_bucket(call: Call) -> Response:
    """Answer whether a bucket may be read."""
    call.require("read")
    return Answer()


def create_bucket(call: Call) -> Response:
    """Do nothing: the bucket is there."""
    call.require("write")
    return Answer(headers={"Location": f"/{call.container}"})


def delete_bucket(call: Call) -> Response:
    """Do nothing if the bucket is empty, for then it is none: a client that removes all there is ends with this."""
    call.require("delete")
    page = page_of(call.store, call.account, call.container, Query(prefix="", delimiter="", after="", most=1))
    if page.blobs:
        raise S3Error("BucketNotEmpty", f"{call.container} has keys", mend="delete them first")
    return Answer(status=HTTPStatus.NO_CONTENT)


def bucket_location(call: Call) -> Response:
    """Answer no region."""
    call.require("read")
    return xml_answer(Element("LocationConstraint", []))


def bucket_versioning(call: Call) -> Response:
    """Answer that there are no versions: a blob is never overwritten."""
    call.require("read")
    return xml_answer(Element("VersioningConfiguration", []))


def delete_objects(call: Call) -> Response:
    """Delete the blobs of the keys that the body names."""
    call.require("delete")
    body = Payload(call.caller).document()
    try:
        keys = [each["Key"] for each in parse_elements(body, "Delete", "Object")]
    except (KeyError, ValueError):
        raise S3Error("MalformedXML", "the body names no keys", expected="a Delete") from None
    if not 1 <= len(keys) <= _MOST_DELETED:
        raise S3Error("MalformedXML", f"the body names {len(keys)} keys", expected=f"1 to {_MOST_DELETED}")
    is_quiet = b"<Quiet>true</Quiet>" in body
    fields: list[Element] = []
    for key in keys:
        try:
            check_key(call.account, call.container, key)
            delete_key(call, key)
        except S3Error as problem:
            fields.append(Element("Error", [("Key", key), ("Code", problem.code), ("Message", problem.what)]))
        else:
            fields += [] if is_quiet else [Element("Deleted", [("Key", key)])]
    return xml_answer(Element("DeleteResult", fields))
