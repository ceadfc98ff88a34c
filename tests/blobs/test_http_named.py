"""Named blobs over HTTP, on every backend: put once, read by name, listed in pages; and blobs made of chunks."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from yarnmill import fs

if TYPE_CHECKING:
    import requests
    from conftest import Face

pytestmark = pytest.mark.programs

PUT = {"x-ambry-service-id": "tests", "x-ambry-content-type": "text/plain"}


@pytest.fixture
def container() -> str:
    """Return the address of a container that no other test uses."""
    return f"/named/ml/c{secrets.token_hex(4)}"


def put(face: "Face", path: str, data: Any = b"x", **headers: str) -> "requests.Response":
    return face.call("PUT", path, data=data, headers=PUT | headers)


def test_a_name_is_had_once(face: "Face", container: str) -> None:
    made = put(face, f"{container}/rank/1", b"first")
    assert made.status_code == 201
    assert face.call("GET", made.headers["Location"]).content == b"first"
    refused = put(face, f"{container}/rank/1", b"second")
    assert (refused.status_code, "keeps it for ever" in refused.json()["error"]) == (409, True)
    answer = face.call("GET", f"{container}/rank/1", headers={"Range": "bytes=-2"})
    assert (answer.status_code, answer.content) == (206, b"st")
    head = face.call("HEAD", f"{container}/rank/1").headers
    assert (head["x-ambry-target-account-name"], head["x-ambry-private"]) == ("ml", "true")
    assert head["x-ambry-target-container-name"] == container.rsplit("/", 1)[-1]
    assert face.call("DELETE", f"{container}/rank/1").status_code == 202
    addresses = [
        f"{container}/rank/1",
        *(made.headers["Location"] + more for more in ("", "/BlobInfo", "/UserMetadata")),
    ]
    assert {face.call(method, each).status_code for method in ("GET", "HEAD") for each in addresses} == {410}
    assert put(face, f"{container}/rank/1", b"third").status_code == 409
    named = {"x-ambry-blob-id": f"{container}/rank/1", "x-ambry-service-id": "tests"}
    assert face.call("PUT", "/undelete", headers=named).status_code == 200
    assert face.call("GET", f"{container}/rank/1").content == b"first"
    assert face.call("GET", f"{container}/rank/2").status_code == 404


def test_of_several_writers_one_wins(face: "Face", container: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: put(face, f"{container}/n", str(number)).status_code, range(8)))
    assert sorted(answers) == [201] + [409] * 7


@pytest.mark.parametrize("name", ["/x", "a//b", "a/", "../../etc/passwd", "ü €", "?#%", "a\nb", "=", "~", " "])
def test_every_text_is_a_name_of_its_own(face: "Face", container: str, name: str) -> None:
    path = f"{container}/{quote(name, safe='' if '..' in name else '/')}"  # clients take dots for their own
    assert put(face, path, name.encode()).status_code == 201
    assert face.call("GET", path).content == name.encode()
    listed = face.call("GET", container).json()["entries"]
    assert [entry["blobName"] for entry in listed] == [name]


@pytest.mark.parametrize(
    "path", ["/named/a b/c/n", "/named/a/../n", "/named/a/c/%00", "/named/a/c/%ff", "/named/..%2f/c/n"]
)
def test_what_is_no_name_is_refused(face: "Face", path: str) -> None:
    assert put(face, path).status_code in {400, 404, 405}
    long = f"/named/a/c/{'n' * 1025}"
    assert put(face, long).status_code == 400


def test_names_are_listed_in_pages(face: "Face", container: str) -> None:
    names = ["a", "a/1", "a/2", "b/1", "b/2", "b/3", "c"]
    for name in names:
        assert put(face, f"{container}/{name}", name.encode(), **{"x-ambry-ttl": "900"}).status_code == 201
    face.call("DELETE", f"{container}/b/2")

    def pages(**query: str) -> list[list[str]]:
        found: list[list[str]] = []
        while True:
            page = face.call("GET", container, params=query).json()
            found.append([entry["blobName"] for entry in page["entries"]])
            if "nextPageToken" not in page:
                return found
            query["page"] = page["nextPageToken"]

    assert pages() == [["a", "a/1", "a/2", "b/1", "b/3", "c"]]
    assert pages(maxKey="3") == [["a", "a/1", "a/2"], ["b/1", "b/3"], ["c"]]
    assert pages(maxKey="1", prefix="b/") == [["b/1"], [], ["b/3"]]
    assert pages(prefix="z") == [[]]
    entry = face.call("GET", container).json()["entries"][1]
    assert entry["blobSize"] == 3
    assert entry["expirationTimeMs"] - entry["modifiedTimeMs"] == pytest.approx(900_000, abs=60_000)
    for wrong in ("0", "1001", "x"):
        assert face.call("GET", container, params={"maxKey": wrong}).status_code == 400
    assert face.call("GET", f"{container}none").json() == {"entries": []}


def test_a_damaged_blob_hides_no_neighbour(face: "Face", container: str) -> None:
    put(face, f"{container}/a")
    blob_id = put(face, f"{container}/b").headers["Location"].removeprefix("/")
    fs.write_bytes(face.store.places.loose(blob_id), b"rubbish", overwrite=True)
    first, second = face.call("GET", container).json()["entries"]
    assert (first["blobName"], second) == ("a", {"blobName": "b"})
    assert face.call("GET", f"{container}/b").status_code == 500
    fs.delete(face.store.places.loose(blob_id))


def chunk(face: "Face", data: Any, session: str, **headers: str) -> str:
    said = {**PUT, "x-ambry-chunk-upload": "true", "x-ambry-session": session, **headers}
    answer = face.call("POST", "/", data=data, headers=said)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def test_chunks_become_one_blob_in_the_order_that_is_said(face: "Face", container: str) -> None:
    parts = [secrets.token_bytes(size) for size in (300_000, 1, 500_000)]
    ids = [chunk(face, part, "s") for part in parts]
    assert all(each.startswith("/signedId/") for each in ids)
    order = [ids[2], ids[0], ids[1], ids[0]]
    made = face.call("POST", "/stitch", json={"signedChunkIds": order}, headers=PUT)
    assert (made.status_code, made.headers["x-ambry-blob-size"]) == (201, "1100001")
    whole = parts[2] + parts[0] + parts[1] + parts[0]
    assert face.call("GET", made.headers["Location"]).content == whole
    for start, stop in ((499_999, 500_001), (700_000, 1_100_001), (799_999, 800_002)):  # across where they meet
        answer = face.call("GET", made.headers["Location"], headers={"Range": f"bytes={start}-{stop - 1}"})
        assert (answer.status_code, answer.content) == (206, whole[start:stop])
    past = face.call("GET", made.headers["Location"], headers={"Range": "bytes=1100001-"})
    assert (past.status_code, past.headers["Content-Range"]) == (416, "bytes */1100001")
    assert "x-ambry-ttl" not in face.call("HEAD", made.headers["Location"]).headers
    stitch = {"x-ambry-upload-named-blob-mode": "STITCH"}
    ids = [chunk(face, part, "t", **{"x-ambry-target-account-name": "ml", **_container(container)}) for part in parts]
    assert face.call("PUT", f"{container}/n", json={"signedChunkIds": ids}, headers=PUT | stitch).status_code == 201
    assert face.call("GET", f"{container}/n").content == b"".join(parts)
    assert face.call("GET", f"{container}/n", headers={"Range": "bytes=-500001"}).content == parts[1] + parts[2]
    assert face.call("GET", f"{container}/n", headers={"Range": "bytes=800001-"}).status_code == 416


def _container(address: str) -> dict[str, str]:
    return {"x-ambry-target-container-name": address.rsplit("/", 1)[-1]}


def test_what_is_no_chunk_of_this_upload_is_refused(face: "Face") -> None:
    account = {"x-ambry-target-account-name": "ml", "x-ambry-target-container-name": "c"}
    good, other, foreign = chunk(face, b"1", "s"), chunk(face, b"2", "other"), chunk(face, b"3", "s", **account)
    said, _, signed = good.partition(".")
    tampered = [f"{said[:-3]}AAA.{signed}", f"{said}.{signed[:-1]}{'0' if signed[-1] != '0' else '1'}", said, "/", "ü"]
    plain = face.put(b"x")
    before = set(face.store.ids())
    for ids in ([good, other], [good, foreign], [plain], [], *([good, each] for each in tampered)):
        answer = face.call("POST", "/stitch", json={"signedChunkIds": ids}, headers=PUT)
        assert (answer.status_code, "signedChunkIds" in answer.text or "signedId" in answer.text) == (400, True)
    for body in (b"", b"[]", b"{", b'{"signedChunkIds": "x"}'):
        assert face.call("POST", "/stitch", data=body, headers=PUT).status_code == 400
    assert set(face.store.ids()) == before
    no_session = face.call("POST", "/", data=b"1", headers={**PUT, "x-ambry-chunk-upload": "true"})
    assert "x-ambry-session" in no_session.headers["x-ambry-failure-reason"]


def test_a_chunk_lives_for_a_short_time(face: "Face") -> None:
    before = set(face.store.ids())
    gone = chunk(face, b"1", "s")
    (blob_id,) = set(face.store.ids()) - before
    assert face.call("HEAD", f"/{blob_id}").headers["x-ambry-ttl"] == "86400"
    face.store.delete(blob_id)
    answer = face.call("POST", "/stitch", json={"signedChunkIds": [gone]}, headers=PUT)
    assert (answer.status_code, "not there any more" in answer.text) == (400, True)
