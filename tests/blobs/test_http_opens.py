"""A read is one open: how often the file system is asked, counted on its way there."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from yarnmill import fs
from yarnmill.blobs import FileSystemBlobStore
from yarnmill.blobs.collect import garbage
from yarnmill.blobs.http.app import create_app
from yarnmill.blobs.http.tokens import fresh_rules
from yarnmill.blobs.packing import pack, packing
from yarnmill.units import Seconds

if TYPE_CHECKING:
    from flask.testing import FlaskClient

PUT = {"x-ambry-service-id": "tests", "x-ambry-content-type": "text/plain"}
ONCE = {"open_read": 1}


@pytest.fixture
def store(root: str) -> FileSystemBlobStore:
    return FileSystemBlobStore(f"{root}/blobs")


@pytest.fixture
def client(store: FileSystemBlobStore) -> "FlaskClient":
    rules = fresh_rules()
    return create_app(store, lambda: rules, is_open=True).test_client()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Yield how often files were opened and looked at; each call goes on to the file system."""
    seen: Counter[str] = Counter()

    def recording(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(url: Any, *rest: Any) -> Any:
            seen[name] += 1
            return call(url, *rest)

        return recorded

    for name in ("open_read", "info", "exists"):
        monkeypatch.setattr(fs, name, recording(name, getattr(fs, name)))
    return seen


def test_a_read_is_one_open(client: "FlaskClient", asked: Counter[str]) -> None:
    own = client.post("/", data=b"0123456789", headers={**PUT, "x-ambry-private": "true"}).headers["Location"]
    client.put("/named/ml/c/n", data=b"0123456789", headers=PUT)
    part = {"Range": "bytes=2-4"}
    calls: list[tuple[str, str, dict[str, str], int]] = [
        (method, path, headers, status)
        for path in (own, "/named/ml/c/n", "/s3/ml/c/n")
        for method, headers, status in (("GET", {}, 200), ("HEAD", {}, 200), ("GET", part, 206))
    ]
    calls += [("GET", f"{own}/BlobInfo", {}, 200), ("GET", f"{own}/UserMetadata", {}, 200)]
    for method, path, headers, status in calls:
        asked.clear()
        answer = client.open(path, method=method, headers=headers)
        assert answer.status_code == status
        answer.close()
        assert asked == ONCE, (method, path)


def test_what_was_not_modified_is_one_open_and_what_is_not_there_none_that_succeeds(
    client: "FlaskClient", asked: Counter[str]
) -> None:
    client.put("/named/ml/c/n", data=b"x", headers=PUT)
    tag = client.get("/named/ml/c/n").headers["ETag"]
    asked.clear()
    assert client.get("/named/ml/c/n", headers={"If-None-Match": tag}).status_code == 304
    assert asked == ONCE


def test_a_signed_read_is_one_open(client: "FlaskClient", asked: Counter[str]) -> None:
    path = client.post("/", data=b"x", headers={**PUT, "x-ambry-private": "true"}).headers["Location"]
    sign = {"x-ambry-url-type": "GET", "x-ambry-blob-id": path}
    url = urlsplit(client.get("/signedUrl", headers=sign).headers["x-ambry-signed-url"])
    asked.clear()
    assert client.get(f"{url.path}?{url.query}").data == b"x"
    assert asked == ONCE


def test_a_listing_opens_each_once(client: "FlaskClient", asked: Counter[str]) -> None:
    for number in range(3):
        client.put(f"/named/ml/c/{number}", data=b"x", headers=PUT)
    for path in ("/named/ml/c", "/s3/ml/c?list-type=2"):
        asked.clear()
        assert client.get(path).status_code == 200
        assert asked == {"open_read": 3}


def test_garbage_is_opened_once(client: "FlaskClient", store: FileSystemBlobStore, asked: Counter[str]) -> None:
    for number in range(3):
        client.put(f"/named/ml/c/{number}", data=b"x", headers=PUT)
        client.delete(f"/named/ml/c/{number}")
    asked.clear()
    assert len(list(garbage(store, Seconds(0.0)))) == 3
    assert asked["open_read"] == 3


def test_a_packed_blob_is_one_open_too(client: "FlaskClient", store: FileSystemBlobStore, asked: Counter[str]) -> None:
    for number in range(16):
        client.put(f"/named/ml/c/{number}", data=str(number).encode(), headers=PUT)
    for plan in list(packing(store, Seconds(0.0))):
        pack(store, plan)
    asked.clear()
    assert client.get("/named/ml/c/7").data == b"7"
    assert asked == ONCE


def test_nothing_stays_open_after_a_refusal(client: "FlaskClient") -> None:
    # An open file that nobody closes is an error of the suite.
    client.put("/named/ml/c/n", data=b"x", headers=PUT)
    for path in ("/named/ml/c/n", "/s3/ml/c/n"):
        assert client.get(path, headers={"Range": "bytes=5-"}).status_code == 416
        client.head(path)
    assert client.get("/s3/ml/c/n", headers={"If-Match": '"x"'}).status_code == 412
