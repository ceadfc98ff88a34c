"""A cluster with Kerberos: who a client is, what containers may do, and who else may look or end it."""

import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from guides import run_script, script_of, with_commands
from waiting import eventually

from tony_py.history import read_history
from tony_py.live import page_url
from yarnmill import fs, yarn
from yarnmill.config import load_config
from yarnmill.localcluster.cluster import LocalCluster
from yarnmill.localcluster.layout import Layout
from yarnmill.localcluster.state import ClusterState
from yarnmill.report import read_report

PROGRAM = Path(__file__).parent / "programs" / "tokens.py"
Tony = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def local(secured_cluster: ClusterState) -> LocalCluster:
    home = Path(secured_cluster.root).parent
    return LocalCluster(home, load_config(overrides=("cluster.secure=true",), home=str(home)).cluster)


@pytest.fixture
def folder(secured_cluster: ClusterState, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Let this process be the cluster's owner with a ticket; return a folder of his on HDFS."""
    for name, value in {**secured_cluster.environment(), "TMPDIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("YARNMILL_CONFIG", raising=False)
    url = f"hdfs:///tmp/{tmp_path.name}-{time.time_ns()}"
    fs.make_folder(url)
    return url


@pytest.fixture
def tony() -> Tony:
    def call(*arguments: str, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``tony_py`` with the tickets of a file, or the owner's."""
        other = {"KRB5CCNAME": f"FILE:{cache}"} if cache else {}
        return subprocess.run(
            [sys.executable, "-m", "yarnmill.cli.tony", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **other},
        )

    return call


def written(path: Path, url: str, **changes: object) -> str:
    """Write an application of one small worker; return its file."""
    application = {
        "name": "secured",
        "framework": "torch",
        "types": {"worker": {"command": "sleep 500", "memory": "256 MiB"}},
        "environment": {"python": sys.executable},
        "output": f"{url}/output",
        **changes,
    }
    path.write_text(yaml.safe_dump(application))
    return str(path)


def test_a_gang_reads_and_writes_by_its_tokens_and_leaves_none(
    secured_cluster: ClusterState, folder: str, tony: Tony, tmp_path: Path
) -> None:
    secret = secrets.token_hex(16)
    (tmp_path / "note.txt").write_text(secret)
    (tmp_path / "note.txt").chmod(0o600)
    default = secured_cluster.hdfs_url.removeprefix("hdfs://")
    other = default.replace("localhost", "127.0.0.1")  # for tokens another file system
    app = written(
        tmp_path / "app.yaml",
        folder,
        types={"worker": {"command": "python tokens.py", "memory": "256 MiB", "instances": 2}},
        source=[str(PROGRAM)],
        secrets={"note": "note.txt"},
        file_systems=[f"hdfs://{other}"],
        parameters={"folder": folder, "default": default, "other": other},
    )
    done = tony("submit", app)
    assert done.returncode == 0, done.stdout + done.stderr
    report = read_report(f"{folder}/output")
    assert (report.state, len(report.tasks)) == ("succeeded", 2)
    events = [event.event for event in read_history(f"{folder}/output/history.jsonl")]
    assert (events[0], events.count("started"), events.count("finished")) == ("submitted", 2, 2)
    assert fs.read_bytes(f"{folder}/output/model.bin") == b"model"
    names = {child.name for child in fs.children(folder)}
    by_client = {f"{kind}-{rank}" for kind in ("by-command", "native-localhost", "native-127.0.0.1") for rank in (0, 1)}
    assert names == {"output", *by_client}
    _nothing_secret_is_left(secured_cluster, report.application_id, secret)


def _nothing_secret_is_left(cluster: ClusterState, application_id: str, secret: str) -> None:
    root = Path(cluster.root)
    assert eventually(lambda: not list(root.glob("nodemanager-*/local/**/*token*")), seconds=30)
    staging = f"hdfs:///user/{root.owner()}/.skein"
    assert eventually(lambda: application_id not in {each.name for each in fs.children(staging)}, seconds=30)
    for log in (*root.glob("nodemanager-*/logs/**/*"), *root.glob("logs/*")):
        if log.is_file():
            assert secret not in log.read_text(errors="replace"), log


def test_others_neither_see_nor_end_what_does_not_name_them(
    secured_cluster: ClusterState,
    local: LocalCluster,
    folder: str,
    tony: Tony,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = written(tmp_path / "app.yaml", folder)
    assert "enable: true" in tony("submit", app, "--plan").stdout, "closed to others unless it says otherwise"
    friends = ("--set", "access.view_users=[friend]", "--set", "access.modify_users=[friend]")
    sent = tony("submit", app, "--detach", *friends)
    assert sent.returncode == 0, sent.stderr
    application_id = sent.stdout.partition(":")[0]
    assert eventually(lambda: yarn.application(application_id).state == "RUNNING", seconds=60)
    page = page_url(yarn.application(application_id).tracking_url)
    friend, stranger, admin = (local.fetch_ticket(user) for user in ("friend", "stranger", "yarn"))

    def seen_by(ticket: Path) -> tuple[int, bool]:
        """Return the page's status, and whether YARN tells when the application began."""
        monkeypatch.setenv("KRB5CCNAME", f"FILE:{ticket}")
        return yarn.fetch(page).status_code, yarn.application(application_id).started_ms > 0

    assert eventually(lambda: seen_by(friend) == (200, True), seconds=60)
    assert seen_by(stranger) == (403, False)
    assert seen_by(admin)[1]
    monkeypatch.setenv("KRB5CCNAME", secured_cluster.environment()["KRB5CCNAME"])

    refused = tony("kill", application_id, cache=stranger)
    assert refused.returncode == 2, refused.stderr
    assert "stranger cannot perform operation MODIFY_APP" in refused.stderr
    assert "to mend it: ask whoever sent it to name you in its access.modify_users" in refused.stderr
    assert "\tat " not in refused.stderr
    assert not yarn.application(application_id).is_finished
    killed = tony("kill", application_id, cache=friend)
    assert killed.returncode == 0, killed.stderr
    assert eventually(lambda: yarn.application(application_id).state == "KILLED", seconds=30)


@pytest.mark.parametrize("command", ["submit", "list", "kill"])
def test_without_a_ticket_the_error_is_what_mends_it(command: str, folder: str, tony: Tony, tmp_path: Path) -> None:
    argument = {"submit": [written(tmp_path / "app.yaml", folder)], "list": [], "kill": ["application_1_0001"]}
    done = tony(command, *argument[command], cache=tmp_path / "none")
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first.startswith("error (configuration): no valid Kerberos ticket: No Kerberos credentials available")
    assert second.startswith("to mend it: kinit")


def test_with_an_expired_ticket_likewise(local: LocalCluster, folder: str, tony: Tony, tmp_path: Path) -> None:
    cache = local.fetch_ticket("stranger", cache=tmp_path / "short", lifetime_s=1)
    time.sleep(2)
    done = tony("submit", written(tmp_path / "app.yaml", folder), cache=cache)
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first.startswith("error (configuration): no valid Kerberos ticket: ")
    assert "expired" in first
    assert second.startswith("to mend it: kinit")


def test_the_guides_commands_work_with_a_ticket_and_by_a_keytab(
    secured_cluster: ClusterState, folder: str, repository: Path, tmp_path: Path
) -> None:
    _, found, guide = (repository / "docs" / "training.md").read_text().partition("## On a secured cluster\n")
    assert found
    script = script_of(guide, "bash")
    home = str(Path(secured_cluster.root).parent)
    script, replaced = re.subn(r"(\$PWD/)?build/secured", home, script)
    assert replaced
    script = script.replace("hdfs:///tmp/secured-guide", f"{folder}/guide")
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR", "PYTHONPATH", "LANG") if name in os.environ}
    run_script(script, tmp_path, with_commands({**kept, "PATH": "/usr/bin:/bin"}))
    assert read_report(f"{folder}/guide").state == "succeeded"
    assert list(tmp_path.glob("yarnmill-tickets-*")) == [], "tickets that a keytab brought are gone with the command"
    assert (Layout(Path(secured_cluster.root)).tickets_folder).is_dir()
