from pathlib import Path

import pytest

from tony_py.application import Application, DriverSettings, Environment, TaskType
from tony_py.loading import load_application, with_overrides
from tony_py.resolving import resolved
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError, NotFoundError, YarnMillError
from yarnmill.units import Mebibytes, Seconds

APPLICATION = """
name: rater
framework: torch
types:
  worker: {instances: 2, memory: 2 GiB, command: "python train.py --epochs ${epochs} --data ${data}"}
output: hdfs:///runs/rater/
inputs: ["${data}"]
parameters: {epochs: 3, data: hdfs:///data set, fast: true}
source: [train.py, ../shared]
"""


def write(folder: Path, text: str = APPLICATION) -> Path:
    file = folder / "app.yaml"
    file.write_text(text)
    return file


def test_memory_has_a_unit_and_source_is_beside_the_file(tmp_path: Path) -> None:
    application = load_application(write(tmp_path))
    assert application.types["worker"].memory == 2048
    assert application.source == (str(tmp_path / "train.py"), str(tmp_path.parent / "shared"))


def test_an_override_changes_one_key_and_keeps_its_neighbours(tmp_path: Path) -> None:
    application = load_application(write(tmp_path), ["types.worker.instances=4", "parameters.epochs=9", "queue=gpu"])
    assert application.types["worker"].instances == 4
    assert application.types["worker"].memory == 2048
    assert application.parameters["epochs"] == 9
    assert application.queue == "gpu"


def test_overrides_of_an_application_that_no_file_holds() -> None:
    kind = TaskType(command="x", memory=Mebibytes(512), linger=Seconds(60.0))
    application = Application(name="a", framework="torch", types={"worker": kind}, output="o")
    assert with_overrides(application, []) == application
    changed = with_overrides(application, ["types.worker.memory=2 GiB", "retries.gang.retries=7"])
    assert changed.types["worker"].memory == 2048
    assert changed.types["worker"].linger == 60.0
    assert changed.retries.of("gang").retries == 7


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("types.worker.cores=4", ["--set types.worker.cores=4", "types", "cores", "unknown key"]),
        ("types.worker.memory=2 parsecs", ["--set types.worker.memory", "parsecs"]),
        ("framework=jax", ["framework", "jax"]),
        ("queue", ["no key=value"]),
    ],
)
def test_a_wrong_override_is_named(tmp_path: Path, override: str, names: list[str]) -> None:
    with pytest.raises(ConfigurationError) as error:
        load_application(write(tmp_path), [override])
    assert all(name in str(error.value) for name in names)


def test_an_unknown_key_is_named_with_its_file(tmp_path: Path) -> None:
    file = write(tmp_path, APPLICATION + "retrys: 3\n")
    with pytest.raises(ConfigurationError, match="retrys: unknown key") as error:
        load_application(file)
    assert str(file) in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such application file"):
        load_application(tmp_path / "nothing.yaml")


def test_parameters_stand_in_commands_quoted_and_in_urls_plain(tmp_path: Path, config: Config) -> None:
    application = resolved(load_application(write(tmp_path)), config)
    assert application.types["worker"].command == "python train.py --epochs 3 --data 'hdfs:///data set'"
    assert application.inputs == ("hdfs:///data set",)
    assert application.output == "hdfs:///runs/rater"
    assert application.queue == config.training.queue
    assert application.environment.python == config.training_python
    assert application.timeouts.gang == config.training.gang_timeout


def test_a_parameter_that_is_not_there_is_refused_and_the_shells_own_is_kept(tmp_path: Path, config: Config) -> None:
    text = APPLICATION.replace('${data}"}', '$${HOME} $HOME"}')
    application = resolved(load_application(write(tmp_path, text)), config)
    assert application.types["worker"].command.endswith("--data ${HOME} $HOME")
    with pytest.raises(ConfigurationError, match=r"types\.worker\.command: \$\{epoch\} names no parameter") as error:
        resolved(load_application(write(tmp_path, text.replace("${epochs}", "${epoch}"))), config)
    assert "data, epochs, fast" in str(error.value)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"name": " "}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"types": {}}, "types"),
        ({"types": {"driver": TaskType(command="true")}}, "types.driver"),
        ({"types": {"worker": TaskType(command="true", instances=0)}}, "types.worker.instances"),
        ({"types": {"worker": TaskType(command=" ")}}, "types.worker.command"),
        ({"types": {"worker": TaskType(command="true", role="untracked")}}, "types"),
        ({"parameters": {"Learning-Rate": 1}}, "parameters.Learning-Rate"),
        ({"driver": DriverSettings(gpus=-1)}, "driver.gpus"),
        ({"environment": Environment(archive="e.zip", binary="/bin/python")}, "environment.binary"),
        ({"environment": Environment(archive="e.zip", binary="../bin/python")}, "environment.binary"),
    ],
)
def test_what_cannot_be_meant_is_refused(config: Config, changes: dict[str, object], key: str) -> None:
    values = {"name": "a", "framework": "torch", "types": {"worker": TaskType(command="true")}, "output": "o"}
    with pytest.raises(YarnMillError, match=f"^{key}: "):
        resolved(Application(**{**values, **changes}), config)  # type: ignore[arg-type]
