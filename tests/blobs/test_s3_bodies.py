"""Bodies and their checksums in every form that S3 clients send: what is not what was said is not stored."""

import base64
import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from s3clients import pair_of, refused, s3_client
from tlsfront import tls_front

from yarnmill.blobs.http.s3.signatures import BodySignatures, Claim, signing_key

if TYPE_CHECKING:
    from conftest import Face

pytestmark = pytest.mark.programs

DATA = bytes(range(256)) * 1000
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


@pytest.fixture(scope="module", params=["file"])
def face(face: "Face") -> "Face":
    """Return a server on local files: a body is judged before a store has it."""
    return face


@pytest.fixture
def s3(face: "Face") -> Iterator[Any]:
    with s3_client(face) as client:
        yield client


@pytest.fixture
def key() -> str:
    return secrets.token_hex(4)


def is_there(face: "Face", key: str) -> bool:
    return face.call("GET", f"/named/ml/c/{key}").status_code == 200


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256", "SHA512"])
def test_each_algorithm_of_boto3_is_compared(s3: Any, key: str, algorithm: str) -> None:
    made = s3.put_object(Bucket="c", Key=key, Body=DATA, ChecksumAlgorithm=algorithm)
    assert made[f"Checksum{algorithm}"]


def test_through_tls_boto3_sends_pieces_and_their_checksum_after_them(face: "Face", key: str, tmp_path: Path) -> None:
    address = urlsplit(face.url)
    assert address.hostname
    assert address.port
    with (
        tls_front(address.hostname, address.port, tmp_path) as (url, certificate),
        s3_client(face, url=url, verify=str(certificate)) as s3,
    ):
        made = s3.put_object(Bucket="c", Key=key, Body=DATA * 10)
        assert s3.get_object(Bucket="c", Key=key)["Body"].read() == DATA * 10
        assert made["ChecksumCRC32"]
        (tmp_path / "large").write_bytes(secrets.token_bytes(20_000_000))
        s3.upload_file(str(tmp_path / "large"), "c", f"{key}-large")
        s3.download_file("c", f"{key}-large", str(tmp_path / "copy"))
        assert (tmp_path / "copy").read_bytes() == (tmp_path / "large").read_bytes()


WRONG = {
    "Content-MD5": hashlib.md5(b"x", usedforsecurity=False).digest(),
    "x-amz-checksum-crc32": bytes(4),
    "x-amz-checksum-crc32c": bytes(4),
    "x-amz-checksum-crc64nvme": bytes(8),
    "x-amz-checksum-sha1": bytes(20),
    "x-amz-checksum-sha256": bytes(32),
    "x-amz-checksum-xxhash3": bytes(8),
}


def signed(face: "Face", path: str, headers: dict[str, str], sha256: str) -> dict[str, str]:
    """Return the headers of a put as botocore signs them, whatever will be its body."""
    request = AWSRequest(method="PUT", url=face.url + path, headers=headers)
    auth = S3SigV4Auth(Credentials(*pair_of(face, face.token)), "s3", "us-east-1")
    auth.payload = lambda _request: sha256
    request.headers["X-Amz-Content-SHA256"] = sha256
    auth.add_auth(request)
    return dict(request.headers)


def put(face: "Face", key: str, body: bytes, headers: dict[str, str], sha256: str) -> tuple[int, str]:
    path = f"/s3/ml/c/{key}"
    answer = requests.put(face.url + path, data=body, headers=signed(face, path, headers, sha256), timeout=60)
    return answer.status_code, answer.text.partition("<Code>")[2].partition("</Code>")[0]


@pytest.mark.parametrize("header", WRONG)
def test_a_checksum_that_is_not_the_bodys_is_refused(face: "Face", key: str, header: str) -> None:
    said = {header: base64.b64encode(WRONG[header]).decode()}
    assert put(face, key, DATA, said, "UNSIGNED-PAYLOAD") == (400, "BadDigest")
    assert put(face, key, DATA, {header: "no checksum"}, "UNSIGNED-PAYLOAD") == (400, "InvalidDigest")
    assert not is_there(face, key)


def test_a_tampered_body_is_refused(face: "Face", key: str) -> None:
    digest = hashlib.sha256(DATA).hexdigest()
    assert put(face, key, DATA[:-1] + b"x", {}, digest) == (400, "XAmzContentSHA256Mismatch")
    assert put(face, key, DATA[:-1], {}, digest) == (400, "XAmzContentSHA256Mismatch")
    assert put(face, key, DATA, {"x-amz-checksum-adler": "AAAA"}, digest) == (501, "NotImplemented")
    assert put(face, key, DATA, {}, "SOMETHING-ELSE") == (400, "InvalidRequest")
    assert not is_there(face, key)
    assert put(face, key, DATA, {}, digest) == (200, "")


def pieces(face: "Face", key: str, data: bytes, size: int, **said: str) -> tuple[dict[str, str], list[bytes]]:
    """Return the signed headers of a put in signed pieces, and the pieces."""
    path = f"/s3/ml/c/{key}"
    headers = {"Content-Encoding": "aws-chunked", "X-Amz-Decoded-Content-Length": said.get("length", str(len(data)))}
    signed_headers = signed(face, path, headers, SIGNED)
    fields = dict(each.strip().split("=", 1) for each in signed_headers["Authorization"].partition(" ")[2].split(","))
    key_id, date, region, *_ = fields["Credential"].split("/")
    claim = Claim(key_id, date, region, signed_headers["X-Amz-Date"], (), fields["Signature"])
    signatures = BodySignatures(signing_key(pair_of(face, face.token)[1], claim), claim)
    parts = []
    for start in range(0, len(data) + size, size):
        part = data[start : start + size]
        signature = signatures.of_chunk(hashlib.sha256(part).hexdigest())
        parts.append(f"{len(part):x};chunk-signature={signature}\r\n".encode() + part + b"\r\n")
        if not part:
            break
    return signed_headers, parts


def send(face: "Face", key: str, headers: dict[str, str], body: bytes) -> tuple[int, str]:
    answer = requests.put(f"{face.url}/s3/ml/c/{key}", data=body, headers=headers, timeout=60)
    return answer.status_code, answer.text.partition("<Code>")[2].partition("</Code>")[0]


def test_signed_pieces_are_stored_if_each_is_what_was_signed(face: "Face", key: str) -> None:
    headers, parts = pieces(face, key, DATA, 100_000)
    body = b"".join(parts)
    swapped = b"".join([parts[1], parts[0], *parts[2:]])
    other = bytearray(body)
    other[50_000] ^= 1
    for wrong in (bytes(other), swapped, b"".join(parts[1:])):
        assert send(face, key, headers, wrong) == (403, "SignatureDoesNotMatch")
    for cut in (b"".join(parts[:-1]), body[:1000], body + b"x", b"zz\r\n", body.replace(b"\r\n0;", b"0;", 1)):
        assert send(face, key, headers, cut) == (400, "IncompleteBody")
    assert not is_there(face, key)
    assert send(face, key, headers, body) == (200, "")
    assert face.call("GET", f"/named/ml/c/{key}").content == DATA
    short, parts = pieces(face, f"{key}2", DATA, 100_000, length="1")
    assert send(face, f"{key}2", short, b"".join(parts)) == (400, "IncompleteBody")


def trailing(data: bytes, *trailers: str) -> bytes:
    lines = "".join(f"{each}\r\n" for each in trailers)
    return f"{len(data):x}\r\n".encode() + data + f"\r\n0\r\n{lines}\r\n".encode()


def test_a_checksum_after_the_body_is_compared(face: "Face", key: str) -> None:
    name = "x-amz-checksum-crc32c"
    headers = {"Content-Encoding": "aws-chunked", "X-Amz-Trailer": name}
    kind = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    assert put(face, key, trailing(b"123456789", f"{name}:AAAAAA=="), headers, kind) == (400, "BadDigest")
    assert put(face, key, trailing(b"123456789"), headers, kind) == (400, "IncompleteBody")
    assert put(face, key, trailing(b"123456789", f"{name}:?"), headers, kind) == (400, "InvalidDigest")
    assert not is_there(face, key)
    crc = base64.b64encode(bytes.fromhex("e3069283")).decode()  # the check value of CRC-32C
    assert put(face, key, trailing(b"123456789", f"{name}:{crc}"), headers, kind) == (200, "")
    assert put(face, key, b"9\r\n123456789\r\n0\r\n", headers, kind)[0] in {200, 400}


def test_a_body_without_a_length_is_stored(face: "Face", key: str) -> None:
    path = f"/s3/ml/c/{key}"
    headers = signed(face, path, {}, "UNSIGNED-PAYLOAD")
    parts = [secrets.token_bytes(size) for size in (1, 70_000, 3)]
    assert requests.put(face.url + path, data=iter(parts), headers=headers, timeout=60).status_code == 200
    assert face.call("GET", f"/named/ml/c/{key}").content == b"".join(parts)


def test_refusals_without_a_look_at_the_body_do_not_hold_up_the_connection(s3: Any, key: str) -> None:
    s3.put_object(Bucket="c", Key=key, Body=b"1")
    for _ in range(5):
        assert refused(s3.put_object, Bucket="c", Key=key, Body=b"2" * 100_000)[0] == 409
        assert s3.get_object(Bucket="c", Key=key)["Body"].read() == b"1"
