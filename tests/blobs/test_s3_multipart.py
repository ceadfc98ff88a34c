"""Uploads in parts by S3's REST, on every backend; what is seen of one that nobody completes; memory."""

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from boto3.s3.transfer import TransferConfig
from s3clients import pair_of, refused, s3_client

from yarnmill import fs

if TYPE_CHECKING:
    from conftest import Face, Start

pytestmark = pytest.mark.programs


@pytest.fixture
def s3(face: "Face") -> Iterator[Any]:
    with s3_client(face) as client:
        yield client


class Upload:
    """An upload of one key of a bucket of its own."""

    def __init__(self, s3: Any, **said: Any) -> None:
        self.s3 = s3
        self.key = {"Bucket": f"c{secrets.token_hex(4)}", "Key": "a/b"}
        self.said = {**self.key, "UploadId": s3.create_multipart_upload(**self.key, **said)["UploadId"]}

    def put(self, number: int, data: bytes) -> dict[str, Any]:
        return {"PartNumber": number, "ETag": self.s3.upload_part(**self.said, PartNumber=number, Body=data)["ETag"]}

    def complete(self, *parts: dict[str, Any], **said: Any) -> Any:
        return self.s3.complete_multipart_upload(**self.said, MultipartUpload={"Parts": parts}, **said)


def _refusal(upload: Upload, parts: tuple[dict[str, Any], ...]) -> tuple[int, str]:
    return refused(upload.s3.complete_multipart_upload, **upload.said, MultipartUpload={"Parts": parts})


def test_parts_become_one_blob_in_the_order_of_their_numbers(s3: Any) -> None:
    upload = Upload(s3, ContentType="text/plain", Metadata={"stage": "trial"})
    data = {number: secrets.token_bytes(size) for number, size in ((7, 1), (2, 300_000), (10_000, 500_000))}
    parts = {number: upload.put(number, data[number]) for number in data}
    assert refused(s3.get_object, **upload.key)[0] == 404
    assert "Contents" not in s3.list_objects_v2(Bucket=upload.key["Bucket"])
    listed = s3.list_parts(**upload.said)
    assert [(part["PartNumber"], part["Size"]) for part in listed["Parts"]] == [(2, 300_000), (7, 1), (10_000, 500_000)]
    pages = list(s3.get_paginator("list_parts").paginate(**upload.said, PaginationConfig={"PageSize": 2}))
    assert [[part["PartNumber"] for part in page["Parts"]] for page in pages] == [[2, 7], [10_000]]
    made = upload.complete(parts[2], parts[7], parts[10_000])
    got = s3.get_object(**upload.key)
    assert got["Body"].read() == data[2] + data[7] + data[10_000]
    assert (got["ETag"], got["ContentType"], got["Metadata"]) == (made["ETag"], "text/plain", {"stage": "trial"})


def test_an_upload_is_over_when_it_is_complete_and_who_lost_the_answer_gets_it_again(face: "Face", s3: Any) -> None:
    upload = Upload(s3)
    part = upload.put(1, b"x")
    made = upload.complete(part)
    assert upload.complete(part)["ETag"] == made["ETag"]
    assert refused(s3.upload_part, **upload.said, PartNumber=1, Body=b"y") == (404, "NoSuchUpload")
    assert refused(s3.list_parts, **upload.said) == (404, "NoSuchUpload")
    bucket = {"account": "ml", "container": "s3-uploads", "prefix": upload.said["UploadId"]}
    assert not any(face.store.exists(name.id) for name in face.store.names(**bucket))
    assert "s3-uploads" not in {each["Name"] for each in s3.list_buckets()["Buckets"]}


def test_of_one_number_the_part_that_is_named_counts(s3: Any) -> None:
    upload = Upload(s3)
    first, second = upload.put(1, b"first"), upload.put(1, b"second!")
    assert [(part["PartNumber"], part["Size"]) for part in s3.list_parts(**upload.said)["Parts"]] == [(1, 7)]
    assert first != second
    upload.complete(second)
    assert s3.get_object(**upload.key)["Body"].read() == b"second!"


def test_an_upload_that_is_given_up_leaves_nothing(face: "Face", s3: Any) -> None:
    upload = Upload(s3)
    part = upload.put(1, b"x" * 100_000)
    s3.abort_multipart_upload(**upload.said)
    for call, said in (
        (s3.upload_part, {"PartNumber": 2, "Body": b"y"}),
        (s3.list_parts, {}),
        (s3.abort_multipart_upload, {}),
        (s3.complete_multipart_upload, {"MultipartUpload": {"Parts": [part]}}),
    ):
        assert refused(call, **upload.said, **said) == (404, "NoSuchUpload")
    names = face.store.names("ml", "s3-uploads", upload.said["UploadId"])
    assert not any(face.store.exists(name.id) for name in names)
    assert refused(s3.head_object, **upload.key)[0] == 404


def test_what_cannot_be_meant_is_refused(s3: Any) -> None:
    upload = Upload(s3)
    one, two = upload.put(1, b"1"), upload.put(2, b"2")
    assert _refusal(upload, (two, one)) == (400, "InvalidPartOrder")
    assert _refusal(upload, (one, one)) == (400, "InvalidPartOrder")
    assert _refusal(upload, ({"PartNumber": 3, "ETag": one["ETag"]},)) == (400, "InvalidPart")
    assert _refusal(upload, ({"PartNumber": 1, "ETag": two["ETag"]},)) == (400, "InvalidPart")
    assert _refusal(upload, ()) == (400, "MalformedXML")
    other = {**upload.said, "Key": "other"}
    assert refused(s3.upload_part, **other, PartNumber=1, Body=b"") == (404, "NoSuchUpload")
    for upload_id in ("x", "../x", "0" * 32):
        said = {**upload.said, "UploadId": upload_id, "PartNumber": 1, "Body": b""}
        assert refused(s3.upload_part, **said) == (404, "NoSuchUpload")
    for number in (0, 10_001):
        assert refused(s3.upload_part, **upload.said, PartNumber=number, Body=b"") == (400, "InvalidArgument")
    upload.complete(one, two)


def begun_in(s3: Any, bucket: str, **said: Any) -> list[tuple[list[tuple[str, str]], list[str]]]:
    """Return the pages of a bucket's uploads: keys with ids, and prefixes."""
    pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, **said)
    return [
        (
            [(each["Key"], each["UploadId"]) for each in page.get("Uploads", [])],
            [each["Prefix"] for each in page.get("CommonPrefixes", [])],
        )
        for page in pages
    ]


def test_uploads_under_way_are_listed_by_key_in_pages(s3: Any) -> None:
    bucket, keys = f"c{secrets.token_hex(4)}", ["b", "a/2", "a/1", "a/1", "ü/x"]
    ids = [s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"] for key in keys]
    s3.create_multipart_upload(Bucket=f"{bucket}x", Key="a/1")
    for key, over in (("done", s3.complete_multipart_upload), ("given up", s3.abort_multipart_upload)):
        said = {"Bucket": bucket, "Key": key}
        said["UploadId"] = s3.create_multipart_upload(**said)["UploadId"]
        part = {"PartNumber": 1, "ETag": s3.upload_part(**said, PartNumber=1, Body=b"x")["ETag"]}
        over(**said, **({"MultipartUpload": {"Parts": [part]}} if key == "done" else {}))
    there = sorted(zip(keys, ids, strict=True))
    assert begun_in(s3, bucket) == [(there, [])]
    for size in (1, 2, 3):
        pages = begun_in(s3, bucket, PaginationConfig={"PageSize": size})
        assert [len(page) for page, _ in pages[:-1]] == [size] * (len(pages) - 1)
        assert [one for page, _ in pages for one in page] == there
    assert begun_in(s3, bucket, Prefix="a/1") == [(there[:2], [])]
    folded = begun_in(s3, bucket, Delimiter="/", PaginationConfig={"PageSize": 1})
    assert folded == [([], ["a/"]), ([there[3]], []), ([], ["ü/"])]
    assert begun_in(s3, bucket, Prefix="ü", EncodingType="url") == [([("%C3%BC/x", ids[4])], [])]
    assert begun_in(s3, f"{bucket}y") == [([], [])]
    for key, upload_id in there:  # as whoever tidies up does
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
    assert begun_in(s3, bucket) == [([], [])]


def test_a_key_that_is_taken_is_not_uploaded_to(s3: Any) -> None:
    upload = Upload(s3)
    part = upload.put(1, b"late")
    s3.put_object(**upload.key, Body=b"first")
    assert _refusal(upload, (part,)) == (409, "ObjectAlreadyExists")
    assert refused(s3.create_multipart_upload, **upload.key) == (409, "ObjectAlreadyExists")
    assert s3.get_object(**upload.key)["Body"].read() == b"first"


def test_the_checksum_of_the_whole_is_compared(s3: Any) -> None:
    upload = Upload(s3)
    part = upload.put(1, b"123456789")
    said = {**upload.said, "MultipartUpload": {"Parts": [part]}, "ChecksumType": "FULL_OBJECT"}
    # The answer had begun: an error in it is one of status 200 on the wire.
    assert refused(s3.complete_multipart_upload, **said, ChecksumCRC32="AAAAAA==")[1] == "BadDigest"
    assert refused(s3.head_object, **upload.key)[0] == 404
    s3.complete_multipart_upload(**said, ChecksumCRC32="y/Q5Jg==")
    assert s3.get_object(**upload.key)["Body"].read() == b"123456789"


@pytest.mark.parametrize("late_s", [0.0, 0.003, 0.006, 0.01, 0.02, 0.04])
def test_of_several_that_complete_all_have_the_same(face: "Face", s3: Any, late_s: float) -> None:
    upload = Upload(s3)
    parts = [upload.put(number, secrets.token_bytes(100_000)) for number in range(1, 5)]
    with ExitStack() as stack:
        clients = [stack.enter_context(s3_client(face)) for _ in range(4)]
        for client in clients:
            client.list_buckets()  # so that they begin together

        def complete(number: int) -> str:
            time.sleep(number * late_s)
            done = clients[number].complete_multipart_upload(**upload.said, MultipartUpload={"Parts": parts})
            return str(done["ETag"])

        with ThreadPoolExecutor(4) as pool:
            assert len(set(pool.map(complete, range(4)))) == 1


CLIENT = """
import sys, boto3
from botocore.config import Config
url, key_id, secret, bucket, path = sys.argv[1:]
config = Config(s3={"addressing_style": "path"})
s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=key_id,
                  aws_secret_access_key=secret, config=config)
class Seen:
    def __call__(self, count):
        print(count, flush=True)
s3.upload_file(path, bucket, "k", Callback=Seen())
"""


def test_a_client_that_dies_in_the_middle_leaves_nothing_to_be_seen(face: "Face", s3: Any, tmp_path: Path) -> None:
    path, bucket = tmp_path / "large", f"c{secrets.token_hex(4)}"
    path.touch()
    with path.open("r+b") as file:
        file.truncate(400 << 20)
    arguments = [f"{face.url}/s3/ml", *pair_of(face, face.token), bucket, str(path)]
    with subprocess.Popen([sys.executable, "-c", CLIENT, *arguments], stdout=subprocess.PIPE) as client:
        assert client.stdout
        assert client.stdout.readline()
        client.kill()
    assert refused(s3.head_object, Bucket=bucket, Key="k")[0] == 404
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert bucket not in {each["Name"] for each in s3.list_buckets()["Buckets"]}
    s3.put_object(Bucket=bucket, Key="k", Body=b"another")  # and its name is still to be had


def test_a_server_that_dies_while_it_makes_the_blob_is_asked_again(start_face: "Start", root: str) -> None:
    retries = {"retries": {"total_max_attempts": 5, "mode": "standard"}}  # boto3's own way
    with start_face(url=f"{root}/blobs", is_open=True) as face, s3_client(face, token="", config=retries) as s3:
        upload = Upload(s3)
        parts = [upload.put(number, bytes([number]) * (8 << 20)) for number in range(1, 9)]
        texts = (f"<PartNumber>{part['PartNumber']}</PartNumber><ETag>{part['ETag']}</ETag>" for part in parts)
        named = "".join(f"<Part>{text}</Part>" for text in texts)
        address = f"{face.url}/s3/ml/{upload.key['Bucket']}/{upload.key['Key']}?uploadId={upload.said['UploadId']}"
        body = f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>"
        with requests.post(address, data=body, stream=True, timeout=60) as answer:
            assert next(answer.iter_content(1)) == b"<"
            os.kill(worker_of(face), signal.SIGKILL)
        names = face.store.names("ml", upload.key["Bucket"])
        assert all(face.store.check(name.id).size_bytes == 64 << 20 for name in names)  # none, or the whole
        upload.complete(*parts)
        got = s3.get_object(**upload.key)["Body"].read()
        assert got == b"".join(bytes([number]) * (8 << 20) for number in range(1, 9))


def worker_of(face: "Face") -> int:
    """Return the process of the server's one worker."""
    (worker,) = Path(f"/proc/{face.process.pid}/task/{face.process.pid}/children").read_text().split()
    return int(worker)


def peak_bytes(face: "Face") -> int:
    """Return the most memory that the server's one worker had."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker_of(face)}/status").read_text())
    assert match
    return int(match[1]) * 1024


def round_trip(face: "Face", s3: Any, path: Path, mebibytes: int) -> None:
    path.touch()
    with path.open("r+b") as file:
        file.truncate(mebibytes << 20)
    transfer = TransferConfig(multipart_chunksize=8 << 20, max_concurrency=4)
    key = f"k{mebibytes}"
    s3.upload_file(str(path), "c", key, Config=transfer)
    assert s3.head_object(Bucket="c", Key=key)["ContentLength"] == mebibytes << 20
    s3.download_file("c", key, str(path), Config=transfer)
    assert path.stat().st_size == mebibytes << 20
    with path.open("rb") as file:
        s3.put_object(Bucket="c", Key=f"{key}-at-once", Body=file)
    for name in (key, f"{key}-at-once"):
        fs.delete(face.store.places.loose(face.store.names("ml", "c", name)[0].id))


def test_memory_does_not_grow_with_the_blob(start_face: "Start", root: str, tmp_path: Path) -> None:
    with start_face(url=f"{root}/blobs") as face, s3_client(face) as s3:
        round_trip(face, s3, tmp_path / "f", 40)
        small = peak_bytes(face)
        round_trip(face, s3, tmp_path / "f", 300)
        # 11 to 30 MiB have been seen, of threads that met more often; what held a blob would hold 260 more.
        assert peak_bytes(face) - small < 65 << 20
