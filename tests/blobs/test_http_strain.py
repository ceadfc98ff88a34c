"""Damage, clients that go away, large blobs and many readers: through a real server, on every backend."""

import hashlib
import io
import re
import secrets
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests
from waiting import eventually

from yarnmill import fs
from yarnmill.blobs import open_store
from yarnmill.blobs.http.app import create_app
from yarnmill.blobs.http.tokens import fresh_rules
from yarnmill.errors import NotFoundError

if TYPE_CHECKING:
    from conftest import Face, Start

pytestmark = pytest.mark.programs

PUT = {"x-ambry-service-id": "tests", "x-ambry-content-type": "text/plain"}
CHUNK = 256 * 1024


def flip_bit(face: "Face", path: str, position: int) -> None:
    url = face.store.places.loose(path.removeprefix("/"))
    data = bytearray(fs.read_bytes(url))
    data[position] ^= 1
    fs.write_bytes(url, bytes(data), overwrite=True)


@pytest.mark.parametrize("position", [0, 99, -1, -40])
def test_a_flipped_bit_of_a_small_blob_is_an_error_and_no_byte(face: "Face", position: int) -> None:
    path = face.put(b"precious" * 20)
    flip_bit(face, path, position)
    for headers in ({}, {"Range": "bytes=0-120"}):
        answer = face.call("GET", path, headers=headers)
        assert (answer.status_code, "damaged" in answer.json()["error"]) == (500, True)
        assert b"precious" not in answer.content
        assert face.store.url not in answer.text
    assert face.store.url in face.log.read_text()  # who keeps the server is told where
    assert face.call("GET", "/healthCheck").status_code == 200


def test_a_flipped_bit_in_the_middle_of_a_large_blob_breaks_the_answer(face: "Face", tmp_path: Path) -> None:
    path = face.put(secrets.token_bytes(10 * CHUNK))
    flip_bit(face, path, 7 * CHUNK + 5)
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)):
        face.call("GET", path)
    curl = ["curl", "-sS", "-H", f"Authorization: Bearer {face.token}", "-o", str(tmp_path / "x"), face.url + path]
    assert subprocess.run(curl, capture_output=True, check=False).returncode == 18  # a part of the file was sent
    assert (tmp_path / "x").stat().st_size <= 7 * CHUNK
    # What is sound is to be had, and what is not even begun is an error of its own.
    assert face.call("GET", path, headers={"Range": f"bytes=0-{7 * CHUNK - 1}"}).status_code == 206
    assert face.call("GET", path, headers={"Range": f"bytes={7 * CHUNK}-"}).status_code == 500
    assert "cut off in the middle" in face.log.read_text()


def test_a_damaged_chunk_makes_no_blob(face: "Face") -> None:
    before = set(face.store.ids())
    said = {**PUT, "x-ambry-chunk-upload": "true", "x-ambry-session": "s"}
    chunk = face.call("POST", "/", data=b"1" * 100, headers=said).headers["Location"]
    (blob_id,) = set(face.store.ids()) - before
    flip_bit(face, blob_id, 50)
    answer = face.call("POST", "/stitch", json={"signedChunkIds": [chunk]}, headers=PUT)
    assert answer.status_code == 500
    assert set(face.store.ids()) - before == {blob_id}


def leftovers(face: "Face") -> int:
    try:
        return len(fs.children(face.store.places.incoming))
    except NotFoundError:
        return 0


@pytest.mark.parametrize("framing", ["Content-Length: 2000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nF4240\r\n"])
@pytest.mark.parametrize("path", ["POST /", "PUT /named/ml/c/gone"])
def test_a_client_that_goes_away_leaves_nothing(face: "Face", framing: str, path: str) -> None:
    before = set(face.store.ids())
    address = urlsplit(face.url)
    headers = {**PUT, "Host": "x", "Authorization": f"Bearer {face.token}"}
    head = f"{path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + framing
    for sent in (0, 1, 600_000, 1_000_000):
        with socket.create_connection((address.hostname, address.port)) as client:
            client.sendall(head.encode() + b"x" * sent)
            if sent == 600_000:  # caught in the act
                assert eventually(lambda: leftovers(face) > 0, 10)
    assert eventually(lambda: leftovers(face) == 0, 20)
    assert set(face.store.ids()) == before
    assert face.call("GET", "/healthCheck").status_code == 200


def test_a_client_that_goes_away_while_it_reads_costs_nothing(face: "Face") -> None:
    path = face.put(b"0" * 20_000_000)
    for _ in range(3):
        with requests.get(
            face.url + path, headers={"Authorization": f"Bearer {face.token}"}, stream=True, timeout=60
        ) as answer:
            assert next(answer.iter_content(1000))
    assert face.call("GET", path, headers={"Range": "bytes=-1"}).content == b"0"
    assert "Traceback" not in face.log.read_text()


class _Stalled(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        if not (data := super().read(size)):
            raise BlockingIOError  # as a socket does whose time is over
        return data


def test_a_client_that_stalls_is_given_up(root: str) -> None:
    store, rules = open_store(f"{root}/blobs"), fresh_rules()
    client = create_app(store, lambda: rules, is_open=True).test_client()
    environ = {"wsgi.input_terminated": True}
    answer = client.post("/", input_stream=_Stalled(b"half"), headers=PUT, environ_overrides=environ)
    assert answer.status_code == 408
    assert list(store.ids()) == []


def test_garbage_in_place_of_chunks_is_refused(face: "Face") -> None:
    before = set(face.store.ids())
    address = urlsplit(face.url)
    headers = {**PUT, "Host": "x", "Authorization": f"Bearer {face.token}", "Transfer-Encoding": "chunked"}
    head = "POST / HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    for body in ("zz\r\nabc", "5\r\nabcdefgh\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\nnot a trailer\r\n\r\n"):
        with socket.create_connection((address.hostname, address.port)) as client:
            client.sendall((head + body).encode())
            assert client.recv(100).startswith(b"HTTP/1.1 400 ")
    assert set(face.store.ids()) == before


def test_requests_that_come_together_are_all_answered(face: "Face") -> None:
    address = urlsplit(face.url)
    refused = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n{'x' * 200_000}"  # nobody reads its body
    health = "GET /healthCheck HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=60) as client:
        client.sendall(
            (refused + health + health + health.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).encode()
        )
        answers = b"".join(iter(lambda: client.recv(65_536), b"")).decode()
    assert re.findall(r"HTTP/1.1 (\d+)", answers) == ["401", "200", "200", "200"]


def test_the_answer_to_a_head_is_followed_by_the_next_answer(face: "Face") -> None:
    """Read from the socket itself, for clients pass over a body that should not be there."""
    address, path = urlsplit(face.url), face.put(b"precious")
    said = f"Host: x\r\nAuthorization: Bearer {face.token}\r\n"
    asked = [(path, ""), (f"{path}/BlobInfo", ""), (path, "Range: bytes=0-3\r\n"), (path, "Range: bytes=9-\r\n")]
    asked += [(f"/{'0' * 32}", ""), ("/x", ""), ("/s3/ml/c/none", "")]
    heads = "".join(f"HEAD {where} HTTP/1.1\r\n{said}{more}\r\n" for where, more in asked)
    with socket.create_connection((address.hostname, address.port), timeout=60) as client:
        client.sendall(f"{heads}GET /healthCheck HTTP/1.1\r\n{said}Connection: close\r\n\r\n".encode())
        *answers, body = b"".join(iter(lambda: client.recv(65_536), b"")).decode().split("\r\n\r\n")
    statuses = [re.match(r"HTTP/1.1 (\d+)", answer) for answer in answers]
    assert [status and status[1] for status in statuses] == ["200", "200", "206", "416", "404", "400", "400", "200"]
    assert body == "GOOD"


def test_fifty_readers_at_once_read_the_same(face: "Face") -> None:
    data = secrets.token_bytes(2_000_000)
    path = face.put(data)
    with ThreadPoolExecutor(50) as pool:
        digests = set(pool.map(lambda _: hashlib.sha256(face.call("GET", path).content).hexdigest(), range(50)))
    assert digests == {hashlib.sha256(data).hexdigest()}


def zeros(mebibytes: int) -> Iterator[bytes]:
    return (b"\0" * 1_048_576 for _ in range(mebibytes))


def peak_bytes(face: "Face") -> int:
    """Return the most memory that the server's one worker had."""
    (worker,) = Path(f"/proc/{face.process.pid}/task/{face.process.pid}/children").read_text().split()
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker}/status").read_text())
    assert match
    return int(match[1]) * 1024


def round_trip(face: "Face", mebibytes: int) -> None:
    path = face.put(zeros(mebibytes))
    headers = {"Authorization": f"Bearer {face.token}"}
    with requests.get(face.url + path, headers=headers, stream=True, timeout=60) as answer:
        assert sum(len(part) for part in answer.iter_content(1_048_576)) == mebibytes << 20
    said = {**PUT, "x-ambry-chunk-upload": "true", "x-ambry-session": "s"}
    chunk = face.call("POST", "/", data=zeros(mebibytes // 2), headers=said).headers["Location"]
    made = face.call("POST", "/stitch", json={"signedChunkIds": [chunk, chunk]}, headers=PUT)
    assert made.headers["x-ambry-blob-size"] == str(mebibytes << 20)
    for gone in (path, made.headers["Location"]):
        fs.delete(face.store.places.loose(gone.removeprefix("/")))


def test_memory_does_not_grow_with_the_blob(start_face: "Start", root: str) -> None:
    with start_face(url=f"{root}/blobs") as face:
        round_trip(face, 16)
        small = peak_bytes(face)
        round_trip(face, 300)
        assert peak_bytes(face) - small < 24 << 20


def test_a_store_that_does_not_answer_is_said_so(start_face: "Start") -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with start_face(url=f"hdfs://127.0.0.1:{port}/blobs") as face:
        answer = face.call("GET", f"/{secrets.token_hex(16)}")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert str(port) not in answer.text
        assert face.call("POST", "/", data=b"x", headers=PUT).status_code == 503
        assert face.call("GET", "/healthCheck").status_code == 200
