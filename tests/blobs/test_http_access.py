"""Who may do what over HTTP: tokens, public containers, signed URLs; what the logs do not have."""

import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests

from yarnmill.blobs import Attributes
from yarnmill.blobs.http.refusals import UnauthorizedError
from yarnmill.blobs.http.signing import EXPIRY, signed_url, verify_url
from yarnmill.blobs.http.tokens import (
    RIGHTS,
    add_token,
    find_key_id,
    find_token,
    fresh_rules,
    key_id_of,
    load_rules,
)
from yarnmill.cli.main import run, yarnmill
from yarnmill.errors import ConfigurationError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from conftest import Face, Start

PUT = {"x-ambry-service-id": "tests", "x-ambry-content-type": "text/plain"}
OF_ML = {"x-ambry-target-account-name": "ml", "x-ambry-target-container-name": "c"}

programs = pytest.mark.programs


@pytest.fixture(scope="module", params=["file"])
def face(face: "Face") -> "Face":
    """Return a server on local files: what is judged before the store is asked is the same on each."""
    return face


def statuses(face: "Face", token: str, path: str, name: str) -> dict[str, int]:
    """Return what each kind of request on a private blob and name of the account ``ml`` is answered."""
    blob = {"x-ambry-blob-id": path, "x-ambry-service-id": "tests"}
    calls = {
        "get": ("GET", path, {}),
        "info": ("GET", f"{path}/BlobInfo", {}),
        "user": ("GET", f"{path}/UserMetadata", {}),
        "get named": ("GET", name, {}),
        "get by id of name": ("GET", named_id(face, name), {}),
        "list": ("GET", name.rsplit("/", 1)[0], {}),
        "sign get": ("GET", "/signedUrl", {"x-ambry-url-type": "GET", "x-ambry-blob-id": path}),
        "post": ("POST", "/", {**PUT, **OF_ML}),
        "put named": ("PUT", f"{name}-{time.time_ns()}", PUT),
        "stitch": ("POST", "/stitch", {**PUT, **OF_ML}),
        "ttl": ("PUT", "/updateTtl", blob),
        "sign post": ("GET", "/signedUrl", {"x-ambry-url-type": "POST", **OF_ML}),
        "delete": ("DELETE", path, {}),
        "undelete": ("PUT", "/undelete", blob),
        "delete named": ("DELETE", name, {}),
    }
    return {
        what: face.call(method, where, token=token, headers=headers).status_code
        for what, (method, where, headers) in calls.items()
    }


def named_id(face: "Face", name: str) -> str:
    return "/" + face.store.names("ml", "c", name.removeprefix("/named/ml/c/"))[0].id


@pytest.fixture
def blob(face: "Face") -> tuple[str, str]:
    """Return the paths of a private blob and of a named one, both of the account ``ml``."""
    name = f"/named/ml/c/{time.time_ns()}"
    assert face.call("PUT", name, data=b"n", headers=PUT).status_code == 201
    return face.put(b"private", target_account_name="ml", target_container_name="c"), name


READS = {"get", "info", "user", "get named", "get by id of name", "list", "sign get"}
DELETES = {"delete", "undelete", "delete named"}


@programs
def test_without_a_token_nothing_private_is_done(face: "Face", blob: tuple[str, str]) -> None:
    for token in ("", "wrong", face.token[:-1], face.token + "x"):
        assert set(statuses(face, token, *blob).values()) == {401}
    for given in ("Basic eDp5", f"bearer{face.token}", "Bearer", "Bearer \xff"):
        answer = face.call("GET", blob[0], token="", headers={"Authorization": given})
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


@programs
def test_a_token_is_good_for_what_it_may_on_its_accounts(face: "Face", blob: tuple[str, str]) -> None:
    assert set(statuses(face, face.new_token(accounts=("other",)), *blob).values()) == {403}
    reader = statuses(face, face.new_token("read", accounts=("ml", "x")), *blob)
    assert {what for what, status in reader.items() if status == 200} == READS
    assert {status for what, status in reader.items() if what not in READS} == {403}
    writer = statuses(face, face.new_token("write"), *blob)
    assert {what for what, status in writer.items() if status == 403} == READS | DELETES
    everything = statuses(face, face.token, *blob)
    assert everything == {**dict.fromkeys(READS, 200), "post": 201, "put named": 201, "stitch": 400, "ttl": 200} | {
        "sign post": 200, "delete": 202, "undelete": 200, "delete named": 202
    }  # fmt: skip


@programs
def test_a_token_of_an_account_gets_no_blob_of_none(face: "Face") -> None:
    token = face.new_token(accounts=("ml",))
    plain = face.put(b"of no account")
    assert face.call("GET", plain, token=token).status_code == 403
    assert face.call("DELETE", plain, token=token).status_code == 403
    assert face.call("POST", "/", data=b"x", token=token, headers=PUT).status_code == 403


@programs
def test_a_blob_that_was_not_put_as_private_is_everybodys_to_read(face: "Face") -> None:
    path = face.call("POST", "/", data=b"public", headers=PUT).headers["Location"]
    answer = face.call("GET", path, token="")
    assert (answer.content, answer.headers["Cache-Control"]) == (b"public", "public, no-cache")
    assert face.call("DELETE", path, token="").status_code == 401
    assert face.call("GET", face.put(b"x")).headers["Cache-Control"] == "private, no-store"


@programs
def test_what_came_in_another_way_is_private(face: "Face", tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"bundle")
    for attributes in (None, Attributes()):
        with (tmp_path / "x").open("rb") as stream:
            path = f"/{face.store.put(stream, attributes).id}"
        assert face.call("GET", path, token="").status_code == 401
        assert face.call("GET", path).content == b"bundle"
    # Who may not read must not learn either which contents are there.
    unknown = hashlib.sha256(b"nobody put this").hexdigest()
    assert face.call("GET", f"/{unknown}", token="").status_code == 401
    assert face.call("GET", "/named/ml/c/none", token="").status_code == 401


@programs
def test_rules_change_while_the_server_runs(face: "Face") -> None:
    name = "/named/ml/open/n"
    assert face.call("PUT", name, data=b"n", headers=PUT).status_code == 201
    assert face.call("GET", name, token="").status_code == 401
    face.change_rules(public=("ml/open",))
    assert face.call("GET", name, token="").content == b"n"
    assert face.call("GET", named_id_of(face, "open"), token="").content == b"n"
    assert face.call("GET", "/named/ml/open", token="").json()["entries"][0]["blobName"] == "n"
    assert face.call("PUT", "/named/ml/open/m", data=b"n", token="", headers=PUT).status_code == 401
    private = face.call("PUT", "/named/ml/open/m", data=b"n", headers=PUT | {"x-ambry-private": "true"})
    assert (private.status_code, "is public" in private.text) == (400, True)
    token = face.new_token()
    assert face.call("DELETE", name, token=token).status_code == 202
    face.change_rules(public=(), tokens=load_rules(face.tokens).tokens[:-1])
    assert face.call("GET", name, token=token).status_code == 401


def named_id_of(face: "Face", container: str) -> str:
    return "/" + face.store.names("ml", container)[0].id


def sign(face: "Face", kind: str, **headers: str) -> str:
    said = {f"x-ambry-{name.replace('_', '-')}": value for name, value in headers.items()}
    answer = face.call("GET", "/signedUrl", headers={"x-ambry-url-type": kind, **said})
    assert answer.status_code == 200, answer.text
    return answer.headers["x-ambry-signed-url"]


def changed(url: str, **parameters: str) -> str:
    query = dict(parse_qsl(urlsplit(url).query))
    return f"{url.partition('?')[0]}?{urlencode(query | parameters)}"


@programs
def test_a_signed_url_reads_one_blob_for_a_while(face: "Face") -> None:
    path, other = face.put(b"private"), face.put(b"other")
    url = sign(face, "GET", blob_id=path)
    assert requests.get(url, timeout=10).content == b"private"
    assert requests.get(url, headers={"Range": "bytes=1-2"}, timeout=10).content == b"ri"
    assert requests.head(url, timeout=10).headers["Content-Length"] == "7"
    later = str(int(time.time()) + 9999)
    for wrong in (
        changed(url, et=later),
        url.replace(path, other),
        changed(url, **{"x-ambry-signature": "0" * 64}),
        changed(url, **{"x-ambry-signature": "ü"}),
        changed(url, more="x"),
        url + "&et=" + later,
    ):
        assert requests.get(wrong, timeout=10).status_code == 401
    assert requests.delete(url, timeout=10).status_code == 401
    short = sign(face, "GET", blob_id=path, url_ttl_secs="1")
    time.sleep(1.1)
    assert requests.get(short, timeout=10).status_code == 401
    far = dict(parse_qsl(urlsplit(sign(face, "GET", blob_id=path, url_ttl_secs="99999999")).query))["et"]
    assert int(far) <= time.time() + 86_400
    assert face.call("DELETE", path).status_code == 202
    assert requests.get(url, timeout=10).status_code == 410


@programs
def test_a_signed_url_puts_what_its_signer_allowed(face: "Face") -> None:
    url = sign(
        face, "POST", service_id="s", content_type="text/plain", private="true", max_upload_size="5", ttl="900",
        target_account_name="ml", target_container_name="c",
    )  # fmt: skip
    beside = {"x-ambry-target-account-name": "x", "x-ambry-private": "false", "x-ambry-ttl": "-1", "x-ambry-um-a": "b"}
    made = requests.post(url, data=b"12345", headers=beside, timeout=10)
    assert made.status_code == 201
    told = face.call("HEAD", made.headers["Location"]).headers
    assert told["x-ambry-target-account-name"] == "ml"
    assert (told["x-ambry-private"], told["x-ambry-ttl"], told["x-ambry-um-a"]) == ("true", "900", "b")
    assert requests.post(url, data=b"123456", timeout=10).status_code == 413
    assert requests.post(url, data=iter([b"123", b"456"]), timeout=10).status_code == 413
    wider = changed(url, **{"x-ambry-max-upload-size": "9"})
    assert requests.post(wider, data=b"123456", timeout=10).status_code == 401
    assert requests.post(url.replace("/?", "/stitch?"), data=b"{}", timeout=10).status_code == 401


@programs
def test_chunks_are_put_by_signed_urls(face: "Face") -> None:
    url = sign(face, "POST", service_id="s", content_type="a/b", chunk_upload="true", ttl="100")
    ids = [requests.post(url, data=part, timeout=10).headers["Location"] for part in (b"1", b"2")]
    made = face.call("POST", "/stitch", json={"signedChunkIds": ids}, headers=PUT)
    assert face.call("GET", made.headers["Location"]).content == b"12"


@pytest.mark.parametrize("kind", ["PUT", "get", ""])
@programs
def test_other_methods_are_not_signed(face: "Face", kind: str) -> None:
    answer = face.call("GET", "/signedUrl", headers={"x-ambry-url-type": kind, "x-ambry-blob-id": face.put(b"x")})
    assert answer.status_code == 400


def test_a_signature_holds_for_what_was_signed_until_it_expires() -> None:
    key = fresh_rules().signing_key
    url = signed_url(key, "POST", "http://h/", "/", [(EXPIRY, "100"), ("x-ambry-um-a", "b&c=ü")])
    pairs = parse_qsl(urlsplit(url).query)
    assert verify_url(key, "POST", "/", reversed(pairs), 99) == {"x-ambry-um-a": "b&c=ü"}
    for wrong in ((key, "GET", "/", 99), (key, "POST", "/a", 99), (key, "POST", "/", 100)):
        with pytest.raises(UnauthorizedError):
            verify_url(*wrong[:3], pairs, wrong[3])
    with pytest.raises(UnauthorizedError):
        verify_url(fresh_rules().signing_key, "POST", "/", pairs, 99)


@programs
def test_no_token_is_in_a_log(start_face: "Start") -> None:
    with start_face() as face:
        path = face.put(b"x")
        url = sign(face, "GET", blob_id=path)
        requests.get(url, timeout=10)
        face.call("GET", path, token="not-a-token")  # noqa: S106
        face.call("GET", path, token="", headers={"Authorization": f"Basic {face.token}"})
        assert face.process.poll() is None
    log = face.log.read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert {line["status"] for line in lines} == {200, 201, 401}
    assert face.token not in log
    assert "not-a-token" not in log
    assert url.rpartition("=")[2] not in log
    assert face.token not in face.tokens.read_text()


@programs
def test_an_open_server_says_so_and_lets_everybody(start_face: "Start", tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with start_face("--pid-file", str(pid_file), "--workers", "2", is_open=True) as face:
        assert int(pid_file.read_text()) == face.process.pid
        path = face.call("POST", "/", token="", data=b"x", headers=PUT | {"x-ambry-private": "true"}).headers[
            "Location"
        ]
        assert face.call("GET", path, token="").content == b"x"
        url = face.call("GET", "/signedUrl", token="", headers={"x-ambry-url-type": "GET", "x-ambry-blob-id": path})
        for _ in range(10):  # each worker has the same key
            assert requests.get(url.headers["x-ambry-signed-url"], timeout=10).content == b"x"
        assert face.call("DELETE", path, token="").status_code == 202
    assert "reads, writes and deletes every blob" in face.log.read_text()
    assert face.process.returncode == 0
    assert not pid_file.exists()


def test_a_tokens_file_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    first = add_token(path, "first", may=("read",), accounts=("ml",))
    assert path.stat().st_mode & 0o777 == 0o600
    second = add_token(path, "second", may=RIGHTS, accounts=())
    assert first != second
    rules = load_rules(path)
    assert [token.sha256 for token in rules.tokens] == [hashlib.sha256(t.encode()).hexdigest() for t in (first, second)]
    with pytest.raises(ConflictError, match="first"):
        add_token(path, "first", may=RIGHTS, accounts=())
    assert load_rules(path) == rules
    assert [each.name for each in tmp_path.iterdir()] == ["tokens.yaml"]
    path.with_name("tokens.yaml.new").touch()
    with pytest.raises(ConflictError, match="somebody is changing"):
        add_token(path, "third", may=RIGHTS, accounts=())
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="everybody can read"):
        load_rules(path)
    path.chmod(0o600)
    path.write_text("signing_key: short\n")
    with pytest.raises(ConfigurationError, match="no key"):
        load_rules(path)
    path.write_text(f"signing_key: {'a' * 64}\ntokens: [{{name: a, sha256: b, may: [fly]}}]\n")
    with pytest.raises(ConfigurationError, match=r"tokens.*may"):
        load_rules(path)
    with pytest.raises(NotFoundError):
        load_rules(tmp_path / "none")


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ([], 2),
        (["--open", "--tokens", "TOKENS"], 2),
        (["--tokens", "none.yaml"], 3),
        (["--host", "no.such.invalid", "--open"], 2),
        (["--root", "ftp://h/x", "--open"], 2),
    ],
)
def test_a_server_that_cannot_be_meant_does_not_start(options: list[str], status: int, tmp_path: Path) -> None:
    add_token(tmp_path / "t.yaml", "a", may=RIGHTS, accounts=())
    words = [str(tmp_path / "t.yaml") if word == "TOKENS" else word for word in options]
    assert run(yarnmill, ["blobs", "serve", "--port", "0", "--root", f"file://{tmp_path}/s", *words]) == status


def test_a_token_is_made_by_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "t.yaml")
    assert (
        run(yarnmill, ["blobs", "token", "new", "--tokens", path, "ci", "--account", "ml", "--may", "write,read"]) == 0
    )
    secret = capsys.readouterr().out.strip()
    (token,) = load_rules(Path(path)).tokens
    assert (token.name, token.may, token.accounts) == ("ci", ("read", "write"), ("ml",))
    assert token.sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert run(yarnmill, ["blobs", "token", "new", "--tokens", path, "ci"]) == 4
    assert run(yarnmill, ["blobs", "token", "new", "--tokens", path, "x", "--may", "read,fly"]) == 2


@programs
def test_a_token_is_taken_back_by_a_command_while_the_server_runs(
    face: "Face", capsys: pytest.CaptureFixture[str]
) -> None:
    path, tokens = face.put(b"x"), str(face.tokens)
    new = ["blobs", "token", "new", "--tokens", tokens, "passing", "--may", "read", "--ttl", "1 d"]
    assert run(yarnmill, [*new, "--output", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    token = made.pop("token")
    assert made == {"name": "passing"}
    assert face.call("GET", path, token=token).content == b"x"
    assert run(yarnmill, ["blobs", "token", "ls", "--tokens", tokens, "--output", "json"]) == 0
    listed = capsys.readouterr().out
    (found,) = (each for each in json.loads(listed) if each["name"] == "passing")
    assert (found["may"], found["accounts"]) == (["read"], [])
    assert found["expires_at_ms"] - found["created_at_ms"] == pytest.approx(86_400_000, abs=60_000)
    assert hashlib.sha256(token.encode()).hexdigest().startswith(found["id"].lower())
    for secret in (token, hashlib.sha256(token.encode()).hexdigest(), load_rules(face.tokens).signing_key):
        assert secret not in listed
    assert run(yarnmill, ["blobs", "token", "ls", "--tokens", tokens]) == 0
    assert "passing" in capsys.readouterr().out
    assert run(yarnmill, ["blobs", "token", "rm", "--tokens", tokens, "passing", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "passing", "removed": True}
    assert face.call("GET", path, token=token).status_code == 401
    assert face.call("GET", path).content == b"x"
    assert run(yarnmill, ["blobs", "token", "rm", "--tokens", tokens, "passing"]) == 3


def test_a_token_that_has_expired_is_nobodys(tmp_path: Path) -> None:
    path, now = tmp_path / "t.yaml", time.time_ns() // 1_000_000
    past, future = (
        add_token(path, str(end), may=RIGHTS, accounts=(), expires_at_ms=end) for end in (now - 1, now + 3_600_000)
    )
    rules = load_rules(path)
    assert find_token(rules, past) is None
    assert find_token(rules, future) == rules.tokens[1]
    assert [find_key_id(rules, key_id_of(token)) for token in rules.tokens] == [None, rules.tokens[1]]
