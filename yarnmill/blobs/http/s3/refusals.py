"""S3's errors: a code that clients act upon, a status, and a document in XML."""

import logging
from http import HTTPStatus
from typing import Final

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from yarnmill.blobs.http.refusals import RangeError, RequestError
from yarnmill.blobs.http.s3.documents import Element, document
from yarnmill.errors import (
    BadDataError,
    ClusterUnavailableError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    StorageFullError,
    YarnMillError,
)

_STATUS: Final = {
    "AccessDenied": 403,
    "AuthorizationHeaderMalformed": 400,
    "AuthorizationQueryParametersError": 400,
    "BadDigest": 400,
    "BucketNotEmpty": 409,
    "EntityTooLarge": 400,
    "IncompleteBody": 400,
    "InsufficientStorage": 507,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidBucketName": 400,
    "InvalidDigest": 400,
    "InvalidPart": 400,
    "InvalidPartOrder": 400,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "KeyTooLongError": 400,
    "MalformedXML": 400,
    "MetadataTooLarge": 400,
    "MethodNotAllowed": 405,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "NotImplemented": 501,
    "ObjectAlreadyExists": 409,
    "PreconditionFailed": 412,
    "RequestTimeout": 400,
    "RequestTimeTooSkewed": 403,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "XAmzContentSHA256Mismatch": 400,
}
_OF_STATUS: Final = {
    400: "InvalidArgument",
    401: "AccessDenied",
    403: "AccessDenied",
    404: "NoSuchKey",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    413: "EntityTooLarge",
    416: "InvalidRange",
}
_RETRY_AFTER_S: Final = 5
_LOOK: Final = "the server's log has the cause"
_log = logging.getLogger(__name__)


class S3Error(YarnMillError):
    """A request that is refused, by S3's code for it."""

    kind = "request"

    def __init__(self, code: str, what: str, *, expected: str = "", mend: str = "") -> None:
        super().__init__(what, expected=expected, mend=mend)
        self.code = code


def add_s3_refusals(blueprint: Blueprint) -> None:
    """Let every error of these addresses end as S3's document."""
    blueprint.register_error_handler(YarnMillError, refusal)
    blueprint.register_error_handler(HTTPException, lambda error: refusal(_of_http(error)))
    blueprint.register_error_handler(Exception, refusal)


def refusal(problem: Exception) -> Response:
    """Return the answer to a request that failed."""
    error = of_s3(problem, f"{request.method} {request.path}")
    response = Response(error_document(error, request.path), status=_STATUS[error.code], mimetype="application/xml")
    if isinstance(problem, RangeError):
        response.headers["Content-Range"] = f"bytes */{problem.size_bytes}"
    if error.code == "ServiceUnavailable":
        response.headers["Retry-After"] = str(_RETRY_AFTER_S)
    return response


def error_document(error: S3Error, resource: str, *, declared: bool = True) -> bytes:
    """Return an error as S3 writes it."""
    message = str(error).replace("\n", "; ")
    return document(
        Element("Error", [("Code", error.code), ("Message", message), ("Resource", resource)]), declared=declared
    )


def of_s3(problem: Exception, asked: str) -> S3Error:
    """Return an error as one of S3's; a store's own words name paths and hosts, which go to the log alone."""
    match problem:
        case S3Error():
            return problem
        case RequestError():
            return S3Error(_OF_STATUS.get(problem.status, "InvalidRequest"), problem.what, expected=problem.expected)
        case NotFoundError():
            return S3Error("NoSuchKey", "there is no such blob, or no more")
        case ConflictError():
            return S3Error("ObjectAlreadyExists", problem.what, expected=problem.expected, mend=problem.mend)
    return _of_server(problem, asked)


def _of_server(problem: Exception, asked: str) -> S3Error:
    match problem:
        case StorageFullError():
            found = S3Error("InsufficientStorage", "the store is full", mend="delete something, or make room")
        case ClusterUnavailableError():
            found = S3Error("ServiceUnavailable", "the store does not answer", mend="try again")
        case BadDataError():
            found = S3Error("InternalError", "its bytes are damaged, and none of them is handed out")
        case ConfigurationError():  # the server's own, as in the other interface
            found = S3Error("InternalError", "internal error", mend=_LOOK)
        case _:
            _log.error("%s: unexpected error", asked, exc_info=problem)
            return S3Error("InternalError", "internal error", mend=_LOOK)
    _log.error("%s: %s", asked, problem.what)
    return found


def _of_http(error: HTTPException) -> S3Error:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    return S3Error(_OF_STATUS.get(status, "InternalError"), f"{error.name}: {error.description}")
