"""``POST``, ``DELETE`` and what changes the life of a blob."""

from http import HTTPStatus

from flask import Flask, Response
from werkzeug.http import http_date

from yarnmill.blobs import BlobInfo, BlobName, BlobStore, parse_blob_id, parse_name
from yarnmill.blobs.http.access import Access
from yarnmill.blobs.http.bodies import measured, received
from yarnmill.blobs.http.chunks import chunk_attributes, chunk_location, stitched
from yarnmill.blobs.http.headers import (
    BLOB_ID,
    BLOB_SIZE,
    CHUNK_UPLOAD,
    CREATION_TIME,
    MAX_UPLOAD_SIZE,
    SERVICE,
    Answer,
    ambry_headers,
    parse_attributes,
    parse_flag,
    parse_integer,
    required,
)
from yarnmill.blobs.http.refusals import of_request


def add_writing(app: Flask, store: BlobStore, access: Access) -> None:
    """Add the addresses that put and change blobs without names."""

    @app.post("/")
    def put() -> Response:
        """Store the body as a blob, or as a chunk of one to come."""
        arguments = access.put_arguments()
        attributes = parse_attributes(arguments)
        is_chunk = parse_flag(arguments, CHUNK_UPLOAD)
        if is_chunk:
            attributes = chunk_attributes(arguments, attributes)
        sizes = parse_integer(arguments, BLOB_SIZE), parse_integer(arguments, MAX_UPLOAD_SIZE)
        info = store.put(measured(received(), *sizes), attributes)
        return created(info, chunk_location(access.signing_key, arguments, info) if is_chunk else f"/{info.id}")

    @app.post("/stitch")
    def stitch() -> Response:
        """Store the blob that is made of the chunks that the body names."""
        arguments = access.put_arguments()
        attributes = parse_attributes(arguments)
        chunks = stitched(store, access.signing_key, attributes)
        info = store.put(measured(chunks, parse_integer(arguments, BLOB_SIZE), None), attributes)
        return created(info, f"/{info.id}")

    @app.delete("/<blob_id>")
    def delete(blob_id: str) -> Response:
        """Delete a blob; nothing happens if it is."""
        with of_request():
            parse_blob_id(blob_id)
        return deleted(store, access, blob_id)

    @app.put("/updateTtl")
    def update_ttl() -> Response:
        """Let a blob live for ever."""
        blob_id = _blob_of_header()
        access.require_change("write", blob_id)
        store.update_ttl(blob_id, None)
        return Answer()

    @app.put("/undelete")
    def undelete() -> Response:
        """Bring a deleted blob back."""
        blob_id = _blob_of_header()
        access.require_change("delete", blob_id)
        store.undelete(blob_id)
        return Answer()


def created(info: BlobInfo, location: str) -> Response:
    """Return the answer to a put."""
    headers = {"Location": location, CREATION_TIME: http_date(info.created_at_ms // 1000)}
    return Answer(status=HTTPStatus.CREATED, headers={**headers, BLOB_SIZE: str(info.size_bytes)})


def deleted(store: BlobStore, access: Access, blob_id: str) -> Response:
    """Delete a blob if the request may, and return the answer."""
    access.require_change("delete", blob_id)
    store.delete(blob_id)
    return Answer(status=HTTPStatus.ACCEPTED)


def _blob_of_header() -> str:
    arguments = ambry_headers()
    required(arguments, SERVICE)
    text = required(arguments, BLOB_ID).removeprefix("/")
    with of_request():
        name: BlobName | None = parse_name(text.removeprefix("named/")) if text.startswith("named/") else None
        return parse_blob_id(text if name is None else name.id)
