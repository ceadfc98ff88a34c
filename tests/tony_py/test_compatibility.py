"""The names that programs written for TonY and tf-yarn look for."""

import json

import pytest

from tony_py.application import Application, TaskType
from tony_py.driver.compatibility import variables_of_run
from tony_py.driver.frameworks import task_environment
from tony_py.driver.tasks import Endpoint, slots
from tony_py.resolving import resolved
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError


def environments(framework: str, types: dict[str, TaskType], **parameters: str) -> dict[str, dict[str, str]]:
    application = Application(
        name="a",
        framework=framework,  # type: ignore[arg-type]
        types=types,
        output="o",
        parameters=parameters,  # type: ignore[arg-type]
    )
    endpoints = {
        task: Endpoint(f"{task.type}-host", 7000 + task.index, 9000 + task.index) for task in slots(application)
    }
    return {str(task): task_environment(application, task, endpoints) for task in endpoints}


def kind(instances: int = 1, **values: object) -> TaskType:
    return TaskType(command="x", instances=instances, **values)  # type: ignore[arg-type]


def test_a_program_of_tonys_finds_itself_and_the_others() -> None:
    found = environments(
        "tensorflow", {"worker": kind(2), "ps": kind(role="untracked"), "tensorboard": kind(role="sidecar")}
    )
    env = found["worker:1"]
    assert (env["JOB_NAME"], env["TASK_INDEX"], env["TASK_NUM"]) == ("worker", "1", "2")
    assert env["DISTRIBUTED_MODE"] == "GANG"
    assert json.loads(env["CLUSTER_SPEC"]) == {
        "worker": ["worker-host:7000", "worker-host:7001"],
        "ps": ["ps-host:7000"],
        "tensorboard": ["tensorboard-host:7000"],
    }
    assert "tensorboard" not in json.loads(env["TF_CONFIG"])["cluster"]
    assert found["tensorboard:0"]["JOB_NAME"] == "tensorboard"


@pytest.mark.parametrize(
    ("types", "leading"),
    [
        ({"worker": kind(2)}, "worker:0"),
        ({"chief": kind(), "worker": kind(2)}, "chief:0"),
        ({"worker": kind(2), "boss": kind(leader=True)}, "boss:0"),
        ({"worker": kind(2), "master": kind(role="chief")}, "master:0"),
    ],
)
def test_only_the_leading_task_is_chief_and_serves_the_page(types: dict[str, TaskType], leading: str) -> None:
    found = environments("torch", types)
    assert [task for task, env in found.items() if "IS_CHIEF" in env] == [leading]
    assert found[leading]["IS_CHIEF"] == "true"
    assert {task: env["TB_PORT"] for task, env in found.items() if "TB_PORT" in env} == {leading: "9000"}


@pytest.mark.parametrize("types", [{"tensorboard": kind()}, {"board": kind(page="Board")}])
def test_a_task_that_is_there_for_its_page_has_the_port_of_it(types: dict[str, TaskType]) -> None:
    found = environments("standalone", {"worker": kind(2), **types})
    assert [task for task, env in found.items() if "TB_PORT" in env] == [f"{next(iter(types))}:0"]


def test_torch_under_both_names() -> None:
    for env in environments("torch", {"worker": kind(2, processes=2)}).values():
        assert env["WORLD"] == env["WORLD_SIZE"] == "4"
        assert env["INIT_METHOD"] == "tcp://worker-host:7000"


def test_parameters_of_the_preprocessing() -> None:
    assert environments("standalone", {"worker": kind()}, model_params="--n 5")["worker:0"]["MODEL_PARAMS"] == "--n 5"
    assert "MODEL_PARAMS" not in environments("standalone", {"worker": kind()})["worker:0"]


def test_mxnet_meets_at_its_scheduler() -> None:
    found = environments("mxnet", {"worker": kind(2), "server": kind(3), "scheduler": kind()})
    assert {name: value for name, value in found["server:2"].items() if name.startswith("DMLC_")} == {
        "DMLC_ROLE": "server",
        "DMLC_PS_ROOT_URI": "scheduler-host",
        "DMLC_PS_ROOT_PORT": "7000",
        "DMLC_NUM_SERVER": "3",
        "DMLC_NUM_WORKER": "2",
        "DMLC_LOCAL": "0",
    }


def test_mxnet_without_a_scheduler_is_refused(config: Config) -> None:
    application = Application(name="a", framework="mxnet", types={"worker": kind()}, output="o")
    with pytest.raises(ConfigurationError, match="no scheduler"):
        resolved(application, config)


def test_what_the_application_sets_itself_goes_over_all() -> None:
    env = environments("torch", {"worker": kind(env={"JOB_NAME": "mine", "RANK": "7"})})["worker:0"]
    assert (env["JOB_NAME"], env["RANK"]) == ("mine", "7")


def test_the_run_by_its_other_names() -> None:
    first = variables_of_run({"TONY_APPLICATION_ID": "application_1", "TONY_GENERATION": "1"})
    assert {first[name] for name in ("APP_ID", "JOB_ID", "appid")} == {"application_1"}
    assert {first[name] for name in ("SESSION_ID", "NUM_AM_RETRIES", "TF_YARN_N_TRY", "ATTEMPT_NUMBER")} == {"0"}
    third = variables_of_run({"TONY_APPLICATION_ID": "application_1", "TONY_GENERATION": "3"})
    assert {third[name] for name in ("SESSION_ID", "NUM_AM_RETRIES", "TF_YARN_N_TRY")} == {"2"}
