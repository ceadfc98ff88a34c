"""Who may see and do what: sessions that end with their token, roles, projects, and forms of no other site."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from registered import bundle

from serving.console.guard import COOKIE
from serving.console.sessions import Sessions, session_key
from serving.control.tokens import RoleToken, RoleTokens, remove_role_token
from serving.refusals import ForbiddenError
from yarnmill.errors import ConfigurationError
from yarnmill.registry import Candidate

if TYPE_CHECKING:
    from conftest import Desk, Open, Platform

FILM = Candidate(
    model="film", bundle_id="f" * 64, blobs_url="file:///none", flavour="onnx", run_id="film", project="films"
)
DEPLOY = "/models/rater/versions/2/deploy"
RULE = "/models/rater/endpoints/production/rule"


def entry(name: str, letter: str = "a") -> RoleToken:
    return RoleToken(name=name, sha256=letter * 64, role="reader")


def test_a_session_is_of_one_entry_of_the_file() -> None:
    sessions, ana = Sessions(b"k" * 32, 3600), entry("ana")
    cookie = sessions.cookie_of(ana)
    assert sessions.token_of(cookie, RoleTokens(tokens=(entry("bob"), ana))) == ana
    assert sessions.token_of(cookie, RoleTokens(tokens=(entry("ana", "b"),))) is None  # another one of the same name
    assert sessions.token_of(cookie, RoleTokens()) is None
    expired = RoleToken(name="ana", sha256="a" * 64, role="reader", expires_at_ms=1)
    assert sessions.token_of(cookie, RoleTokens(tokens=(expired,))) is None


@pytest.mark.parametrize("cookie", [None, "", "x", "a.b.c", "\xff"])
def test_what_was_not_signed_here_is_nobody(cookie: str | None) -> None:
    sessions, tokens = Sessions(b"k" * 32, 3600), RoleTokens(tokens=(entry("ana"),))
    assert sessions.token_of(cookie, tokens) is None
    assert sessions.token_of(Sessions(b"o" * 32, 3600).cookie_of(entry("ana")), tokens) is None
    assert sessions.token_of(sessions.form_key(entry("ana")), tokens) is None  # which stands in every page


def test_a_session_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions, ana = Sessions(b"k" * 32, 60), entry("ana")
    cookie, form = sessions.cookie_of(ana), sessions.form_key(ana)
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    assert sessions.token_of(cookie, RoleTokens(tokens=(ana,))) is None
    with pytest.raises(ForbiddenError):
        sessions.check_form(form, ana)


def test_a_form_is_of_whoever_opened_it() -> None:
    sessions, ana = Sessions(b"k" * 32, 3600), entry("ana")
    sessions.check_form(sessions.form_key(ana), ana)
    sessions.check_form(sessions.form_key(None), None)
    for key, token in ((sessions.form_key(None), ana), (sessions.form_key(entry("bob")), ana), (None, None)):
        with pytest.raises(ForbiddenError, match="of no page"):
            sessions.check_form(key, token)


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "console.key"
    key = session_key(path)
    assert len(key) == 32
    assert session_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["console.key"]
    path.chmod(0o604)
    with pytest.raises(ConfigurationError, match="everybody can read it"):
        session_key(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(ConfigurationError, match="5 bytes"):
        session_key(path)
    with pytest.raises(ConfigurationError, match="Not a directory"):
        session_key(path / "below" / "key")


def test_without_a_session_there_is_the_way_in_and_nothing_else(guarded: "Desk") -> None:
    response = guarded.client.get("/console/models/rater?skip=0")
    assert response.status_code == 303
    assert response.location == "/console/sign-in?next=/console/models/rater?skip%3D0"
    assert guarded.client.post(f"/console{RULE}").status_code == 303
    part = guarded.client.get("/console/", headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["HX-Refresh"], part.text) == (401, "true", "")
    sheet = guarded.client.get("/console/static/console.css")
    assert (sheet.status_code, sheet.mimetype) == (200, "text/css")
    again = guarded.client.get("/console/static/console.css", headers={"If-None-Match": sheet.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    for name in ("..", "%2e%2e%2fpages.py", "none.css"):
        assert guarded.client.get(f"/console/static/{name}").status_code in {303, 404}
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_who_signs_in_comes_back_to_where_they_were_going(guarded: "Desk") -> None:
    secret = guarded.new("reader", name="ana")
    fields = {"token": f" {secret} ", "next": "/console/audit?subject=rater"}
    response = guarded.post("/sign-in", fields)
    assert response.location == "/console/audit?subject=rater"
    cookie = response.headers["Set-Cookie"]
    for part in ("HttpOnly", "SameSite=Strict", "Path=/console/"):
        assert part in cookie
    assert "Secure" not in cookie
    assert secret not in cookie
    assert 'ana <span class="dim">reader' in guarded.get("/")
    again = guarded.client.post("/console/sign-in", data=fields, headers={"Origin": "https://localhost"})
    assert "Secure" in again.headers["Set-Cookie"]


@pytest.mark.parametrize(
    "goes_to",
    [
        "https://evil.example/console/",
        "//evil.example/console/",
        "/\\evil.example",
        "/metrics",
        "",
        "x",
        "/console/\r\nX-Own: 1",
    ],
)
def test_nobody_is_sent_elsewhere(guarded: "Desk", goes_to: str) -> None:
    response = guarded.post("/sign-in", {"token": guarded.new("reader", name="ana"), "next": goes_to})
    assert response.location == "/console/"


def test_a_wrong_token_is_told_and_counted(guarded: "Desk") -> None:
    response = guarded.sign_in("not-a-token", status=401)
    assert "not known" in response.text
    assert "not-a-token" not in response.text
    assert "Set-Cookie" not in response.headers
    assert b'yarnmill_control_refused_total{reason="unknown token"} 1.0' in guarded.console.metrics.render()


def test_the_session_ends_with_its_token_and_by_signing_out(guarded: "Desk") -> None:
    guarded.sign_in(guarded.new("reader", name="ana"))
    guarded.get("/")
    remove_role_token(guarded.tokens, "ana")
    guarded.get("/", status=303)
    guarded.sign_in(guarded.new("reader", name="ana"))
    guarded.get("/")
    guarded.post("/sign-out", {})
    guarded.get("/", status=303)
    assert guarded.client.get_cookie(COOKIE, path="/console/") is None


def test_a_reader_has_no_buttons_and_no_say(guarded: "Desk") -> None:
    secret = guarded.new("reader", name="ana")
    guarded.sign_in(secret)
    pages = [guarded.get(f"/models/rater{path}") for path in ("", "/versions/2", "/endpoints/production")]
    for page in pages:
        assert "/deploy?" not in page
        assert "Save shares" not in page
        assert "Roll back" not in page
    before = guarded.registry.audit()
    key = guarded.console.sessions.form_key(next(one for one in _tokens(guarded) if one.name == "ana"))
    for path in (DEPLOY, RULE, "/models/rater/endpoints/production/stop", "/models/rater/versions/2/undeploy"):
        refused = guarded.post(path, {"form_key": key, "revision": "1", "share-2": "100"}, status=403)
        assert "one with the role deployer" in refused.text
    assert guarded.registry.audit() == before


def test_a_project_s_token_sees_its_project_alone(guarded: "Desk") -> None:
    guarded.registry.versions.register(FILM)
    guarded.sign_in(guarded.new("deployer", "films", name="ci"))
    assert "rater" not in "".join(guarded.get(path) for path in ("/", "/projects", "/drift", "/deployments", "/audit"))
    assert "film" in guarded.get("/")
    assert "films" in guarded.get("/projects")
    assert "create project" in guarded.get("/audit")
    guarded.get("/models/film")
    guarded.get("/projects/films")
    for path in ("/models/rater", "/projects/default", "/models/rater/drift", "/experiments/rater", DEPLOY):
        assert "is for other projects" in guarded.get(path, status=403)


def test_a_change_is_the_token_s_in_the_audit(guarded: "Desk") -> None:
    guarded.sign_in(guarded.new("deployer", name="ci"))
    fields = {**guarded.fields(guarded.get("/models/rater/endpoints/production")), "share-2": "100"}
    guarded.post(RULE, fields)
    assert guarded.registry.audit("rater")[-1].actor == "ci"


@pytest.mark.parametrize("key", [None, "", "wrong"])
def test_a_form_that_no_page_gave_is_refused(desk: "Desk", key: str | None) -> None:
    fields = {"revision": "1", "share-2": "100"} | ({} if key is None else {"form_key": key})
    assert "of no page of this session" in desk.post(RULE, fields, status=403).text
    assert str(desk.registry.endpoints.get("rater").rule) == "1: 100 %"


def test_another_site_s_page_is_refused(desk: "Desk") -> None:
    fields = {**desk.fields(desk.get("/models/rater/endpoints/production")), "share-2": "100"}
    for origin in ("http://evil.example", "null"):
        response = desk.client.post(f"/console{RULE}", data=fields, headers={"Origin": origin})
        assert response.status_code == 403
    assert desk.client.post(f"/console{RULE}", data=fields, headers={"Origin": "http://localhost"}).status_code == 303


def test_an_open_tier_is_asked_by_a_name_of_loopback(desk: "Desk", open_desk: "Open") -> None:
    for path in ("/console/", "/merlin/v1/projects"):
        for host in ("evil.example", "evil.example:8500", "10.0.0.1", "[::2]:80", "localhost.evil.example"):
            assert desk.client.get(path, headers={"Host": host}).status_code == 403
        for host in ("localhost:8500", "127.0.0.1", "[::1]:8500", "127.8.0.1:1"):
            assert desk.client.get(path, headers={"Host": host}).status_code == 200
    guarded = open_desk(guarded=True)
    assert guarded.client.get("/console/", headers={"Host": "ml.example.com"}).status_code == 303


def test_replicas_with_the_same_key_know_each_other_s_sessions(platform: "Platform", open_desk: "Open") -> None:
    platform.registry.versions.register(bundle(FILM, 1))
    one, other = open_desk(guarded=True), open_desk(guarded=True)
    one.sign_in(one.new("reader", name="ana"))
    cookie = one.client.get_cookie(COOKIE, path="/console/")
    assert cookie is not None
    other.client.set_cookie(COOKIE, cookie.value, path="/console/")
    assert "ana" in other.get("/")
    stranger = open_desk(guarded=True, key=b"s" * 32)
    stranger.client.set_cookie(COOKIE, cookie.value, path="/console/")
    stranger.get("/", status=303)


def _tokens(desk: "Desk") -> tuple[RoleToken, ...]:
    tokens = desk.console.access.tokens
    assert tokens is not None
    return tokens.tokens
