"""Ambry's headers: read into what a blob is put with, written from what is known of it."""

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

from flask import Response, request
from werkzeug.http import http_date

from yarnmill.blobs import Attributes, BlobInfo, parse_name
from yarnmill.blobs.http.refusals import BadRequestError, of_request
from yarnmill.blobs.ids import name_of
from yarnmill.blobs.states import now_ms

PREFIX: Final = "x-ambry-"
USER: Final = "x-ambry-um-"
ACCOUNT: Final = "x-ambry-target-account-name"
BLOB_ID: Final = "x-ambry-blob-id"
BLOB_SIZE: Final = "x-ambry-blob-size"
CHUNK_UPLOAD: Final = "x-ambry-chunk-upload"
CONTAINER: Final = "x-ambry-target-container-name"
CONTENT_TYPE: Final = "x-ambry-content-type"
CREATION_TIME: Final = "x-ambry-creation-time"
MAX_UPLOAD_SIZE: Final = "x-ambry-max-upload-size"
NAMED_MODE: Final = "x-ambry-upload-named-blob-mode"
OWNER: Final = "x-ambry-owner-id"
PRIVATE: Final = "x-ambry-private"
SERVICE: Final = "x-ambry-service-id"
SESSION: Final = "x-ambry-session"
SIGNED_URL: Final = "x-ambry-signed-url"
TTL: Final = "x-ambry-ttl"
URL_TTL: Final = "x-ambry-url-ttl-secs"
URL_TYPE: Final = "x-ambry-url-type"

_NOT_KEPT: Final = ("x-ambry-content-encoding", "x-ambry-external-asset-tag", "x-ambry-filename")
"""What Ambry would answer again with the blob; to take it and forget it would damage what is read."""

_MOST_TTL_S: Final = 2**31 - 1
_MOST_BYTES: Final = 2**63 - 1
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SAFE_VALUE: Final = "".join(chr(code) for code in range(0x20, 0x7F)).replace("%", "")

Arguments = Mapping[str, str]
"""Ambry's arguments of a request by their names in lower case: from headers, or from the query of a signed URL."""


class Answer(Response):
    """An answer that has a media type only if it says so: most are headers alone."""

    default_mimetype = None


def ambry_headers() -> dict[str, str]:
    """Return the current request's headers that are Ambry's."""
    found = {}
    for name, value in request.headers.items():
        if name.lower().startswith(PREFIX):
            try:
                found[name.lower()] = value.encode("latin-1").decode()
            except UnicodeDecodeError:
                raise BadRequestError(f"{name.lower()}: not UTF-8", expected="text in UTF-8") from None
    return found


def required(arguments: Arguments, name: str) -> str:
    """Return an argument that must be there."""
    if not (value := arguments.get(name, "")):
        raise BadRequestError(f"{name} is missing", expected=f"the header {name}")
    return value


def parse_integer(arguments: Arguments, name: str, *, least: int = 0, most: int = _MOST_BYTES) -> int | None:
    """Return an argument as a number within limits, None if it is not there."""
    if (text := arguments.get(name)) is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or not least <= int(text) <= most:
        raise BadRequestError(f"{name}: {text!r}", expected=f"a number from {least} to {most}")
    return int(text)


def parse_flag(arguments: Arguments, name: str) -> bool:
    """Return an argument that is true or false, and false if it is not there."""
    text = arguments.get(name, "false").lower()
    if text not in {"true", "false"}:
        raise BadRequestError(f"{name}: {text!r}", expected="true or false")
    return text == "true"


def parse_attributes(arguments: Arguments) -> Attributes:
    """Return what a blob is to be put with.

    Raises
    ------
    BadRequestError
        If something is missing, cannot be meant, or could not be kept.
    """
    if lost := next((name for name in arguments if name in _NOT_KEPT or name.startswith("x-ambry-enc-")), None):
        raise BadRequestError(f"{lost}: is not kept here", expected=f"the same as {USER}… of your own")
    if request.mimetype == "multipart/form-data":
        raise BadRequestError("the body is a form", expected="the bytes of the blob alone, and headers")
    account, container = arguments.get(ACCOUNT, ""), arguments.get(CONTAINER, "")
    if account or container:
        with of_request():
            parse_name(f"{account}/{container}/-")
    ttl_s = parse_integer(arguments, TTL, least=-1, most=_MOST_TTL_S)
    return Attributes(
        content_type=required(arguments, CONTENT_TYPE),
        owner=arguments.get(OWNER, ""),
        service=required(arguments, SERVICE),
        account=account,
        container=container,
        private=parse_flag(arguments, PRIVATE),
        expires_at_ms=None if ttl_s is None or ttl_s == -1 else now_ms() + ttl_s * 1000,
        user={name.removeprefix(USER): value for name, value in arguments.items() if name.startswith(USER)},
    )


def info_headers(info: BlobInfo, *, private: bool) -> Iterator[tuple[str, str]]:
    """Yield the headers that tell what is known of a blob; those of a blob that says nothing of it are left out."""
    said = info.attributes or Attributes()
    name = name_of(info.id)
    facts = {
        BLOB_SIZE: str(info.size_bytes),
        CREATION_TIME: http_date(info.created_at_ms // 1000),
        PRIVATE: str(private).lower(),
        CONTENT_TYPE: said.content_type,
        SERVICE: said.service,
        OWNER: said.owner,
        ACCOUNT: name.account if name else said.account,
        CONTAINER: name.container if name else said.container,
        TTL: "" if info.expires_at_ms is None else str(round((info.expires_at_ms - info.created_at_ms) / 1000)),
    }
    yield from ((key, value_of(text)) for key, text in facts.items() if text)
    yield from user_headers(info)


def user_headers(info: BlobInfo, prefix: str = USER) -> Iterator[tuple[str, str]]:
    """Yield the names, behind a prefix, and values of a blob's owner."""
    for key, text in (info.attributes or Attributes()).user.items():
        yield prefix + (key if _TOKEN.fullmatch(key) else quote(key, safe="")), value_of(text)


def value_of(text: str) -> str:
    """Return a text as WSGI takes the value of a header: UTF-8, percent-encoded where a header cannot hold it."""
    if not text.isprintable():
        text = quote(text, safe=_SAFE_VALUE)
    return text.encode().decode("latin-1")
