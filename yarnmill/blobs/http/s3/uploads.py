"""Uploads in parts: what is known of one, and its parts, are blobs out of sight that live for a week.

::

    ACCOUNT/s3-uploads/<upload>/upload               for which key, and with what it will be put
    ACCOUNT/s3-uploads/<upload>/<number>-<random>    a part, perhaps one of several of its number

So any server of the store can go on with an upload, and one that nobody completes goes by itself.
"""

import io
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from typing import IO, Final, NamedTuple

from yarnmill.blobs import Attributes, BlobInfo, BlobName, BlobStore
from yarnmill.blobs.http.s3.calls import UPLOADS
from yarnmill.blobs.http.s3.refusals import S3Error
from yarnmill.blobs.states import now_ms
from yarnmill.errors import BadDataError, NotFoundError
from yarnmill.records import Record, compact_json, parse_json

MOST_PARTS: Final = 10_000

_TTL_MS: Final = 7 * 86_400_000
_SERVICE: Final = "s3-upload"
_ID: Final = re.compile("[0-9a-f]{32}")
_HEAD: Final = "upload"


class Upload(Record, frozen=True):
    """What an upload will be: whose blob, of which name, put with what."""

    container: str
    key: str
    attributes: Attributes


class Part(Record, frozen=True):
    """A part: its number, and the blob that keeps it."""

    number: int
    info: BlobInfo


class Begun(NamedTuple):
    """An upload that is neither complete nor given up: its key and id, and when it began (milliseconds since 1970)."""

    key: str
    upload_id: str
    at_ms: int


def begin(store: BlobStore, account: str, upload: Upload) -> str:
    """Begin an upload and return its id."""
    upload_id = secrets.token_hex(16)
    store.put(io.BytesIO(compact_json(upload)), _attributes(), name=_name(account, upload_id, _HEAD))
    return upload_id


def find(store: BlobStore, account: str, container: str, key: str, upload_id: str) -> Upload:
    """Return an upload.

    Raises
    ------
    S3Error
        If there is none of that id for that key.
    """
    if _ID.fullmatch(upload_id):
        name = _name(account, upload_id, _HEAD)
        try:
            with store.open(name.id) as stream:
                upload = parse_json(stream.read(), Upload, source=str(name))
        except NotFoundError:
            pass
        else:
            if (upload.container, upload.key) == (container, key):
                return upload
    raise S3Error("NoSuchUpload", "there is no such upload of this key, or no more", mend="begin another one")


def begun(store: BlobStore, account: str, container: str, prefix: str) -> list[Begun]:
    """Return the uploads of a container whose keys begin with a prefix, ordered by key and id.

    It looks at every upload of the account that is not collected yet, for these are found by their ids alone.
    """
    found = []
    for name in store.names(account, UPLOADS):
        upload_id, _, leaf = name.name.partition("/")
        if leaf != _HEAD:
            continue
        with suppress(NotFoundError, BadDataError), closing(store.opened(name.id)) as blob:
            upload = parse_json(blob.part().read(), Upload, source=str(name))
            if upload.container == container and upload.key.startswith(prefix):
                found.append(Begun(upload.key, upload_id, blob.info.created_at_ms))
    return sorted(found)


def put_part(store: BlobStore, account: str, upload_id: str, number: int, stream: IO[bytes]) -> BlobInfo:
    """Store a part."""
    name = _name(account, upload_id, f"{number:05}-{secrets.token_hex(8)}")
    return store.put(stream, _attributes(), name=name)


def parts_of(store: BlobStore, account: str, upload_id: str) -> list[Part]:
    """Return the parts of an upload by number; of several of one number the last comes last."""
    return sorted(_parts(store, account, upload_id), key=lambda part: (part.number, part.info.created_at_ms))


def _parts(store: BlobStore, account: str, upload_id: str) -> Iterator[Part]:
    for name in store.names(account, UPLOADS, f"{upload_id}/"):
        number = name.name.partition("/")[2].partition("-")[0]
        if number.isdecimal():
            try:
                yield Part(number=int(number), info=store.stat(name.id))
            except NotFoundError:
                continue


def forget(store: BlobStore, account: str, upload_id: str) -> None:
    """Delete an upload, so that nobody adds to it, and its parts."""
    _delete_all(store, [_name(account, upload_id, _HEAD)])
    _delete_all(store, store.names(account, UPLOADS, f"{upload_id}/"))


def _delete_all(store: BlobStore, names: Iterable[BlobName]) -> None:
    for name in names:
        try:
            store.delete(name.id)
        except NotFoundError:  # collected
            continue


def _attributes() -> Attributes:
    return Attributes(service=_SERVICE, expires_at_ms=now_ms() + _TTL_MS)


def _name(account: str, upload_id: str, leaf: str) -> BlobName:
    return BlobName(account=account, container=UPLOADS, name=f"{upload_id}/{leaf}")
