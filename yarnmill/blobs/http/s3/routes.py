"""The addresses of S3, and which operation a request is: a matter of its method and its query."""

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Final

from flask import Blueprint, Flask, Response, request

from yarnmill.blobs import BlobStore
from yarnmill.blobs.http.access import Access
from yarnmill.blobs.http.s3 import buckets, copying, listing, multipart, objects, ongoing
from yarnmill.blobs.http.s3.calls import Call, check_key
from yarnmill.blobs.http.s3.identity import identified
from yarnmill.blobs.http.s3.refusals import S3Error, add_s3_refusals

Operation = Callable[[Call], Response]

_METHODS: Final = ("GET", "HEAD", "PUT", "POST", "DELETE")


def _or_copied(put: Operation, copy: Operation) -> Operation:
    return lambda call: copy(call) if call.header(copying.SOURCE) else put(call)


_OF_KEY: Final[Mapping[tuple[str, str], Operation]] = {
    ("GET", ""): objects.get_object,
    ("HEAD", ""): objects.get_object,
    ("PUT", ""): _or_copied(objects.put_object, copying.copy_object),
    ("DELETE", ""): objects.delete_object,
    ("GET", "tagging"): objects.object_tagging,
    ("GET", "uploadId"): multipart.list_parts,
    ("PUT", "uploadId"): _or_copied(multipart.put_part, copying.copy_part),
    ("POST", "uploads"): multipart.create_upload,
    ("POST", "uploadId"): multipart.complete_upload,
    ("DELETE", "uploadId"): multipart.abort_upload,
}
_OF_BUCKET: Final[Mapping[tuple[str, str], Operation]] = {
    ("GET", ""): listing.list_objects,
    ("HEAD", ""): buckets.head_bucket,
    ("PUT", ""): buckets.create_bucket,
    ("DELETE", ""): buckets.delete_bucket,
    ("GET", "location"): buckets.bucket_location,
    ("GET", "uploads"): ongoing.list_uploads,
    ("GET", "versioning"): buckets.bucket_versioning,
    ("POST", "delete"): buckets.delete_objects,
}
_OF_ACCOUNT: Final[Mapping[tuple[str, str], Operation]] = {("GET", ""): listing.list_buckets}

_SUBRESOURCES: Final = frozenset(
    re.findall(
        r"\S+",
        """
        accelerate acl analytics attributes cors delete encryption intelligent-tiering inventory legal-hold lifecycle
        location logging metadataTable metrics notification object-lock ownershipControls partNumber policy policyStatus
        publicAccessBlock renameObject replication requestPayment restore retention select session tagging torrent
        uploadId uploads versionId versioning versions website
        """,
    )
)
"""Words of a query that make another operation of a request; all others are its arguments."""


def add_s3(app: Flask, store: BlobStore, access: Access) -> None:
    """Add the addresses of S3."""
    blueprint = Blueprint("s3", __name__, url_prefix="/s3")
    add_s3_refusals(blueprint)

    def answer(operations: Mapping[tuple[str, str], Operation], account: str, container: str, key: str) -> Response:
        operation = _operation(operations)
        check_key(account, container, key)
        caller = identified(access, dt.datetime.now(dt.UTC))
        return operation(Call(store=store, caller=caller, account=account, container=container, key=key))

    @blueprint.route("/<account>", methods=_METHODS)
    @blueprint.route("/<account>/", methods=_METHODS)
    def of_account(account: str) -> Response:
        """Answer an operation on all buckets."""
        return answer(_OF_ACCOUNT, account, "", "")

    @blueprint.route("/<account>/<container>", methods=_METHODS)
    @blueprint.route("/<account>/<container>/", methods=_METHODS)
    def of_bucket(account: str, container: str) -> Response:
        """Answer an operation on a bucket."""
        return answer(_OF_BUCKET, account, container, "")

    @blueprint.route("/<account>/<container>/<name:key>", methods=_METHODS)
    def of_key(account: str, container: str, key: str) -> Response:
        """Answer an operation on a key."""
        return answer(_OF_KEY, account, container, key)

    app.register_blueprint(blueprint)


def _operation(operations: Mapping[tuple[str, str], Operation]) -> Operation:
    words = _SUBRESOURCES & request.args.keys()
    if "uploadId" in words:
        words -= {"partNumber"}
    found = operations.get((request.method, min(words, default=""))) if len(words) <= 1 else None
    if found is None:
        what = f"{request.method} {' '.join(sorted(words))}".rstrip()
        raise S3Error("NotImplemented", f"{what}: not of the subset of S3 that is spoken here")
    return found
