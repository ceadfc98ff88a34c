"""Tokens of the control API: who may do what, in which projects, what a refusal says, and what nobody is told."""

import logging
import time
from typing import TYPE_CHECKING

import pytest
from waiting import eventually

from serving.control.tokens import ROLES, Role, add_role_token, load_role_tokens, remove_role_token
from yarnmill.errors import ConfigurationError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Guarded

READS = (
    "/environments",
    "/projects",
    "/projects/1",
    "/projects/1/models",
    "/projects/1/models/1",
    "/projects/1/model_endpoints",
    "/models/1/versions",
    "/models/1/versions/1",
    "/models/1/versions/1/endpoint",
    "/models/1/endpoints",
)
RULE = {"rule": {"destinations": [{"version_endpoint_id": "1", "weight": 100}]}}
OTHER_RULE = {"rule": {"destinations": [{"version_endpoint_id": "2", "weight": 100}]}}
CHANGES = (  # in this order each of them is possible
    ("POST", "/models/1/versions/1/endpoint", {}, 201),
    ("PUT", "/models/1/versions/1/endpoint/1", {}, 200),
    ("POST", "/models/1/endpoints", RULE, 201),
    ("PUT", "/models/1/endpoints/1", RULE, 200),
    ("DELETE", "/models/1/endpoints/1", None, 200),
    ("DELETE", "/models/1/versions/1/endpoint/1", None, 200),
    ("POST", "/models/1/versions", {}, 501),
)
OF_ADMINISTRATORS = (
    ("POST", "/projects", {"name": "games", "team": "play"}, 201),
    ("PUT", "/projects/1", {"team": "rank", "labels": [{"key": "tier", "value": "1"}]}, 200),
)


def allowed(guarded: "Guarded", token: str) -> dict[str, list[int]]:
    """Return what each kind of request is answered."""

    def send(method: str, path: str, body: object) -> int:
        status = guarded.ask(method, path, token, body).status_code
        if status < 300 and method in {"POST", "PUT"} and path.startswith("/models/1/versions"):
            guarded.merlin.client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
            guarded.merlin.wait(1, "1")
            del guarded.merlin.client.environ_base["HTTP_AUTHORIZATION"]
        return status

    return {
        "read": [send("GET", path, None) for path in READS],
        "change": [send(method, path, body) for method, path, body, _ in CHANGES],
        "administer": [send(method, path, body) for method, path, body, _ in OF_ADMINISTRATORS],
    }


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_what_those_before_it_may(guarded: "Guarded", role: Role) -> None:
    may = allowed(guarded, guarded.new(role))
    assert may["read"] == [200] * len(READS)
    assert may["change"] == [403 if role == "reader" else status for *_, status in CHANGES]
    assert may["administer"] == [status if role == "administrator" else 403 for *_, status in OF_ADMINISTRATORS]


def test_without_a_token_nothing_is_done(guarded: "Guarded") -> None:
    token = guarded.new("administrator")
    before = guarded.registry.audit()
    for method, path, body in [
        *(("GET", path, None) for path in READS),
        *((method, path, body) for method, path, body, _ in (*CHANGES, *OF_ADMINISTRATORS)),
    ]:
        answer = guarded.ask(method, path, None, body)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="yarnmill"')
        assert answer.json is not None
        assert "yarnmill serving token new" in answer.json["error"]
    for given in ("Basic eDp5", f"Basic {token}", f"bearer{token}", "Bearer", "Bearer ", token):
        answer = guarded.client.get("/merlin/v1/projects", headers={"Authorization": given})
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="yarnmill"')
    assert guarded.registry.audit() == before
    assert guarded.client.get("/v1/models").status_code == 200
    assert guarded.client.get("/merlin/v1/none").status_code == 404


def test_a_token_that_is_nobodys_is_told_so_and_counted(guarded: "Guarded") -> None:
    token = guarded.new("reader")
    expired = add_role_token(guarded.tokens, "old", "reader", ("*",), expires_at_ms=time.time_ns() // 1_000_000 - 1)
    for wrong in ("x", token[:-1], f"{token}x", token.upper(), "\xfc", expired):
        answer = guarded.ask("GET", "/projects", wrong)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="yarnmill", error="invalid_token"'
        assert wrong == "x" or wrong not in answer.text
    guarded.ask("GET", "/projects", None)
    guarded.ask("POST", "/projects", token, {"name": "a"})
    guarded.ask("GET", "/projects/1", guarded.new("reader", "films"))
    assert guarded.refusals() == {"unknown token": 6, "no token": 1, "role": 1, "project": 1}


def test_a_refusal_names_the_role_that_is_needed(guarded: "Guarded") -> None:
    answer = guarded.ask("DELETE", "/models/1/endpoints/1", guarded.new("reader", name="ana"))
    assert answer.status_code == 403
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="yarnmill", error="insufficient_scope"'
    assert answer.json == {
        "error": "the token 'ana' has the role reader; expected one with the role deployer; "
        "to mend it: yarnmill serving token new NAME --role deployer"
    }
    assert "role administrator" in guarded.ask("POST", "/projects", guarded.new("deployer"), {"name": "a"}).text


def test_a_token_is_good_in_its_projects_alone(guarded: "Guarded") -> None:
    film = guarded.merlin.model_id("film")
    token = guarded.new("administrator", "films", "games", name="ana")
    for method, path, body in [
        ("GET", "/projects/1", None),
        ("GET", "/projects/1/models", None),
        ("GET", f"/projects/1/models/{film}", None),
        ("GET", "/projects/2/models/1", None),
        ("GET", "/models/1/versions", None),
        ("GET", "/models/1/alerts", None),
        ("POST", "/models/1/versions/1/endpoint", {}),
        ("POST", "/models/1/endpoints", RULE),
        ("PUT", "/projects/1", {"team": "mine"}),
        ("POST", "/projects", {"name": "other"}),
    ]:
        answer = guarded.ask(method, path, token, body)
        assert answer.status_code == 403, path
        assert "the token 'ana' is for other projects: films, games" in answer.text
        assert "default" not in answer.text
    assert [one["name"] for one in guarded.ask("GET", "/projects", token).json or ()] == ["films"]
    assert guarded.ask("GET", "/projects?name=default", token).json == []
    assert guarded.ask("GET", f"/models/{film}/versions", token).status_code == 200
    assert guarded.ask("GET", "/projects/2/models", token).status_code == 200
    assert guarded.ask("POST", f"/models/{film}/versions/1/endpoint", token, {}).status_code == 201
    assert guarded.ask("POST", "/projects", token, {"name": "games"}).status_code == 201
    assert guarded.ask("GET", "/projects/99", token).status_code == 404


def test_projects_are_made_and_changed(guarded: "Guarded") -> None:
    token = guarded.new("administrator", name="boss")
    made = guarded.ask("POST", "/projects", token, {"name": "games", "readers": ["ana"], "stream": "x"})
    assert made.json is not None
    assert (made.status_code, made.json["name"], made.json["readers"]) == (201, "games", ["ana"])
    again = guarded.ask("POST", "/projects", token, {"name": "games"})
    assert (again.status_code, "is there already" in again.text) == (409, True)
    changed = guarded.ask("PUT", f"/projects/{made.json['id']}", token, {**made.json, "team": "play"})
    assert changed.json == {**made.json, "team": "play"}
    for body in ({"name": "other"}, {"team": "x" * 101}, {"team": "a\0"}, {"readers": ["\0"]}, {"labels": [{}]}, []):
        assert guarded.ask("PUT", "/projects/1", token, body).status_code == 400, body
    for body in ({}, {"name": ""}, {"name": "a b"}, {"name": "x" * 101}, {"name": None}):
        assert guarded.ask("POST", "/projects", token, body).status_code == 400, body
    assert {entry.actor for entry in guarded.registry.audit("project games")} == {"boss"}


@pytest.mark.slow
def test_the_audit_names_the_token(guarded: "Guarded") -> None:
    token = guarded.new("deployer", name="ci")
    assert guarded.ask("POST", "/models/1/versions/1/endpoint", token, {}).status_code == 201
    deployed = guarded.registry.deployments
    assert eventually(lambda: deployed.get("rater", 1).status == "running")
    assert guarded.ask("POST", "/models/1/endpoints", token, RULE).status_code == 201
    assert [(one.actor, one.action) for one in guarded.registry.audit("rater")][-4:] == [
        ("ci", "deploy"),
        ("ci", "running"),
        ("ci", "serving"),
        ("ci", "route"),
    ]
    assert [one.actor for one in deployed.history("rater")] == ["ci"]
    assert token not in repr(guarded.registry.audit())


def test_a_changed_file_counts_from_the_next_request_on(guarded: "Guarded") -> None:
    token = guarded.new("reader", name="ana")
    assert guarded.ask("GET", "/projects", token).status_code == 200
    remove_role_token(guarded.tokens, "ana")
    assert guarded.ask("GET", "/projects", token).status_code == 401
    again = guarded.new("deployer", name="ana")
    assert guarded.ask("GET", "/projects", token).status_code == 401
    assert guarded.ask("GET", "/projects", again).status_code == 200


def test_a_broken_file_leaves_what_was_last_good(guarded: "Guarded", caplog: pytest.LogCaptureFixture) -> None:
    token = guarded.new("reader")
    assert guarded.ask("GET", "/projects", token).status_code == 200
    good = guarded.tokens.read_text()
    digest = load_role_tokens(guarded.tokens).tokens[-1].sha256
    caplog.set_level(logging.ERROR)
    for broken in (f'tokens: ["{digest}', "tokens: 7\n", good.replace("reader", "king"), "\0", "- a\n"):
        caplog.clear()
        guarded.tokens.write_text(broken)
        for _ in range(3):
            assert guarded.ask("GET", "/projects", token).status_code == 200
        (record,) = caplog.records
        assert str(guarded.tokens) in record.message
        assert "stay in force" in record.message
        assert digest not in record.message
    guarded.tokens.write_text(good)
    guarded.tokens.chmod(0o644)
    assert guarded.ask("GET", "/projects", token).status_code == 200
    assert "everybody can read it" in caplog.text
    guarded.tokens.unlink()
    assert guarded.ask("GET", "/projects", token).status_code == 200
    assert "no tokens file" in caplog.text
    guarded.new("reader")
    assert guarded.ask("GET", "/projects", token).status_code == 401


def test_a_file_that_was_never_good_lets_nobody_in_and_is_named_in_the_log_alone(
    guarded: "Guarded", caplog: pytest.LogCaptureFixture
) -> None:
    token, good = guarded.new("administrator"), guarded.tokens.read_text()
    guarded.tokens.write_text("tokens: [")
    answer = guarded.ask("GET", "/projects", token)
    assert (answer.status_code, str(guarded.tokens) in answer.text) == (503, False)
    assert str(guarded.tokens) in caplog.text
    guarded.tokens.write_text(good)
    assert guarded.ask("GET", "/projects", token).status_code == 200


def test_a_tokens_file_has_hashes_and_is_the_owners_alone(tmp_path: "Path") -> None:
    path = tmp_path / "tokens.yaml"
    secret = add_role_token(path, "ci", "deployer", ("films",))
    assert len(secret) >= 43
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret not in path.read_text()
    with pytest.raises(ConflictError, match="ci"):
        add_role_token(path, "ci", "reader", ("*",))
    for name, projects in (("", ("*",)), ("a b", ("*",)), ("x" * 101, ("*",)), ("a", ("?",)), ("a\n", ("*",))):
        with pytest.raises(ConfigurationError):
            add_role_token(path, name, "reader", projects)
    with pytest.raises(NotFoundError, match="nobody"):
        remove_role_token(path, "nobody")
    path.write_text(path.read_text().replace("name: ci", "name: c i"))
    with pytest.raises(ConfigurationError, match=r"tokens.*c i"):
        load_role_tokens(path)
