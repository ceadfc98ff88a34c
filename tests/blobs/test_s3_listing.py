"""Listings by S3's REST, with boto3's clients, resources and paginators."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from s3clients import config, pair_of, refused, s3_client

from yarnmill.blobs.packing import pack, packing
from yarnmill.units import Seconds

if TYPE_CHECKING:
    from conftest import Face

pytestmark = pytest.mark.programs

NAMES = ["a", "a/1", "a/2", "b/1", "b/2", "b/c/1", "c", "d/1"]


@pytest.fixture
def s3(face: "Face") -> Iterator[Any]:
    with s3_client(face) as client:
        yield client


@pytest.fixture
def bucket(s3: Any) -> str:
    """Return a container of its own with some keys, one of them deleted."""
    name = f"c{secrets.token_hex(4)}"
    for key in (*NAMES, "b/0"):
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    s3.delete_object(Bucket=name, Key="b/0")
    return name


def keys(page: dict[str, Any]) -> list[str]:
    return [each["Key"] for each in page.get("Contents", [])]


def prefixes(page: dict[str, Any]) -> list[str]:
    return [each["Prefix"] for each in page.get("CommonPrefixes", [])]


def test_keys_are_listed_in_order(s3: Any, bucket: str) -> None:
    page = s3.list_objects_v2(Bucket=bucket)
    assert (keys(page), page["KeyCount"], page["IsTruncated"]) == (NAMES, len(NAMES), False)
    entry = page["Contents"][1]
    assert (entry["Size"], entry["ETag"]) == (3, s3.head_object(Bucket=bucket, Key="a/1")["ETag"])
    assert keys(s3.list_objects_v2(Bucket=bucket, Prefix="b/")) == ["b/1", "b/2", "b/c/1"]
    assert keys(s3.list_objects_v2(Bucket=bucket, StartAfter="b/1")) == ["b/2", "b/c/1", "c", "d/1"]
    assert keys(s3.list_objects_v2(Bucket=bucket, Prefix="z")) == []
    assert keys(s3.list_objects_v2(Bucket=bucket, MaxKeys=0)) == []
    assert keys(s3.list_objects_v2(Bucket=f"{bucket}none")) == []


def test_a_delimiter_folds_them(s3: Any, bucket: str) -> None:
    page = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert (keys(page), prefixes(page)) == (["a", "c"], ["a/", "b/", "d/"])
    page = s3.list_objects_v2(Bucket=bucket, Delimiter="/", Prefix="b/")
    assert (keys(page), prefixes(page)) == (["b/1", "b/2"], ["b/c/"])
    page = s3.list_objects_v2(Bucket=bucket, Delimiter="/1")
    assert (keys(page), prefixes(page)) == (["a", "a/2", "b/2", "c"], ["a/1", "b/1", "b/c/1", "d/1"])
    s3.delete_object(Bucket=bucket, Key="d/1")
    assert prefixes(s3.list_objects_v2(Bucket=bucket, Delimiter="/")) == ["a/", "b/"]


@pytest.mark.parametrize("form", ["list_objects_v2", "list_objects"])
@pytest.mark.parametrize("size", [1, 2, 3, 8, 1000])
def test_pages_are_the_whole_without_repetition(s3: Any, bucket: str, form: str, size: int) -> None:
    pages = list(s3.get_paginator(form).paginate(Bucket=bucket, PaginationConfig={"PageSize": size}))
    assert [key for page in pages for key in keys(page)] == NAMES
    assert all(len(keys(page)) == size for page in pages[:-1])
    folded = list(s3.get_paginator(form).paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": size}))
    assert sorted(each for page in folded for each in keys(page) + prefixes(page)) == ["a", "a/", "b/", "c", "d/"]


def test_a_resource_lists_and_reads(face: "Face", bucket: str) -> None:
    key_id, secret = pair_of(face, face.token)
    resource = boto3.resource(
        "s3", endpoint_url=f"{face.url}/s3/ml", region_name="us-east-1", aws_access_key_id=key_id,
        aws_secret_access_key=secret, config=config(),
    )  # fmt: skip
    assert [each.key for each in resource.Bucket(bucket).objects.all()] == NAMES
    assert [each.key for each in resource.Bucket(bucket).objects.filter(Prefix="a/")] == ["a/1", "a/2"]
    assert resource.Object(bucket, "a/1").get()["Body"].read() == b"a/1"
    assert bucket in {each.name for each in resource.buckets.all()}
    resource.meta.client.close()


def test_what_xml_cannot_hold_is_listed_too(face: "Face", s3: Any) -> None:
    bucket = f"c{secrets.token_hex(4)}"
    for key in ("a\x01b", "￾", "&<\"'>", "a b+c%20"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert set(keys(s3.list_objects_v2(Bucket=bucket))) == {"a\x01b", "￾", "&<\"'>", "a b+c%20"}
    plain = face.call("GET", f"/s3/ml/{bucket}?list-type=2", token="")
    assert plain.status_code == 403


def test_a_token_that_is_none_is_refused(s3: Any, bucket: str) -> None:
    for token in ("x", "_w==", "MQ=="):
        asked = {"Bucket": bucket, "ContinuationToken": token}
        assert refused(s3.list_objects_v2, **asked) == (400, "InvalidArgument")


def test_a_bucket_is_there_as_soon_as_it_is_named(s3: Any, bucket: str) -> None:
    assert s3.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert s3.create_bucket(Bucket=f"{bucket}x")["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    listed = {each["Name"] for each in s3.list_buckets()["Buckets"]}
    assert bucket in listed
    assert f"{bucket}x" not in listed
    assert refused(s3.head_bucket, Bucket="x" * 64)[0] == 400


def test_packed_blobs_are_listed_with_the_others(face: "Face", s3: Any, bucket: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: s3.put_object(Bucket=bucket, Key=f"p/{number:02}", Body=b"x"), range(20)))
    for plan in list(packing(face.store, Seconds(0.0))):
        pack(face.store, plan)
    s3.put_object(Bucket=bucket, Key="p/99", Body=b"x")
    page = s3.list_objects_v2(Bucket=bucket, Prefix="p/")
    assert keys(page) == [*(f"p/{number:02}" for number in range(20)), "p/99"]
    assert prefixes(s3.list_objects_v2(Bucket=bucket, Delimiter="/")) == ["a/", "b/", "d/", "p/"]
    assert bucket in {each["Name"] for each in s3.list_buckets()["Buckets"]}


def test_a_bucket_is_deleted_when_nothing_is_in_it(s3: Any, bucket: str) -> None:
    assert refused(s3.delete_bucket, Bucket=bucket) == (409, "BucketNotEmpty")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in NAMES]})
    assert s3.delete_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204
