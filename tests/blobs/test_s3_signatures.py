"""Signatures and checksums by themselves, compared with what AWS and the CRC catalogue publish."""

import hashlib
import io
import secrets
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yarnmill.blobs.http.s3.awschunked import decoded
from yarnmill.blobs.http.s3.checksums import ALGORITHMS
from yarnmill.blobs.http.s3.crc import Crc32C, Crc64Nvme, _Crc
from yarnmill.blobs.http.s3.documents import Element, document, is_text, parse_elements
from yarnmill.blobs.http.s3.signatures import (
    EMPTY_SHA256,
    BodySignatures,
    Claim,
    canonical_request,
    request_signature,
    signing_key,
)

# The examples of "Authenticating Requests (AWS Signature Version 4)" in the S3 API reference.
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # noqa: S105
AT = "20130524T000000Z"


def claim(signature: str = "", expires_s: int | None = None) -> Claim:
    return Claim("AKIAIOSFODNN7EXAMPLE", "20130524", "us-east-1", AT, (), signature, expires_s)


def signature_of(canonical: bytes) -> str:
    return request_signature(signing_key(SECRET, claim()), claim(), canonical)


def test_requests_are_signed_as_aws_does() -> None:
    host = {"host": "examplebucket.s3.amazonaws.com"}
    get = {**host, "range": "bytes=0-9", "x-amz-content-sha256": EMPTY_SHA256, "x-amz-date": AT}
    canonical = canonical_request("GET", b"/test.txt", [], get, EMPTY_SHA256)
    assert signature_of(canonical) == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    listed = {**host, "x-amz-content-sha256": EMPTY_SHA256, "x-amz-date": AT}
    canonical = canonical_request("GET", b"/", [(b"prefix", b"J"), (b"max-keys", b"2")], listed, EMPTY_SHA256)
    assert signature_of(canonical) == "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    query = [
        (b"X-Amz-Algorithm", b"AWS4-HMAC-SHA256"),
        (b"X-Amz-Credential", b"AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"),
        (b"X-Amz-Date", AT.encode()),
        (b"X-Amz-Expires", b"86400"),
        (b"X-Amz-SignedHeaders", b"host"),
    ]
    canonical = canonical_request("GET", b"/test.txt", query, host, "UNSIGNED-PAYLOAD")
    assert signature_of(canonical) == "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"


def test_pieces_are_signed_as_aws_does() -> None:
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    headers = {
        "content-encoding": "aws-chunked",
        "content-length": "66824",
        "host": "s3.amazonaws.com",
        "x-amz-content-sha256": kind,
        "x-amz-date": AT,
        "x-amz-decoded-content-length": "66560",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
    }
    seed = signature_of(canonical_request("PUT", b"/examplebucket/chunkObject.txt", [], headers, kind))
    assert seed == "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    signed = (
        (65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
        (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
        (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
    )
    body = b"".join(b"%x;chunk-signature=%s\r\n%s\r\n" % (size, text.encode(), b"a" * size) for size, text in signed)
    assert len(body) == 66_824
    signatures = BodySignatures(signing_key(SECRET, claim()), claim(seed))
    assert b"".join(decoded(io.BytesIO(body), signatures, {})) == b"a" * 66_560


@pytest.mark.parametrize(
    ("kind", "check"), [(Crc32C, "e3069283"), (Crc64Nvme, "ae8b14860a799888"), (ALGORITHMS["crc32"], "cbf43926")]
)
def test_crcs_have_their_check_values(kind: type[_Crc], check: str) -> None:
    crc = kind()
    crc.update(b"123456789")
    assert crc.digest().hex() == check


@pytest.mark.slow
@given(st.lists(st.integers(0, 300_000), max_size=4), st.integers(0, 255))
def test_a_crc_is_that_of_the_whole_however_it_is_cut(sizes: list[int], seed: int) -> None:
    data = hashlib.shake_128(bytes([seed])).digest(sum(sizes))
    for kind in (Crc32C, Crc64Nvme):
        whole, cut = kind(), kind()
        whole.update(data)
        at = 0
        for size in sizes:
            cut.update(data[at : at + size])
            at += size
        assert cut.digest() == whole.digest()


def test_the_way_of_the_crcs_is_that_of_zlib() -> None:
    data, crc = secrets.token_bytes(700_001), _Crc(0xEDB88320, 4)
    crc.update(data)
    assert int.from_bytes(crc.digest(), "big") == zlib.crc32(data)


def test_documents_hold_any_text_and_trust_none() -> None:
    nasty = 'a<b>&"\x00\x1f]]>'
    (found,) = parse_elements(document(Element("R", [Element("C", [("T", nasty)])])), "R", "C")
    assert found == {"T": nasty.replace("\x00", "�").replace("\x1f", "�")}
    assert not is_text(nasty)
    assert is_text("ü\t\n€\U0001f600")
    bomb = b'<!DOCTYPE R [<!ENTITY a "x"><!ENTITY f SYSTEM "file:///etc/passwd">]><R><C><T>&f;</T></C></R>'
    assert parse_elements(bomb, "R", "C") == [{"T": ""}]
    for wrong in (b"", b"<R>", b"no", b"<S/>"):
        with pytest.raises(ValueError):  # noqa: PT011  # each says it in the parser's words
            parse_elements(wrong, "R", "C")
