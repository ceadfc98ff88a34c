"""Copies within the store, by boto3 as it copies itself: whole, and in parts."""

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from boto3.s3.transfer import TransferConfig
from s3clients import refused, s3_client

if TYPE_CHECKING:
    from conftest import Face

pytestmark = pytest.mark.programs

PNG = {"ContentType": "image/png", "Metadata": {"stage": "trial"}}


@pytest.fixture
def bucket() -> str:
    """Return a container that no other test uses."""
    return f"c{secrets.token_hex(4)}"


@pytest.fixture
def s3(face: "Face") -> Iterator[Any]:
    with s3_client(face) as client:
        yield client


def read(s3: Any, bucket: str, key: str) -> tuple[bytes, str, dict[str, str]]:
    got = s3.get_object(Bucket=bucket, Key=key)
    return got["Body"].read(), got["ContentType"], got["Metadata"]


@pytest.mark.parametrize("key", ["k", "a b/ü+%41?"])
def test_a_copy_is_as_what_it_is_of(s3: Any, bucket: str, key: str) -> None:
    data = secrets.token_bytes(300_000)
    put = s3.put_object(Bucket=bucket, Key=key, Body=data, **PNG)
    for _ in range(2):  # the same once more is the same blob
        done = s3.copy_object(Bucket=f"{bucket}-2", Key="copy", CopySource={"Bucket": bucket, "Key": key})
        assert done["CopyObjectResult"]["ETag"] == put["ETag"]
    assert read(s3, f"{bucket}-2", "copy") == (data, "image/png", {"stage": "trial"})


def test_a_copy_may_have_metadata_of_its_own(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"one", **PNG)
    source = {"Bucket": bucket, "Key": "k"}
    anew = {"ContentType": "text/plain", "Metadata": {"stage": "final"}, "MetadataDirective": "REPLACE"}
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, **anew)
    assert read(s3, bucket, "copy") == (b"one", "text/plain", {"stage": "final"})
    again = {"Bucket": bucket, "Key": "copy", "CopySource": source}
    assert refused(s3.copy_object, **again) == (409, "ObjectAlreadyExists")


def test_a_copy_overwrites_nothing(s3: Any, bucket: str) -> None:
    for key, body in (("one", b"one"), ("two", b"two"), ("gone", b"gone")):
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    s3.delete_object(Bucket=bucket, Key="gone")
    source = {"Bucket": bucket, "Key": "one"}
    for key in ("two", "gone"):
        assert refused(s3.copy_object, Bucket=bucket, Key=key, CopySource=source) == (409, "ObjectAlreadyExists")
    gone = {"Bucket": bucket, "Key": "gone"}
    assert refused(s3.copy_object, Bucket=bucket, Key="three", CopySource=gone) == (404, "NoSuchKey")
    assert read(s3, bucket, "two")[0] == b"two"


def test_a_copy_can_be_conditional_on_what_is_copied(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"one")["ETag"]
    asked = {"Bucket": bucket, "Key": "copy", "CopySource": {"Bucket": bucket, "Key": "k"}}
    assert refused(s3.copy_object, **asked, CopySourceIfMatch='"other"') == (412, "PreconditionFailed")
    assert refused(s3.copy_object, **asked, CopySourceIfNoneMatch=etag) == (412, "PreconditionFailed")
    s3.copy_object(**asked, CopySourceIfMatch=etag)
    assert read(s3, bucket, "copy")[0] == b"one"


def test_boto3_copies_in_parts(s3: Any, bucket: str) -> None:
    data = secrets.token_bytes(11 * 2**20 + 7)
    put = s3.put_object(Bucket=bucket, Key="k", Body=data, **PNG)
    parts = TransferConfig(multipart_threshold=5 * 2**20, multipart_chunksize=5 * 2**20)
    s3.copy({"Bucket": bucket, "Key": "k"}, bucket, "copy", Config=parts)
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == data
    assert s3.head_object(Bucket=bucket, Key="copy")["ETag"] == put["ETag"]
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []


@pytest.mark.parametrize("asked", ["bytes=0-3", "bytes=2-1", "bytes=-2", "0-1", "bytes=a-b"])
def test_a_part_is_a_range_of_what_is_there(s3: Any, bucket: str, asked: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"one")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="copy")["UploadId"]
    part = {"Bucket": bucket, "Key": "copy", "UploadId": upload, "PartNumber": 1}
    source = {"CopySource": {"Bucket": bucket, "Key": "k"}, "CopySourceRange": asked}
    assert refused(s3.upload_part_copy, **part, **source) == (416, "InvalidRange")


def test_what_may_not_be_read_is_not_copied(face: "Face", s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"one")
    source = {"Bucket": bucket, "Key": "k"}
    with s3_client(face, token="") as nobody:
        assert refused(nobody.copy_object, Bucket=bucket, Key="copy", CopySource=source) == (403, "AccessDenied")
    uploads = {"Bucket": "s3-uploads", "Key": "k"}
    assert refused(s3.copy_object, Bucket=bucket, Key="copy", CopySource=uploads) == (403, "AccessDenied")
    versioned = {**source, "VersionId": "7"}
    assert refused(s3.copy_object, Bucket=bucket, Key="copy", CopySource=versioned) == (501, "NotImplemented")
