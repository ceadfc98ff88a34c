"""Ambry's REST over every backend: blobs without names, through a real server."""

import email.utils
import secrets
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from waiting import eventually

from yarnmill import fs
from yarnmill.blobs import Attributes

if TYPE_CHECKING:
    from conftest import Face

pytestmark = pytest.mark.programs

DATA = bytes(range(256)) * 4
PUT = {"x-ambry-service-id": "tests", "x-ambry-content-type": "text/plain"}


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 3_000_000])
def test_what_was_put_is_what_is_read(face: "Face", size: int) -> None:
    data = secrets.token_bytes(size)
    path = face.put(data, content_type="image/png", blob_size=str(size))
    answer = face.call("GET", path)
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Length"] == answer.headers["x-ambry-blob-size"] == str(size)
    assert answer.headers["Accept-Ranges"] == "bytes"
    head = face.call("HEAD", path)
    assert head.content == b""
    assert {**head.headers, "Date": ""} == {**answer.headers, "Date": ""}


def test_the_same_bytes_are_another_blob_each_time(face: "Face") -> None:
    assert face.put(b"twice") != face.put(b"twice")


def test_what_was_said_of_a_blob_is_told(face: "Face") -> None:
    headers = {
        **PUT,
        "x-ambry-owner-id": "ana",
        "x-ambry-ttl": "1000",
        "x-ambry-private": "TRUE",
        "x-ambry-target-account-name": "ml",
        "x-ambry-target-container-name": "models",
        "x-ambry-um-colour": "grün".encode().decode("latin-1"),
        "X-Ambry-UM-Stage": "trial",
    }
    put = face.call("POST", "/", data=b"12345", headers=headers)
    assert put.status_code == 201
    created = email.utils.parsedate_to_datetime(put.headers["x-ambry-creation-time"]).timestamp()
    assert abs(created - time.time()) < 60
    user = {"x-ambry-um-colour": "grün".encode().decode("latin-1"), "x-ambry-um-stage": "trial"}
    for method in ("GET", "HEAD"):
        info = face.call(method, put.headers["Location"] + "/BlobInfo")
        assert (info.status_code, info.content) == (200, b"")
        told = {name.lower(): value for name, value in info.headers.items() if name.lower().startswith("x-ambry-")}
        assert told == {
            "x-ambry-blob-size": "5",
            "x-ambry-service-id": "tests",
            "x-ambry-creation-time": put.headers["x-ambry-creation-time"],
            "x-ambry-private": "true",
            "x-ambry-content-type": "text/plain",
            "x-ambry-owner-id": "ana",
            "x-ambry-ttl": "1000",
            "x-ambry-target-account-name": "ml",
            "x-ambry-target-container-name": "models",
            **user,
        }
    only = face.call("GET", put.headers["Location"] + "/UserMetadata").headers
    assert {name.lower(): value for name, value in only.items() if name.lower().startswith("x-ambry-")} == user


def test_what_no_header_can_hold_is_percent_encoded(face: "Face") -> None:
    said = Attributes(content_type="text/plain", owner="a\nb", user={"two words": "100%\r\n", "ok": "100%"})
    with fs.open_read(__file__) as stream:
        info = face.store.put(stream, said)
    headers = face.call("GET", f"/{info.id}").headers
    assert headers["x-ambry-owner-id"] == "a%0Ab"
    assert (headers["x-ambry-um-two%20words"], headers["x-ambry-um-ok"]) == ("100%25%0D%0A", "100%")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=3-10", 3, 11),
        ("bytes=1000-", 1000, 1024),
        ("bytes=1023-", 1023, 1024),
        ("bytes=0-", 0, 1024),
        ("bytes=1000-99999999999", 1000, 1024),
        ("bytes=-1", 1023, 1024),
        ("bytes=-1024", 0, 1024),
        ("bytes=-5000", 0, 1024),
        ("Bytes = 1 - 2", 1, 3),
    ],
)
def test_a_range_is_a_part(face: "Face", asked: str, start: int, stop: int) -> None:
    path = face.put(DATA)
    for method in ("GET", "HEAD"):
        answer = face.call(method, path, headers={"Range": asked})
        assert answer.status_code == 206
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/1024"
        assert answer.headers["Content-Length"] == str(stop - start)
        assert answer.content == (DATA[start:stop] if method == "GET" else b"")


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=5000-6000", "bytes=-0"])
def test_a_range_of_nothing_is_refused(face: "Face", asked: str) -> None:
    answer = face.call("GET", face.put(DATA), headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */1024"
    of_empty = face.call("GET", face.put(b""), headers={"Range": "bytes=0-0"})
    assert (of_empty.headers["Content-Range"], of_empty.json()["expected"]) == ("bytes */0", "no range")


@pytest.mark.parametrize("asked", ["bytes=5-3", "bytes=0-1,4-5", "items=0-1", "bytes=a-b", "bytes=-", "nonsense"])
def test_what_is_no_range_gets_the_whole(face: "Face", asked: str) -> None:
    answer = face.call("GET", face.put(DATA), headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, DATA)


def test_ranges_cross_the_chunks_of_a_large_blob(face: "Face") -> None:
    data = secrets.token_bytes(1_000_000)
    path = face.put(data)
    for start, stop in ((262_143, 262_145), (262_144, 524_288), (1, 999_999)):
        assert face.call("GET", path, headers={"Range": f"bytes={start}-{stop - 1}"}).content == data[start:stop]


def test_what_has_not_changed_is_not_sent(face: "Face") -> None:
    path = face.put(DATA)
    known = face.call("GET", path).headers
    same = (
        {"If-Modified-Since": known["Last-Modified"]},
        {"If-Modified-Since": email.utils.formatdate(time.time() + 60, usegmt=True)},
        {"If-None-Match": known["ETag"]},
    )
    for headers in same:
        answer = face.call("GET", path, headers=headers)
        assert (answer.status_code, answer.content) == (304, b"")
    for headers in (
        {"If-Modified-Since": email.utils.formatdate(0, usegmt=True)},
        {"If-Modified-Since": "yesterday"},
        {"If-None-Match": '"other"'},
    ):
        assert face.call("GET", path, headers=headers).content == DATA
    part = {"Range": "bytes=0-0"}
    assert face.call("GET", path, headers={**part, "If-Range": known["ETag"]}).content == DATA[:1]
    assert face.call("GET", path, headers={**part, "If-Range": '"other"'}).content == DATA


def test_a_deleted_blob_is_gone_and_comes_back(face: "Face") -> None:
    path = face.put(DATA)
    assert face.call("DELETE", path).status_code == 202
    assert face.call("DELETE", path).status_code == 202
    addresses = [path, f"{path}/BlobInfo", f"{path}/UserMetadata"]
    assert {face.call(method, each).status_code for method in ("GET", "HEAD") for each in addresses} == {410}
    signing = {"x-ambry-url-type": "GET", "x-ambry-blob-id": path}
    assert face.call("GET", "/signedUrl", headers=signing).status_code == 410
    assert "was deleted" in face.call("GET", path).json()["error"]
    headers = {"x-ambry-blob-id": path, "x-ambry-service-id": "tests"}
    assert face.call("PUT", "/updateTtl", headers=headers).status_code == 410
    assert face.call("PUT", "/undelete", headers=headers).status_code == 200
    assert face.call("GET", path).content == DATA


def test_a_blob_expires_unless_it_is_made_permanent(face: "Face") -> None:
    short, kept = face.put(DATA, ttl="1"), face.put(DATA, ttl="600")
    assert face.call("HEAD", kept).headers["x-ambry-ttl"] == "600"
    assert eventually(lambda: face.call("GET", short).status_code == 410, 60)
    said = {"x-ambry-blob-id": kept.removeprefix("/"), "x-ambry-service-id": "tests"}
    for act, ttl in (("undelete", "600"), ("updateTtl", None), ("undelete", None)):
        if act == "undelete":
            assert face.call("DELETE", kept).status_code == 202
        assert face.call("PUT", f"/{act}", headers=said).status_code == 200
        assert face.call("HEAD", kept).headers.get("x-ambry-ttl") == ttl
    assert face.call("GET", kept).content == DATA
    assert face.call("PUT", "/undelete", headers={**said, "x-ambry-blob-id": short}).status_code == 410
    assert "x-ambry-ttl" not in face.call("HEAD", face.put(DATA, ttl="-1")).headers


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_an_unknown_blob_is_not_found(face: "Face", method: str) -> None:
    for blob_id in (secrets.token_hex(16), secrets.token_hex(32)):
        answer = face.call(method, f"/{blob_id}")
        assert answer.status_code == 404
        assert face.store.url not in answer.text


@pytest.mark.parametrize(
    "blob_id", ["x", "A" * 64, "..%2f..%2fetc%2fpasswd", "%00", "n-Li4vLi4vZXRj", pytest.param("a" * 3000, id="long")]
)
def test_no_text_of_a_user_reaches_a_file_name(face: "Face", blob_id: str) -> None:
    answer = face.call("GET", f"/{blob_id}")
    assert answer.status_code in {400, 404}
    if answer.status_code == 400:
        assert "no blob id" in answer.headers["x-ambry-failure-reason"]
    for operation in ("updateTtl", "undelete"):
        headers = {"x-ambry-blob-id": blob_id, "x-ambry-service-id": "tests"}
        assert face.call("PUT", f"/{operation}", headers=headers).status_code == 400


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"x-ambry-content-type": "a/b"}, "x-ambry-service-id"),
        ({"x-ambry-service-id": "s"}, "x-ambry-content-type"),
        ({**PUT, "x-ambry-ttl": "soon"}, "x-ambry-ttl"),
        ({**PUT, "x-ambry-ttl": "-2"}, "x-ambry-ttl"),
        ({**PUT, "x-ambry-ttl": "9" * 30}, "x-ambry-ttl"),
        ({**PUT, "x-ambry-private": "perhaps"}, "x-ambry-private"),
        ({**PUT, "x-ambry-blob-size": "4"}, "x-ambry-blob-size is 4"),
        ({**PUT, "x-ambry-blob-size": "6"}, "x-ambry-blob-size is 6"),
        ({**PUT, "x-ambry-target-account-name": "../a", "x-ambry-target-container-name": "c"}, "../a"),
        ({**PUT, "x-ambry-target-account-name": "a"}, "'a//-'"),
        ({**PUT, "x-ambry-content-encoding": "gzip"}, "x-ambry-content-encoding"),
        ({**PUT, "Content-Type": "multipart/form-data; boundary=x"}, "a form"),
        ({**PUT, "x-ambry-um-a": "\xff"}, "UTF-8"),
        ({**PUT, "x-ambry-um-a_b": "x"}, ""),
    ],
)
def test_a_put_that_cannot_be_meant_leaves_nothing(face: "Face", headers: dict[str, str], reason: str) -> None:
    before = set(face.store.ids())
    answer = face.call("POST", "/", data=b"12345", headers=headers)
    assert answer.status_code == 400
    assert reason in answer.headers.get("x-ambry-failure-reason", "")
    assert set(face.store.ids()) == before


def test_a_body_in_chunks_is_stored(face: "Face") -> None:
    parts = [secrets.token_bytes(size) for size in (1, 70_000, 3, 1_000_000)]
    path = face.put(iter(parts))
    assert face.call("GET", path).content == b"".join(parts)
    answer = face.call("POST", "/", data=iter(parts), headers={**PUT, "x-ambry-blob-size": "5"})
    assert answer.status_code == 400


def test_connections_are_used_again(face: "Face") -> None:
    with requests.Session() as session:
        session.headers.update({**PUT, "Authorization": f"Bearer {face.token}"})
        for number in range(3):
            path = session.post(f"{face.url}/", data=str(number), timeout=60).headers["Location"]
            assert session.get(face.url + path, timeout=60).text == str(number)
            assert session.get(f"{face.url}/{'0' * 32}", timeout=60).status_code == 404


def test_curl_puts_and_gets(face: "Face", tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(DATA * 1000)
    headers = [f"{name}: {value}" for name, value in {**PUT, "Authorization": f"Bearer {face.token}"}.items()]
    curl = ["curl", "-sS", "--fail", *(word for header in headers for word in ("-H", header))]
    put = [*curl, "-D", "-", "-o", "/dev/null", "--data-binary", f"@{tmp_path}/in", f"{face.url}/"]
    done = subprocess.run(put, capture_output=True, text=True, check=True)
    path = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("Location:"))
    subprocess.run([*curl, "-o", str(tmp_path / "out"), face.url + path], check=True)
    assert (tmp_path / "out").read_bytes() == DATA * 1000
    subprocess.run([*curl, "-r", "-5", "-o", str(tmp_path / "part"), face.url + path], check=True)
    assert (tmp_path / "part").read_bytes() == DATA[-5:]


def test_health_and_unknown_addresses(face: "Face") -> None:
    health = face.call("GET", "/healthCheck", token="")
    assert (health.status_code, health.text) == (200, "GOOD")
    assert face.call("GET", "/a/b/c").status_code == 404
    refused = face.call("POST", f"/{'0' * 32}")
    assert (refused.status_code, "GET" in refused.headers["Allow"]) == (405, True)
    assert set(refused.json()) == {"error", "expected", "mend"}


def test_what_somebody_put_is_no_page_of_the_server(face: "Face") -> None:
    headers = face.call("GET", face.put(b"<script>", content_type="text/html")).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
