"""Objects by S3's REST, on every backend, with boto3 and pyarrow (the AWS SDK for C++) as clients."""

import datetime as dt
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from pyarrow.fs import FileSelector, FileType, S3FileSystem
from s3clients import pair_of, refused, s3_client

from yarnmill import fs

if TYPE_CHECKING:
    from conftest import Face

pytestmark = pytest.mark.programs

DATA = bytes(range(256)) * 4


@pytest.fixture
def bucket() -> str:
    """Return a container that no other test uses."""
    return f"c{secrets.token_hex(4)}"


@pytest.fixture
def s3(face: "Face") -> Iterator[Any]:
    with s3_client(face) as client:
        yield client


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 3_000_000])
def test_what_was_put_is_what_is_read(s3: Any, bucket: str, size: int) -> None:
    data = secrets.token_bytes(size)
    put = s3.put_object(Bucket=bucket, Key="a/b", Body=data, ContentType="image/png", Metadata={"stage": "trial"})
    got = s3.get_object(Bucket=bucket, Key="a/b")
    assert got["Body"].read() == data
    assert (got["ContentLength"], got["ContentType"], got["Metadata"]) == (size, "image/png", {"stage": "trial"})
    head = s3.head_object(Bucket=bucket, Key="a/b")
    for name in ("ETag", "ContentLength", "ContentType", "Metadata", "LastModified"):
        assert head[name] == got[name]
    assert put["ETag"] == got["ETag"]
    assert abs((got["LastModified"] - dt.datetime.now(dt.UTC)).total_seconds()) < 60


def test_it_is_the_named_blob_that_the_other_face_has(face: "Face", s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a/b", Body=DATA, Metadata={"stage": "trial"})
    answer = face.call("GET", f"/named/ml/{bucket}/a/b")
    assert (answer.content, answer.headers["x-ambry-um-stage"]) == (DATA, "trial")
    assert answer.headers["ETag"] == s3.head_object(Bucket=bucket, Key="a/b")["ETag"]
    assert answer.headers["x-ambry-service-id"] == "s3"


def test_a_blob_is_never_overwritten_and_the_same_once_more_is_well(s3: Any, bucket: str) -> None:
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"one", ContentType="a/b")
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"one", ContentType="a/b")["ETag"] == first["ETag"]
    for other in ({"Body": b"two", "ContentType": "a/b"}, {"Body": b"one"}, {"Body": b"one", "Metadata": {"x": "y"}}):
        assert refused(s3.put_object, Bucket=bucket, Key="k", **other) == (409, "ObjectAlreadyExists")
    again = {"Bucket": bucket, "Key": "k", "Body": b"one", "ContentType": "a/b", "IfNoneMatch": "*"}
    assert refused(s3.put_object, **again) == (412, "PreconditionFailed")
    assert s3.put_object(**{**again, "Key": "k2"})["ETag"] == first["ETag"]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"one"


def test_a_deleted_key_is_not_found_and_not_had_again(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"one")
    for _ in range(2):
        assert s3.delete_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(s3.get_object, Bucket=bucket, Key="k") == (404, "NoSuchKey")
    assert refused(s3.head_object, Bucket=bucket, Key="k") == (404, "404")
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"one") == (409, "ObjectAlreadyExists")
    assert refused(s3.get_object, Bucket=bucket, Key="never") == (404, "NoSuchKey")


def test_many_keys_are_deleted_at_once(s3: Any, bucket: str) -> None:
    keys = ["a", "b/c", "ü &<>", "kept"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    wanted = [{"Key": key} for key in [*keys[:3], "none", "x" * 1025]]
    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": wanted})
    assert [each["Key"] for each in done["Deleted"]] == [*keys[:3], "none"]
    assert [each["Code"] for each in done["Errors"]] == ["KeyTooLongError"]
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["kept"]
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "kept"}], "Quiet": True})
    assert "Deleted" not in quiet
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize(
    ("asked", "start", "stop"), [("0-0", 0, 1), ("3-10", 3, 11), ("1000-", 1000, 1024), ("-5", 1019, 1024)]
)
def test_a_range_is_a_part(s3: Any, bucket: str, asked: str, start: int, stop: int) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={asked}")
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert got["ContentRange"] == f"bytes {start}-{stop - 1}/1024"
    assert got["Body"].read() == DATA[start:stop]
    assert refused(s3.get_object, Bucket=bucket, Key="k", Range="bytes=1024-") == (416, "InvalidRange")


def test_conditions_hold(s3: Any, bucket: str) -> None:
    tag = s3.put_object(Bucket=bucket, Key="k", Body=DATA)["ETag"]
    said = {"Bucket": bucket, "Key": "k"}
    made = s3.head_object(**said)["LastModified"]
    before, after = made - dt.timedelta(hours=1), made + dt.timedelta(hours=1)
    for same in ({"IfNoneMatch": tag}, {"IfModifiedSince": after}, {"IfNoneMatch": tag, "IfModifiedSince": before}):
        assert refused(s3.get_object, **said, **same)[0] == 304
    for other in ({"IfMatch": '"other"'}, {"IfUnmodifiedSince": before}):
        assert refused(s3.get_object, **said, **other) == (412, "PreconditionFailed")
    for fit in ({"IfMatch": tag, "IfUnmodifiedSince": before}, {"IfNoneMatch": '"x"'}, {"IfModifiedSince": before}):
        assert s3.get_object(**said, **fit)["Body"].read() == DATA


def test_of_several_writers_one_wins(face: "Face", bucket: str) -> None:
    def put(number: int) -> int:
        with s3_client(face) as client:
            try:
                client.put_object(Bucket=bucket, Key="k", Body=str(number))
            except client.exceptions.ClientError as error:
                return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
            return number + 1000

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(put, range(8)))
    assert answers[:-1] == [409] * 7
    assert face.call("GET", f"/named/ml/{bucket}/k").text == str(answers[-1] - 1000)


def test_of_several_writers_of_the_same_all_are_told_that_it_is_there(face: "Face", bucket: str) -> None:
    with s3_client(face) as client, ThreadPoolExecutor(8) as pool:
        for key in map(str, range(8)):  # one that comes a moment late is refused before its body is read

            def put(_: int, key: str = key) -> str:
                return str(client.put_object(Bucket=bucket, Key=key, Body=DATA)["ETag"])

            assert len(set(pool.map(put, range(8)))) == 1


@pytest.mark.parametrize(
    "key", ["a//b", "/x", "a/", "../../etc/passwd", "..", "ü €", "?#%25", "a\tb", "=", "~ +", "*()'"]
)
def test_every_text_is_a_key_of_its_own(s3: Any, bucket: str, key: str) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]


def test_what_is_no_key_reaches_no_file(face: "Face", s3: Any, bucket: str) -> None:
    before = sorted(face.store.ids())
    assert refused(s3.put_object, Bucket=bucket, Key="a\0b", Body=b"") == (400, "InvalidArgument")
    assert refused(s3.put_object, Bucket=bucket, Key="k" * 1025, Body=b"") == (400, "KeyTooLongError")
    assert refused(s3.put_object, Bucket=bucket, Key="k" * 241, Body=b"") == (400, "InvalidArgument")
    assert refused(s3.put_object, Bucket="s3-uploads", Key="k", Body=b"") == (403, "AccessDenied")
    assert refused(s3.list_objects_v2, Bucket="s3-uploads") == (403, "AccessDenied")
    for path in ("/s3/%2e%2e/c/k", "/s3/ml/%2e%2e/k", "/s3/ml/..%2f..%2fetc/k", f"/s3/{'a' * 64}/c/k", "/s3/ml/c/%ff"):
        answer = face.call("PUT", path, data=b"x", token="")
        assert (answer.status_code, b"<Error>" in answer.content) == (400, True)
    assert sorted(face.store.ids()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        {"ContentEncoding": "gzip"},
        {"CacheControl": "no-store"},
        {"ContentDisposition": "attachment"},
        {"ACL": "public-read"},
        {"Tagging": "a=b"},
        {"ServerSideEncryption": "AES256"},
        {"IfMatch": '"x"'},
    ],
)
def test_what_would_be_lost_is_refused(s3: Any, bucket: str, arguments: dict[str, str]) -> None:
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"x", **arguments) == (501, "NotImplemented")
    assert refused(s3.head_object, Bucket=bucket, Key="k")[0] == 404


def test_what_is_not_of_the_subset_is_said_so(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert refused(s3.get_object_acl, Bucket=bucket, Key="k") == (501, "NotImplemented")
    assert refused(s3.put_bucket_acl, Bucket=bucket, ACL="private") == (501, "NotImplemented")
    assert refused(s3.put_object, Bucket=bucket, Key="m", Body=b"", Metadata={"a": "b" * 2048}) == (
        400,
        "MetadataTooLarge",
    )


def test_boto3_compares_the_checksum_of_what_it_reads(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["ChecksumSHA256"]
    assert got["Body"].read() == DATA  # else botocore raises


def test_a_damaged_blob_is_an_error_and_hides_no_neighbour(face: "Face", s3: Any, bucket: str) -> None:
    for key in ("a", "b"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    url = face.store.places.loose(face.store.names("ml", bucket, "b")[0].id)
    fs.write_bytes(url, b"rubbish", overwrite=True)
    assert refused(s3.get_object, Bucket=bucket, Key="b") == (500, "InternalError")
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a", "b"]
    fs.delete(url)


def test_files_go_up_and_come_down(s3: Any, bucket: str, tmp_path: Path) -> None:
    for name, size in (("small", 1000), ("large", 20_000_000)):
        (tmp_path / name).write_bytes(secrets.token_bytes(size))
        s3.upload_file(str(tmp_path / name), bucket, name)
        s3.download_file(bucket, name, str(tmp_path / "copy"))
        assert (tmp_path / "copy").read_bytes() == (tmp_path / name).read_bytes()


def test_the_sdk_for_cpp_works_as_arrow_uses_it(face: "Face", bucket: str) -> None:
    key_id, secret = pair_of(face, face.token)
    endpoint = face.url.removeprefix("http://") + "/s3/ml"
    arrow = S3FileSystem(
        access_key=key_id, secret_key=secret, region="us-east-1", scheme="http", endpoint_override=endpoint
    )
    data = secrets.token_bytes(12_000_000)
    for name, content in (("a.bin", b"small"), ("b.bin", data)):
        with arrow.open_output_stream(f"{bucket}/t/{name}") as stream:  # CRC-64/NVME, in parts
            stream.write(content)
    with arrow.open_input_file(f"{bucket}/t/b.bin") as file:
        assert file.read_at(1000, 5_000_000) == data[5_000_000:5_001_000]
        assert file.read() == data
    found = arrow.get_file_info(FileSelector(bucket, recursive=True))
    assert {(info.path, info.size) for info in found if info.type == FileType.File} == {
        (f"{bucket}/t/a.bin", 5),
        (f"{bucket}/t/b.bin", 12_000_000),
    }
    arrow.delete_file(f"{bucket}/t/a.bin")
    assert arrow.get_file_info(f"{bucket}/t/a.bin").type == FileType.NotFound


def test_what_somebody_put_is_no_page_of_the_server(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"<script>", ContentType="text/html")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    headers = requests.get(url, timeout=60).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
