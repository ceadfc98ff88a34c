"""TonY's own command line, through ``tony_py submit --plan``: nothing is sent, everything else is real."""

import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tony_py.application import Application
from tony_py.plan import Launch
from tony_py.tonyconf.local import load_tony_application, source_paths
from tony_py.tonyconf.options import Options
from yarnmill.cli.main import run
from yarnmill.cli.tony import tony_py
from yarnmill.errors import ConfigurationError, NotFoundError
from yarnmill.records import parse_json

Plan = Callable[..., tuple[int, Application | None, str]]

CONF = """<configuration>
<property><name>tony.worker.instances</name><value>2</value></property>
<property><name>tony.history.location</name><value>/history</value></property>
</configuration>"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with a configuration and a source folder, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TONY_CONF_DIR", raising=False)
    folder = tmp_path / "here"
    (folder / "src" / "models").mkdir(parents=True)
    (folder / "src" / "models" / "train.py").write_text("print('training')\n")
    (folder / "src" / "run.sh").write_text("#!/bin/bash\n")
    (folder / "job.xml").write_text(CONF)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def plan(here: Path, capsys: pytest.CaptureFixture[str]) -> Plan:
    """Return a function that plans a command line: exit code, what would be launched, standard error."""

    def planned(*arguments: str) -> tuple[int, Application | None, str]:
        assert here.is_dir()
        code = run(tony_py, ["submit", "--plan", *arguments])
        captured = capsys.readouterr()
        if code:
            return code, None, captured.err
        file = yaml.safe_load(captured.out)["master"]["files"]["tony_launch.json"]["source"].removeprefix("file://")
        return code, parse_json(Path(file).read_bytes(), Launch, source=file).application, captured.err

    return planned


def test_the_whole_line_with_one_dash_or_two(plan: Plan, here: Path) -> None:
    line = ["conf_file=job.xml", "conf=tony.worker.memory=1g", "conf=tony.worker.vcores=2", "src_dir=src"]
    line += ["executes=models/train.py", "task_params=--steps 5 --fast", "python_binary_path=python3"]
    line += ["shell_env=A=1", "shell_env=B=2", "container_env=C=3"]
    code, application, err = plan(*(f"--{each}" for each in line))
    assert code == 0
    assert application is not None
    worker = application.types["worker"]
    assert worker.command.endswith("\npython3 models/train.py --steps 5 --fast")
    assert (worker.instances, worker.memory, worker.vcores) == (2, 1024, 2)
    assert worker.env == {"A": "1", "B": "2", "C": "3"}
    assert application.source == (str(here / "src" / "models"), str(here / "src" / "run.sh"))
    assert "without effect here:\n  tony.history.location: the history stands in" in err
    assert f"report and history go to {application.output}" in err
    assert application.output.startswith("hdfs:///yarnmill/runs/tony/TonyApplication/20")
    words = [word for each in line for word in (f"-{each.partition('=')[0]}", each.partition("=")[2])]
    _, again, _ = plan(*words)
    assert again is not None
    assert again.types == application.types
    assert again.output != application.output


def test_our_own_keys_go_over_tonys(plan: Plan) -> None:
    _, application, _ = plan(
        "--conf_file", "job.xml", "--executes", "true", "--set", "restart=gang", "--set", "queue=q"
    )
    assert application is not None
    assert (application.restart, application.queue) == ("gang", "q")
    code, _, err = plan("--conf_file", "job.xml", "--executes", "true", "--set", "restrat=gang")
    assert code == 2
    assert "--set restrat=gang: restrat: unknown key" in err


def test_the_sites_file_comes_after_the_users(plan: Plan, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = CONF.replace("worker.instances", "task.max-total-instances").replace(">2<", ">1<")
    (here / "tony-site.xml").write_text(site)
    monkeypatch.setenv("TONY_CONF_DIR", str(here))
    code, _, err = plan("--conf_file", "job.xml", "--executes", "true")
    assert code == 2
    assert (
        f"{here}/tony-site.xml:2: tony.task.max-total-instances: 2 instances of all tasks asked for, 1 allowed" in err
    )


def test_tony_xml_in_the_current_folder_is_read_where_no_file_is_named(plan: Plan, here: Path) -> None:
    (here / "tony.xml").write_text(CONF)
    _, application, _ = plan("--executes", "true")
    assert application is not None
    assert list(application.types) == ["worker"]
    (here / "tony.xml").unlink()
    _, application, _ = plan("--executes", "true")
    assert application is not None
    assert list(application.types) == ["single"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, ["nothing to submit", "--conf_file"]),
        (["app.yaml", "--conf_file", "job.xml"], 2, ["app.yaml and TonY's options"]),
        (["--conf_file", "none.xml"], 3, ["none.xml: no such configuration file"]),
        (["--conf_file", "job.xml"], 2, ["tony.worker.command", "--executes"]),
        (["--conf_file", "job.xml", "--executes", "x", "--src_dir", "none"], 3, ["none: no such folder"]),
        (["--conf_file", "job.xml", "--executes", "x", "--conf", "tony.x"], 2, ["--conf tony.x: no name=value"]),
        (["--conf_file", "job.xml", "--executes", "x", "--shell_env", "a b=1"], 2, ["--shell_env: 'a b'"]),
    ],
)
def test_a_mistake_is_one_message(plan: Plan, arguments: list[str], code: int, words: list[str]) -> None:
    found, _, err = plan(*arguments)
    assert found == code, err
    assert all(word in err for word in words)
    assert "Traceback" not in err


@pytest.mark.parametrize("program", ["src/models/train.py", "{here}/src/models/train.py", "models/train.py"])
def test_a_program_is_named_from_here_or_from_the_source_folder(plan: Plan, here: Path, program: str) -> None:
    executes = f"{program.format(here=here)} --flag"
    _, application, _ = plan("--conf_file", "job.xml", "--src_dir", "src", "--executes", executes)
    assert application is not None
    assert application.types["worker"].command.endswith("\nmodels/train.py --flag")


def test_a_source_folder_may_be_an_archive(here: Path) -> None:
    with zipfile.ZipFile("src.zip", "w") as target:
        member = zipfile.ZipInfo("run.sh")
        member.external_attr = 0o755 << 16
        target.writestr(member, "#!/bin/bash\n")
    with tarfile.open("src.tgz", "w:gz") as tar:
        tar.add("src/models", "models")
    script = Path(source_paths("src.zip")[0])
    assert script.name == "run.sh"
    assert script.stat().st_mode & 0o777 == 0o755
    assert source_paths("src.zip") == (str(script),)  # unpacked once
    assert (Path(source_paths("src.tgz")[0]) / "train.py").read_text() == "print('training')\n"
    with pytest.raises(ConfigurationError, match="neither a folder nor an archive"):
        source_paths(str(here / "job.xml"))
    with pytest.raises(NotFoundError):
        source_paths("nowhere")


def test_folders_among_the_resources(here: Path) -> None:
    (here / "tables").mkdir()
    (here / "remote" / "deeper").mkdir(parents=True)
    (here / "remote" / "a.jar").write_text("a")
    (here / "remote" / "deeper" / "b.jar").write_text("b")
    conf = ["tony.worker.instances=1", f"tony.containers.resources=tables,job.xml::conf.xml,file://{here}/remote"]
    options = Options(executes="true", hdfs_classpath=f"file://{here}/missing,file://{here}/remote/deeper")
    found = load_tony_application("", conf, options, runs="/runs")
    assert found.application.files == {
        "tables/": str(here / "tables"),
        "conf.xml": str(here / "job.xml"),
        "a.jar": f"file://{here}/remote/a.jar",
        "b.jar": f"file://{here}/remote/deeper/b.jar",
    }
    assert [(each.key, each.reason) for each in found.ignored] == [
        ("--hdfs_classpath", f"file://{here}/missing is not there")
    ]


def test_the_plan_is_what_skein_reads(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tony_py, ["submit", "--plan", "--conf_file", str(here / "job.xml"), "--executes", "true"]) == 0
    plain = yaml.safe_load(capsys.readouterr().out)
    assert plain["name"] == "TonyApplication"
    assert json.dumps(plain["services"]["worker"]["resources"]) == '{"memory": "2048 MiB", "vcores": 1}'
