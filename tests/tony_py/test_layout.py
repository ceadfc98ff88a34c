"""The container's script, run by bash in a folder that the localiser filled, as on a node."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tony_py.application import Application, DriverSettings, Environment, TaskType
from tony_py.layout import container_script, is_reserved, python_of, secret_file
from tony_py.local import run_local
from tony_py.localising import localise
from tony_py.shipping import ship_files
from tony_py.skeinspec import SkeinFile
from yarnmill import fs
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError

Make = Callable[..., Application]

LOOK = """
import json, os
here = os.path.join(os.getcwd(), "source")
secrets = os.environ.get("TONY_SECRETS_DIR", "")
print(json.dumps({
    "vocabulary": open(here + "/vocabulary.txt").read(),
    "images": sorted(os.listdir(here + "/images")),
    "runnable": os.access(here + "/images/tool", os.X_OK),
    "token": open(secrets + "/api.token").read(),
    "mode": oct(os.stat(secrets).st_mode & 0o777),
}))
"""


@pytest.fixture
def container(tmp_path: Path) -> Path:
    folder = tmp_path / "a container"
    folder.mkdir()
    return folder


def run(script: str, folder: Path) -> str:
    done = subprocess.run(["/bin/bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_command_alone_needs_no_folder_put_in_order() -> None:
    assert container_script("python x") == "exec python x"


def test_files_stand_in_the_programs_folder_and_secrets_in_their_own(
    tmp_path: Path, container: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "words.txt").write_text("film")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_text("")
    (tmp_path / "pictures" / "tool").write_text("")
    (tmp_path / "token").write_text("hush")
    (container / "look.py").write_text(LOOK)
    shipped = ship_files(
        {"vocabulary.txt": str(tmp_path / "words.txt"), "images/": str(tmp_path / "pictures")}, "files"
    )
    localise({name: each.file for name, each in shipped.items()}, container)
    localise({secret_file("api.token"): SkeinFile(source=f"file://{tmp_path}/token", type="FILE")}, container)
    script = container_script(f"{sys.executable} look.py", files=shipped, secrets=["api.token"])
    expected = {"vocabulary": "film", "images": ["1.png", "tool"], "runnable": True, "token": "hush", "mode": "0o700"}
    assert json.loads(run(script, container)) == expected
    assert json.loads(run(script, container)) == expected  # a second time, in the same folder


def test_a_step_that_fails_ends_the_container(container: Path) -> None:
    (container / "source").write_text("a file in the way")
    with pytest.raises(subprocess.CalledProcessError):
        run(container_script("true", files=["x"]), container)


def test_archives_of_all_kinds_are_unpacked(tmp_path: Path, container: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_text("1")
    for suffix in ("tar.gz", "tgz", "tar"):
        flags = "-cf" if suffix == "tar" else "-czf"
        subprocess.run(["tar", "-C", str(tmp_path / "data"), flags, str(tmp_path / f"a.{suffix}"), "."], check=True)  # noqa: S607
        localise({suffix: SkeinFile(source=f"file://{tmp_path}/a.{suffix}", type="ARCHIVE")}, container)
        assert (container / suffix / "x").read_text() == "1"
    (tmp_path / "bad.tgz").write_text("no archive")
    with pytest.raises(ConfigurationError, match="cannot be unpacked"):
        localise({"bad": SkeinFile(source=f"file://{tmp_path}/bad.tgz", type="ARCHIVE")}, container)
    with pytest.raises(ConfigurationError, match="unknown file system"):
        localise({"far": SkeinFile(source="s3a://far/x", type="FILE")}, container)


def test_the_python_of_an_environment() -> None:
    assert python_of(Environment(python="/opt/my python")) == "'/opt/my python'"
    assert python_of(Environment(archive="x.tar.gz")) == "environment/bin/python"
    assert python_of(Environment(archive="x.zip", binary="Python 3/bin/python")) == "'environment/Python 3/bin/python'"
    assert python_of(Environment(archive="x.pex", python="/opt/python")) == "environment/bin/python"


def test_names_that_a_container_has_itself_are_reserved() -> None:
    assert all(is_reserved(name) for name in ("source", "secrets", "environment", "tony_source.zip", ".skein.crt"))
    assert not any(is_reserved(name) for name in ("data", "model.onnx"))


def test_what_lies_on_hdfs_is_brought(hdfs: str, tmp_path: Path, container: Path) -> None:
    (tmp_path / "x").write_text("1")
    subprocess.run(["tar", "-C", str(tmp_path), "-czf", str(tmp_path / "a.tgz"), "x"], check=True)  # noqa: S607
    fs.copy_file(tmp_path / "a.tgz", f"{hdfs}/a.tgz")
    localise({"data": SkeinFile(source=f"{hdfs}/a.tgz", type="ARCHIVE")}, container)
    localise({"again": SkeinFile(source=f"{hdfs}/a.tgz", type="FILE")}, container.parent)
    assert (container / "data" / "x").read_text() == "1"
    assert (container.parent / "again").read_bytes() == (tmp_path / "a.tgz").read_bytes()


@pytest.mark.programs
def test_an_application_without_yarn_finds_the_same(tmp_path: Path, application: Make, config: Config) -> None:
    for name, content in {"words": "film", "token": "hush", "prepare.py": PREPARE, "pictures/1.png": "png"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    worker = TaskType(
        command='test "$TONY_PARAM_SEEN" = "film hush" && test "$(cat "$TONY_SECRETS_DIR/token")" = hush '
        '&& test "$(cat vocabulary.txt images/1.png)" = filmpng',
        files={"images/": f"{tmp_path}/pictures"},
    )
    made = application(
        types={"worker": worker},
        source=(f"{tmp_path}/prepare.py",),
        files={"vocabulary.txt": f"{tmp_path}/words"},
        secrets={"token": f"{tmp_path}/token"},
        driver=DriverSettings(prepare="python prepare.py"),
    )
    report = run_local(made, config, tmp_path / "containers")
    assert report.state == "succeeded", report.exit_reason
    assert report.timings_s


PREPARE = """
import json, os
seen = open("vocabulary.txt").read() + " " + open(os.environ["TONY_SECRETS_DIR"] + "/token").read()
json.dump({"seen": seen}, open(os.environ["TONY_PARAMETERS_FILE"], "w"))
"""
