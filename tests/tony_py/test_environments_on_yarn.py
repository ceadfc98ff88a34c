"""Environments, files and secrets as containers of the real cluster find them, and what is not sent a second time."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from plain_skein import run_plan

from tony_py import client, shipping
from tony_py.application import Access, Application, Docker, DriverSettings, Environment, TaskType, Timeouts
from tony_py.logs import await_logs, finished_logs
from yarnmill import fs, yarn
from yarnmill.cli.main import run
from yarnmill.cli.tony import tony_py
from yarnmill.config import Config, load_config
from yarnmill.report import read_report
from yarnmill.units import Mebibytes, Seconds

# What each task writes down: where its Python and its package come from, and since when that stands on the node.
LOOK = """
import json, os, sys
import msgspec, pygments
here = os.environ["TONY_CONTAINER_DIR"]
packages = os.path.dirname(os.path.dirname(msgspec.__file__))
cached = os.path.realpath(os.path.join(here, "environment"))
facts = {
    "inside": sys.executable.startswith(here + "/environment/") and packages.startswith(here + "/environment/"),
    "cached": cached,
    "changed": os.stat(cached).st_ctime_ns,
}
with open(os.path.join(sys.argv[1], os.environ["CONTAINER_ID"] + ".json"), "w") as stream:
    json.dump(facts, stream)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """Return a real virtual environment with two packages of the platform's lock."""
    folder = tmp_path_factory.mktemp("environments") / "training env"
    lock = (repository / "conf" / "environments" / "platform.lock").read_text()
    wanted = re.findall(r"^(?:msgspec|pygments)==.*?(?=^\S)", lock, re.MULTILINE | re.DOTALL)
    assert len(wanted) == 2
    requirements = folder.parent / "requirements.lock"
    requirements.write_text("".join(wanted))
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    install = [uv, "pip", "install", "--quiet", "--require-hashes", "--python", f"{folder}/bin/python"]
    subprocess.run([*install, "-r", str(requirements)], check=True)
    return folder


@pytest.fixture
def on_hdfs(hdfs: str) -> Config:
    """Return a configuration whose environments lie in the test's own folder."""
    return load_config(None, [f"storage.environments={hdfs}/environments"])


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


def logs_of(application_id: str) -> str:
    await_logs(application_id, print)
    return "".join(file.data.decode(errors="replace") for file in finished_logs(application_id))


def app(url: str, command: str, archive: Path | str, **changes: Any) -> Application:
    values: dict[str, Any] = {
        "name": "environment-test",
        "framework": "standalone",
        "types": {"worker": TaskType(command=command, instances=2, memory=Mebibytes(256))},
        "output": f"{url}/output",
        "environment": Environment(archive=str(archive)),
        "timeouts": Timeouts(gang=Seconds(300.0)),
        **changes,
    }
    return Application(**values)


def facts(notes: Path) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in sorted(notes.iterdir())]
    for path in notes.iterdir():
        path.unlink()
    return found


def test_an_environments_folder_is_uploaded_once_and_cached_by_yarn(
    environment: Path, hdfs: str, on_hdfs: Config, notes: Path, tmp_path: Path
) -> None:
    (tmp_path / "look.py").write_text(LOOK)
    command = f"set -e; python look.py {notes}; pygmentize -V; test ${{round}} -gt 0"
    seen: dict[str, int] = {}
    repeated = 0
    for number in (1, 2, 3, 4):
        made = app(
            hdfs,
            command,
            environment,
            source=(f"{tmp_path}/look.py",),
            parameters={"round": number},
            output=f"{hdfs}/output-{number}",
        )
        lines: list[str] = []
        client.run_application(made, on_hdfs, lines.append)
        uploads = [line for line in lines if "uploading" in line]
        assert len(uploads) == (1 if number == 1 else 0), lines
        for fact in facts(notes):
            assert fact["inside"]
            # Public: kept by the node for every application of every user.
            assert re.search(r"nodemanager-\d/local/filecache/\d+/[0-9a-f]{64}-training-env\.tar\.gz$", fact["cached"])
            repeated += seen.get(fact["cached"]) == fact["changed"]
            assert seen.setdefault(fact["cached"], fact["changed"]) == fact["changed"]
        if number > 1 and repeated:  # YARN chooses the nodes, so the second run may have seen another one
            break
    assert repeated
    assert len(fs.children(f"{hdfs}/environments")) == 1


def test_a_folder_is_read_once_for_all_its_submissions(
    environment: Path, hdfs: str, on_hdfs: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = app(hdfs, "true", environment)
    first = client.plan_application(made, on_hdfs)
    monkeypatch.setattr(shipping, "content_digest", lambda _members: pytest.fail("it was read once more"))
    assert client.plan_application(made, on_hdfs) == first


def test_the_plan_uploads_nothing_and_goes_through_plain_skein_after_upload(
    environment: Path, hdfs: str, notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "by-hand.tar.gz"
    subprocess.run(["tar", "-C", str(environment), "-czf", str(archive), "."], check=True)  # noqa: S607
    (tmp_path / "look.py").write_text(LOOK)
    (tmp_path / "platform.yaml").write_text(f"storage: {{environments: '{hdfs}/environments'}}")
    application = {
        "name": "plain",
        "framework": "standalone",
        "types": {"worker": {"command": f"python look.py {notes}", "memory": "256 MiB"}},
        "source": ["look.py"],
        "environment": {"archive": "by-hand.tar.gz"},
        "output": f"{hdfs}/output",
    }
    (tmp_path / "app.yaml").write_text(yaml.safe_dump(application))
    arguments = [str(tmp_path / "app.yaml"), "--config", str(tmp_path / "platform.yaml")]
    assert run(tony_py, ["submit", *arguments, "--plan"]) == 0
    printed = capsys.readouterr()
    assert "environment.archive:" in printed.err
    assert "is not on HDFS yet" in printed.err
    assert not fs.exists(f"{hdfs}/environments")
    assert run(tony_py, ["upload", *arguments]) == 0
    assert "uploaded" in capsys.readouterr().err
    assert run(tony_py, ["submit", *arguments, "--plan"]) == 0
    assert capsys.readouterr() == (printed.out, "")  # the same plan, and nothing left to say
    (tmp_path / "plan.yaml").write_text(printed.out)
    application_id = run_plan(tmp_path / "plan.yaml")
    assert read_report(f"{hdfs}/output").state == "succeeded", logs_of(application_id)[-3000:]
    (fact,) = facts(notes)
    assert fact["inside"]


WORKER = """
import json, os, subprocess, sys
import msgspec
from rater import NAME

here = os.environ["TONY_CONTAINER_DIR"]
secret = os.path.join(os.environ["TONY_SECRETS_DIR"], "token")
assert NAME == "rater", NAME
assert sys.prefix == here + "/environment", sys.prefix
assert "msgspec" in subprocess.check_output(["python", "-c", "import msgspec; print(msgspec)"], text=True)
assert open("vocabulary.txt").read() == "film"
assert open("images/one/1.txt").read() == "1"
assert open("far.txt").read() == "far"
assert open(secret).read() == "hush-hush"
assert os.stat(os.path.realpath(secret)).st_mode & 0o077 == 0, oct(os.stat(secret).st_mode)
assert "appcache" in os.path.realpath(secret), os.path.realpath(secret)
assert os.environ["YARN_CONTAINER_RUNTIME_TYPE"] == "docker"
assert os.environ["YARN_CONTAINER_RUNTIME_DOCKER_MOUNTS"] == "/data:/data:ro,/scratch:/scratch:rw"
assert os.environ["TONY_PARAM_WORDS"] == "4", os.environ["TONY_PARAM_WORDS"]
"""

PREPARE = """
import json, os
import msgspec
from rater import NAME

assert open(os.path.join(os.environ["TONY_SECRETS_DIR"], "token")).read() == "hush-hush"
with open(os.environ["TONY_PARAMETERS_FILE"], "w") as stream:
    json.dump({"words": len(open("vocabulary.txt").read())}, stream)
"""


@pytest.fixture
def pex(tmp_path: Path, environment: Path) -> Path:
    """Return a .pex file of the packages that the environment has, for its Python."""
    path = tmp_path / "training.pex"
    requirements = environment.parent / "requirements.lock"
    build = [sys.executable, "-m", "pex", "-r", str(requirements), "--python", f"{environment}/bin/python"]
    done = subprocess.run([*build, "-o", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return path


def test_a_pex_file_files_secrets_source_and_preparing_meet_in_containers(
    pex: Path, hdfs: str, on_hdfs: Config, tmp_path: Path, environment: Path
) -> None:
    files = {"token": "hush-hush", "words": "film", "rater/__init__.py": "NAME = 'rater'", "pictures/one/1.txt": "1"}
    for name, content in {**files, "worker.py": WORKER, "prepare.py": PREPARE}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    fs.write_bytes(f"{hdfs}/far.txt", b"far")
    worker = TaskType(
        command="python worker.py",
        memory=Mebibytes(256),
        files={"images/": f"{tmp_path}/pictures", "far.txt": f"{hdfs}/far.txt"},
    )
    python = subprocess.check_output([f"{environment}/bin/python", "-c", "import sys; print(sys._base_executable)"])
    made = app(
        hdfs,
        "",
        pex,
        types={"worker": worker},
        source=tuple(f"{tmp_path}/{name}" for name in ("worker.py", "prepare.py", "rater")),
        files={"vocabulary.txt": f"{tmp_path}/words"},
        secrets={"token": f"{tmp_path}/token"},
        tags=("films",),
        access=Access(view_users=("ann",)),
        file_systems=(fs.default_hdfs_url(),),
        driver=DriverSettings(prepare="python prepare.py", attempts=2),
        environment=Environment(
            archive=str(pex),
            python=python.decode().strip(),
            docker=Docker(image="films:1", mounts=("/data:/data:ro", "/scratch:/scratch:rw")),
        ),
    )
    report, _ = client.run_application(made, on_hdfs, print)
    assert report.state == "succeeded"
    status = yarn.application(report.application_id)
    assert "films" in status.tags
    assert "hush-hush" not in logs_of(report.application_id)
