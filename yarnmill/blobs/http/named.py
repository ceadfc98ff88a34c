"""Named blobs: put once under a name, read, listed and deleted by it."""

from collections.abc import Iterator
from typing import Final

import msgspec
from flask import Flask, Response, request
from werkzeug.routing import BaseConverter

from yarnmill.blobs import Attributes, BlobName, BlobStore, parse_name
from yarnmill.blobs.http.access import Access
from yarnmill.blobs.http.bodies import measured, received
from yarnmill.blobs.http.chunks import stitched
from yarnmill.blobs.http.headers import (
    ACCOUNT,
    BLOB_SIZE,
    CONTAINER,
    NAMED_MODE,
    PRIVATE,
    Answer,
    Arguments,
    parse_attributes,
    parse_flag,
    parse_integer,
)
from yarnmill.blobs.http.reading import blob_response
from yarnmill.blobs.http.refusals import BadRequestError, of_request
from yarnmill.blobs.http.writing import created, deleted
from yarnmill.errors import BadDataError, NotFoundError

_MOST_ENTRIES: Final = 1000
_STITCH: Final = "STITCH"


class _NameConverter(BaseConverter):
    """The rest of an address as it is: a name may have slashes anywhere."""

    part_isolating = False
    regex = "(?s:.+)"
    weight = 300


def add_named(app: Flask, store: BlobStore, access: Access) -> None:
    """Add the addresses of named blobs and of their listing."""
    app.url_map.merge_slashes = False
    app.url_map.converters["name"] = _NameConverter
    address = "/named/<account>/<container>/<name:name>"

    @app.put(address)
    def put_named(account: str, container: str, name: str) -> Response:
        """Store the body, or the chunks that it names, under a name that no blob has or had."""
        whole = _name(account, container, name)
        arguments = access.put_arguments(account) | {ACCOUNT: account, CONTAINER: container}
        if access.is_public(account, container) and parse_flag(arguments, PRIVATE):
            raise BadRequestError(f"{PRIVATE}: {account}/{container} is public", expected="a container that is not")
        attributes = parse_attributes(arguments)
        size = parse_integer(arguments, BLOB_SIZE)
        info = store.put(measured(_content(store, access, arguments, attributes), size, None), attributes, name=whole)
        return created(info, f"/{info.id}")

    @app.get(address)
    def get_named(account: str, container: str, name: str) -> Response:
        """Answer a blob or a range of it."""
        return blob_response(access.require_read(_name(account, container, name).id), access)

    @app.delete(address)
    def delete_named(account: str, container: str, name: str) -> Response:
        """Delete a blob; nobody else gets its name."""
        return deleted(store, access, _name(account, container, name).id)

    @app.get("/named/<account>/<container>")
    def list_named(account: str, container: str) -> Response:
        """Answer a page of names in their order, without those that are gone."""
        _name(account, container, "-")
        if not access.is_public(account, container):
            access.require("read", account)
        most = parse_integer(request.args, "maxKey", least=1, most=_MOST_ENTRIES) or _MOST_ENTRIES
        after, prefix = request.args.get("page", ""), request.args.get("prefix", "")
        names = store.names(account, container, prefix, after, most + 1)
        page: dict[str, object] = {"entries": list(_entries(store, names[:most]))}
        if len(names) > most:
            page["nextPageToken"] = names[most - 1].name
        return Answer(msgspec.json.encode(page), mimetype="application/json")


def _name(account: str, container: str, name: str) -> BlobName:
    with of_request():
        return parse_name(f"{account}/{container}/{name}")


def _content(store: BlobStore, access: Access, arguments: Arguments, attributes: Attributes) -> Iterator[bytes]:
    mode = arguments.get(NAMED_MODE, "")
    if mode not in {"", _STITCH}:
        raise BadRequestError(f"{NAMED_MODE}: {mode!r}", expected=f"{_STITCH}, or no such header")
    return stitched(store, access.signing_key, attributes) if mode else received()


class _Entry(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    blob_name: str
    blob_size: int | None = None
    modified_time_ms: int | None = None
    expiration_time_ms: int | None = None


def _entries(store: BlobStore, names: list[BlobName]) -> Iterator[_Entry]:
    for name in names:
        try:
            info = store.stat(name.id)
        except NotFoundError:
            continue
        except BadDataError:  # it is there, its neighbours are well, and whoever reads it is told
            yield _Entry(blob_name=name.name)
            continue
        yield _Entry(
            blob_name=name.name,
            blob_size=info.size_bytes,
            modified_time_ms=info.created_at_ms,
            expiration_time_ms=info.expires_at_ms,
        )
