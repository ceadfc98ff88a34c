"""AWS Signature Version 4, as S3 has it: what is signed, and by which key. It knows no server and no store.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import quote

ALGORITHM: Final = "AWS4-HMAC-SHA256"
EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()
_SPACES: Final = re.compile(r" +")


class Claim(NamedTuple):
    """What a request says of its signature.

    ``at`` is when it was made (``YYYYMMDDTHHMMSSZ``), ``headers`` the names of those that are signed, ``expires_s`` how
    long it is good, None unless it stands in a URL.
    """

    key_id: str
    date: str
    region: str
    at: str
    headers: tuple[str, ...]
    signature: str
    expires_s: int | None = None

    @property
    def scope(self) -> str:
        """What the signing key is good for."""
        return f"{self.date}/{self.region}/s3/aws4_request"


def canonical_request(
    method: str,
    path: bytes,
    query: Iterable[tuple[bytes, bytes]],
    headers: Mapping[str, str],
    payload: str,
) -> bytes:
    """Return a request in the one form in which it is signed.

    Parameters
    ----------
    method
        GET, PUT …
    path, query
        Without percent-encoding.
    headers
        Those that are signed, by their names in lower case.
    payload
        SHA-256 of the body, or the word that stands for it.
    """
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query)
    lines = [
        method,
        quote(path, safe="/-_.~"),
        "&".join(f"{name}={value}" for name, value in pairs),
        *(f"{name}:{_SPACES.sub(' ', headers[name]).strip()}" for name in sorted(headers)),
        "",
        ";".join(sorted(headers)),
        payload,
    ]
    return "\n".join(lines).encode("latin-1")  # as WSGI has the bytes of headers


def signing_key(secret: str, claim: Claim) -> bytes:
    """Return the key of one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in claim.scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def request_signature(key: bytes, claim: Claim, canonical: bytes) -> str:
    """Return the signature of a request."""
    return _signed(key, ALGORITHM, claim.at, claim.scope, hashlib.sha256(canonical).hexdigest())


class BodySignatures:
    """The signatures of the chunks of one body; each is signed together with the signature before it."""

    def __init__(self, key: bytes, claim: Claim) -> None:
        self._key, self._claim = key, claim
        self._before = claim.signature

    def of_chunk(self, sha256: str) -> str:
        """Return the signature of the next chunk."""
        kind = f"{ALGORITHM}-PAYLOAD"
        return self._next(_signed(self._key, kind, *self._chain(), EMPTY_SHA256, sha256))

    def of_trailer(self, sha256: str) -> str:
        """Return the signature of what follows the last chunk."""
        return self._next(_signed(self._key, f"{ALGORITHM}-TRAILER", *self._chain(), sha256))

    def _chain(self) -> tuple[str, str, str]:
        return self._claim.at, self._claim.scope, self._before

    def _next(self, signature: str) -> str:
        self._before = signature
        return signature


def _signed(key: bytes, *lines: str) -> str:
    return hmac.new(key, "\n".join(lines).encode(), hashlib.sha256).hexdigest()
