"""Who sends a request: the token whose secret signed it, or nobody."""

import datetime as dt
import hmac
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from flask import request

from yarnmill.blobs.http.access import Access, check_account, check_right
from yarnmill.blobs.http.s3.refusals import S3Error
from yarnmill.blobs.http.s3.signatures import (
    ALGORITHM,
    BodySignatures,
    Claim,
    canonical_request,
    request_signature,
    signing_key,
)
from yarnmill.blobs.http.tokens import Right, Token, find_key_id, s3_secret

CONTENT_SHA256: Final = "x-amz-content-sha256"
UNSIGNED: Final = "UNSIGNED-PAYLOAD"

_SKEW_S: Final = 900
_MOST_EXPIRES_S: Final = 604_800
_AT: Final = "%Y%m%dT%H%M%SZ"
_CREDENTIAL: Final = re.compile(r"(?P<id>[^/]+)/(?P<date>[0-9]{8})/(?P<region>[^/]*)/s3/aws4_request")
_FIELD: Final = re.compile(r"\s*(\w+)\s*=\s*([^,]*?)\s*")


class Caller(NamedTuple):
    """Whoever sends the current request.

    ``token`` is None where nobody signed it, and where everybody may do everything; ``payload`` says what the
    signature covers of the body, and ``signatures`` sign its pieces.
    """

    access: Access
    token: Token | None
    payload: str
    signatures: BodySignatures | None

    def require(self, right: Right, account: str, container: str = "") -> None:
        """Refuse the request unless its sender has a right on an account, or may read a public container."""
        if self.access.is_open or (right == "read" and self.access.is_public(account, container)):
            return
        if self.token is None:
            raise S3Error("AccessDenied", "this needs a signature", mend="yarnmill blobs token s3")
        check_right(self.token, right)
        check_account(self.token, account)


def identified(access: Access, now: dt.datetime) -> Caller:
    """Return the sender of the current request.

    Raises
    ------
    S3Error
        If it says who it is and that is not so.
    """
    headers = {name.lower(): value for name, value in request.headers.items()}
    claim = _claim_of_url() if "X-Amz-Algorithm" in request.args else _claim_of_header(headers)
    if access.is_open or claim is None:
        return Caller(access, None, headers.get(CONTENT_SHA256, UNSIGNED), None)
    token = find_key_id(access.rules, claim.key_id)
    if token is None:
        raise S3Error("InvalidAccessKeyId", "the access key id is not known", mend="yarnmill blobs token s3")
    _check_time(claim, now)
    payload = headers.get(CONTENT_SHA256, "")
    if not payload and claim.expires_s is None:
        raise S3Error("InvalidRequest", f"{CONTENT_SHA256} is missing", expected=f"the header {CONTENT_SHA256}")
    key = signing_key(s3_secret(access.rules, token), claim)
    canonical = _canonical(claim, headers, payload or UNSIGNED)
    if not hmac.compare_digest(request_signature(key, claim, canonical).encode(), claim.signature.encode()):
        raise S3Error("SignatureDoesNotMatch", "the signature is not that of this request and this secret")
    signatures = BodySignatures(key, claim) if payload.startswith(f"STREAMING-{ALGORITHM}") else None
    return Caller(access, token, payload or UNSIGNED, signatures)


def _claim_of_header(headers: Mapping[str, str]) -> Claim | None:
    given = headers.get("authorization", "")
    kind, _, rest = given.partition(" ")
    if "Signature" in request.args or kind == "AWS":
        raise S3Error(
            "InvalidRequest",
            "signature version 2 is not taken",
            expected=ALGORITHM,
            mend='Config(signature_version="s3v4")',
        )
    if not given:
        return None
    fields: dict[str, str] = {m[1]: m[2] for part in rest.split(",") if (m := _FIELD.fullmatch(part))}
    credential = _CREDENTIAL.fullmatch(fields.get("Credential", ""))
    if kind != ALGORITHM or credential is None or not {"SignedHeaders", "Signature"} <= fields.keys():
        raise S3Error("AuthorizationHeaderMalformed", "the header Authorization cannot be read", expected=ALGORITHM)
    signed = tuple(fields["SignedHeaders"].split(";"))
    at = headers.get("x-amz-date", "")
    return Claim(credential["id"], credential["date"], credential["region"], at, signed, fields["Signature"])


def _claim_of_url() -> Claim:
    said = request.args
    credential = _CREDENTIAL.fullmatch(said.get("X-Amz-Credential", ""))
    expires = said.get("X-Amz-Expires", "")
    if (
        said["X-Amz-Algorithm"] != ALGORITHM
        or credential is None
        or not re.fullmatch("[0-9]{1,6}", expires)
        or not 1 <= int(expires) <= _MOST_EXPIRES_S
    ):
        what = "the signature in the address cannot be read"
        raise S3Error("AuthorizationQueryParametersError", what, expected=f"{ALGORITHM}, for at most a week")
    signed = tuple(said.get("X-Amz-SignedHeaders", "").split(";"))
    at, signature = said.get("X-Amz-Date", ""), said.get("X-Amz-Signature", "")
    return Claim(credential["id"], credential["date"], credential["region"], at, signed, signature, int(expires))


def _check_time(claim: Claim, now: dt.datetime) -> None:
    try:
        at = dt.datetime.strptime(claim.at, _AT).replace(tzinfo=dt.UTC)
    except ValueError:
        raise S3Error("AccessDenied", "x-amz-date is missing or no date", expected="20260131T235959Z") from None
    if not claim.at.startswith(claim.date):
        raise S3Error("SignatureDoesNotMatch", "the credential is of another day than x-amz-date")
    age_s = (now - at).total_seconds()
    if claim.expires_s is not None and age_s >= claim.expires_s:
        raise S3Error("AccessDenied", "Request has expired", mend="have another one signed")
    if age_s < -_SKEW_S or (claim.expires_s is None and age_s > _SKEW_S):
        raise S3Error("RequestTimeTooSkewed", f"signed {claim.at}, and here it is {now:{_AT}}", mend="set the clock")


def _canonical(claim: Claim, headers: Mapping[str, str], payload: str) -> bytes:
    unsigned = [name for name in headers if name.startswith("x-amz-") and name not in claim.headers]
    if unsigned or "host" not in claim.headers:
        raise S3Error("AccessDenied", f"not signed: {', '.join(unsigned) or 'host'}", expected="it among SignedHeaders")
    query = [
        (name.encode(), value.encode()) for name, value in request.args.items(multi=True) if name != "X-Amz-Signature"
    ]
    path = request.environ["PATH_INFO"].encode("latin-1")
    signed = {name: headers.get(name, "") for name in claim.headers}
    return canonical_request(request.method, path, query, signed, payload)
