"""Configurations of the shapes that TonY's users have, and the applications that they mean, in our own YAML."""

from pathlib import Path

import pytest

from tony_py.application import Application
from tony_py.resolving import resolved
from tony_py.tonyconf.commands import from_options
from tony_py.tonyconf.documents import parse_document
from tony_py.tonyconf.mapping import Translation, translate
from tony_py.tonyconf.options import Options
from tony_py.tonyconf.settings import Settings, layered
from yarnmill.config import Config
from yarnmill.records import convert, parse_yaml_mapping

SHAPES = Path(__file__).parent / "tonyxml"

PS = Options(
    executes="train.py",
    task_params="--steps 100 --dir ${HOME}",
    python_binary_path="bin/python3",
    python_venv="env.zip",
    shell_env=("GRPC_VERBOSITY=INFO",),
)
LINES = {
    "ps": PS,
    "torch": Options(container_env=("SKIP_HADOOP_PATH=true",)),
    "horovod": Options(executes="mnist.py", python_binary_path="python3"),
    "tensorboard": Options(),
    "stages": Options(),
    "preprocess": Options(),
    "single": Options(executes="bash serve.sh"),
}


def translated(name: str, options: Options) -> Translation:
    file = SHAPES / f"{name}.xml"
    overrides = [f"tony.containers.command={from_options(options)}"] if options.executes else []
    values, _ = layered([parse_document(file.read_bytes(), str(file))], overrides)
    settings = Settings(values, {"TEAM": "ads"}, {"user.name": "ada"})
    return translate(settings, options, runs="hdfs:///runs", moment="moment", source=())


@pytest.mark.parametrize("name", LINES)
def test_a_configuration_means_what_our_own_says(name: str, config: Config) -> None:
    file = SHAPES / f"{name}.yaml"
    expected = convert(parse_yaml_mapping(file.read_text(), source=file.name), Application, source=file.name)
    application = translated(name, LINES[name]).application
    assert application == expected
    assert resolved(application, config).name == expected.name


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("ps", ["tony.task.executor.jvm.opts", "tony.history.location"]),
        ("torch", ["tony.application.security.enabled"]),
        ("horovod", ["tony.driver.instances", "tony.driver.memory"]),
        ("single", ["tony.am.retry-count", "tony.worker.memory"]),
        ("stages", []),
        ("preprocess", []),
        ("tensorboard", []),
    ],
)
def test_what_has_no_effect_is_named_with_a_reason(name: str, keys: list[str]) -> None:
    ignored = translated(name, LINES[name]).ignored
    assert [each.key for each in ignored] == keys
    assert all(each.reason for each in ignored)
