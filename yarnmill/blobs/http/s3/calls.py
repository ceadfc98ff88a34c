"""What every operation of S3 is given: who asks, and of which container and key."""

from typing import Final, NamedTuple

from flask import request

from yarnmill.blobs import BlobInfo, BlobName, BlobStore, parse_name
from yarnmill.blobs.http.s3.identity import Caller
from yarnmill.blobs.http.s3.refusals import S3Error
from yarnmill.blobs.http.tokens import Right
from yarnmill.errors import ConfigurationError, NotFoundError

UPLOADS: Final = "s3-uploads"
"""The container that the parts of unfinished uploads lie in; S3 clients do not see it."""

_MOST_KEY_BYTES: Final = 1024


class Call(NamedTuple):
    """One request; ``container`` and ``key`` are empty where it names none."""

    store: BlobStore
    caller: Caller
    account: str
    container: str
    key: str

    def require(self, right: Right) -> None:
        """Refuse the request unless its sender has a right on what it names."""
        self.caller.require(right, self.account, self.container)

    @property
    def name(self) -> BlobName:
        """The name of the blob."""
        return self.name_of(self.key)

    def name_of(self, key: str) -> BlobName:
        """Return the name of the blob of another key."""
        return BlobName(account=self.account, container=self.container, name=key)

    def header(self, name: str) -> str:
        """Return a header, empty if it is not there."""
        return request.headers.get(name, "")


def live(store: BlobStore, name: BlobName) -> BlobInfo | None:
    """Return what is known of a blob, None if it is not there, or no more."""
    try:
        return store.stat(name.id)
    except NotFoundError:
        return None


def check_key(account: str, container: str, key: str) -> None:
    """Raise S3Error unless a blob can have the name; ``key`` is empty where only the others are asked for."""
    if len(key.encode(errors="replace")) > _MOST_KEY_BYTES:
        raise S3Error("KeyTooLongError", "the key is too long", expected=f"at most {_MOST_KEY_BYTES} bytes")
    if container == UPLOADS:
        raise S3Error("AccessDenied", f"{UPLOADS} is no bucket", expected="another one")
    try:
        parse_name(f"{account}/{container or 'c'}/{key or '-'}")
    except ConfigurationError as problem:
        code = "InvalidArgument" if key else "InvalidBucketName"
        raise S3Error(code, problem.what, expected=problem.expected) from None
