"""Tokens of a running tier: made and taken back by commands, seen without a restart, in no log."""

import json
from typing import TYPE_CHECKING

import pytest
import requests
from waiting import eventually

from yarnmill.cli.main import run, yarnmill

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Platform, Start, Tier

programs = pytest.mark.programs


def status(tier: "Tier", token: str, method: str = "GET", path: str = "/projects", body: object = None) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{tier.url}/merlin/v1{path}"
    return requests.request(method, url, json=body, headers=headers, timeout=20).status_code


@programs
def test_tokens_of_a_running_tier(
    platform: "Platform", start_tier: "Start", tmp_path: "Path", capsys: pytest.CaptureFixture[str]
) -> None:
    tokens, config = tmp_path / "tokens.yaml", ["--home", str(platform.home)]
    platform.publish("rater", 1.0)

    def command(*words: str) -> str:
        assert run(yarnmill, ["serving", "token", *words, "--tokens", str(tokens), *config]) == 0
        return capsys.readouterr().out.strip()

    reader = command("new", "ana", "--role", "reader", "--ttl", "1 d")
    with start_tier("--control", "--tokens", str(tokens), "--workers", "2", "--host", "0.0.0.0") as tier:  # noqa: S104
        assert [status(tier, token) for token in (reader, "not-a-token")] == [200, 401]
        made = json.loads(command("new", "ci", "--role", "deployer", "--project", "default", "--output", "json"))
        deployer = made["token"]
        for _ in range(6):  # whichever worker is asked
            assert status(tier, deployer) == 200
            assert status(tier, reader, "POST", "/models/1/versions/1/endpoint", {}) == 403
        assert status(tier, deployer, "POST", "/models/1/versions/1/endpoint", {}) == 201
        assert eventually(lambda: platform.registry.deployments.get("rater", 1).status == "running")
        person = requests.Session()
        page = person.post(f"{tier.url}/console/sign-in", data={"token": reader}, timeout=20)
        assert (page.status_code, page.url) == (200, f"{tier.url}/console/")
        looks = [person.get(f"{tier.url}/console/", timeout=20) for _ in range(6)]
        assert [look.url for look in looks] == [page.url] * 6  # every worker knows who is signed in
        assert (platform.home / "serving" / "console.key").stat().st_mode & 0o777 == 0o600
        assert json.loads(command("rm", "ana", "--output", "json")) == {"name": "ana", "removed": True}
        assert person.get(page.url, timeout=20).url == f"{tier.url}/console/sign-in?next=/console/"
        assert [status(tier, reader) for _ in range(6)] == [401] * 6
        good = tokens.read_text()
        tokens.write_text("tokens: [")
        assert [status(tier, deployer) for _ in range(6)] == [200] * 6
        tokens.write_text(good)
        metrics = requests.get(f"{tier.url}/metrics", timeout=20).text
        assert 'yarnmill_control_refused_total{reason="unknown token"} 7.0' in metrics
        assert 'yarnmill_control_refused_total{reason="role"} 6.0' in metrics
    log = tier.log.read_text()
    assert "stay in force" in log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert {line.get("who") for line in lines if line["path"].startswith("/console")} == {"ana", None}
    assert {line.get("who") for line in lines if line["path"].startswith("/merlin/v1")} == {"ana", "ci", None}
    assert {line["who"] for line in lines if line["status"] == 403} == {"ana"}
    for secret in (reader, deployer, "not-a-token"):
        assert secret not in log
        assert secret not in tokens.read_text()
    assert {one.actor for one in platform.registry.audit("rater")} == {"tests", "ci"}


def test_tokens_are_listed_without_their_hashes(tmp_path: "Path", capsys: pytest.CaptureFixture[str]) -> None:
    tokens = str(tmp_path / "tokens.yaml")
    file = ["--set", f"serving.tokens={tokens}"]
    assert run(yarnmill, ["serving", "token", "new", "ci", "--role", "deployer", "--project", "films", *file]) == 0
    secret = capsys.readouterr().out.strip()
    assert run(yarnmill, ["serving", "token", "new", "boss", "--role", "administrator", "--ttl", "30 d", *file]) == 0
    assert run(yarnmill, ["serving", "token", "new", "ci", "--role", "reader", *file]) == 4
    assert run(yarnmill, ["serving", "token", "new", "x", "--role", "reader", "--project", "a b", *file]) == 2
    capsys.readouterr()
    assert run(yarnmill, ["serving", "token", "ls", "--output", "json", *file]) == 0
    text = capsys.readouterr().out
    listed = json.loads(text)
    assert [(one["name"], one["role"], one["projects"]) for one in listed] == [
        ("ci", "deployer", ["films"]),
        ("boss", "administrator", ["*"]),
    ]
    assert listed[1]["expires_at_ms"] - listed[1]["created_at_ms"] == pytest.approx(30 * 86_400_000, abs=60_000)
    assert run(yarnmill, ["serving", "token", "ls", *file]) == 0
    table = capsys.readouterr().out
    assert "films" in table
    for hidden in (secret, "sha256"):
        assert hidden not in text + table
    assert run(yarnmill, ["serving", "token", "rm", "ci", *file]) == 0
    assert run(yarnmill, ["serving", "token", "rm", "ci", *file]) == 3
    assert "boss" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (["serving", "token", "ls"], 2, "serving.tokens"),
        (["serving", "token", "ls", "--tokens", "none.yaml"], 3, "yarnmill serving token new"),
        (["serve", "--control", "--tokens", "none.yaml"], 3, "yarnmill serving token new"),
        (["serve", "--control", "--port", "0", "--host", "0.0.0.0"], 2, "yarnmill serving token new"),  # noqa: S104
        (["serve", "--control", "--port", "0", "--host", "::"], 2, "without tokens"),
        (["serve", "--control", "--port", "0", "--server", "granian", "--host", "0.0.0.0"], 2, "without tokens"),  # noqa: S104
    ],
)
def test_what_cannot_be_meant_says_what_mends_it(
    words: list[str], exit_code: int, said: str, tmp_path: "Path", capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(yarnmill, [*words, "--home", str(tmp_path)]) == exit_code
    assert said in capsys.readouterr().err
