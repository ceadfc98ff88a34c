import json

from tony_py.application import Application, TaskType
from tony_py.driver.frameworks import task_environment
from tony_py.driver.tasks import Endpoint, TaskId, slots


def gang(framework: str, **types: int) -> tuple[Application, dict[TaskId, Endpoint]]:
    application = Application(
        name="a",
        framework=framework,  # type: ignore[arg-type]
        types={name: TaskType(command="x", instances=count, env={"OWN": name}) for name, count in types.items()},
        output="o",
        parameters={"rate": 0.1, "fast": True},
    )
    return application, {task: Endpoint(f"host-{task.type}", 7000 + task.index) for task in slots(application)}


def test_torch_ranks_are_distinct_over_all_types_and_share_one_master() -> None:
    application, endpoints = gang("torch", chief=1, worker=2)
    environments = [task_environment(application, task, endpoints) for task in endpoints]
    assert [env["RANK"] for env in environments] == ["0", "1", "2"]
    assert {env["WORLD_SIZE"] for env in environments} == {"3"}
    assert {(env["MASTER_ADDR"], env["MASTER_PORT"]) for env in environments} == {("host-chief", "7000")}
    assert {env["LOCAL_RANK"] for env in environments} == {"0"}


def test_tensorflow_finds_the_whole_cluster_and_itself() -> None:
    application, endpoints = gang("tensorflow", worker=2, ps=1, evaluator=1)
    config = json.loads(task_environment(application, TaskId("worker", 1), endpoints)["TF_CONFIG"])
    assert config == {
        "cluster": {"worker": ["host-worker:7000", "host-worker:7001"], "ps": ["host-ps:7000"]},
        "task": {"type": "worker", "index": 1},
    }


def test_every_framework_gets_parameters_and_its_own_variables() -> None:
    application, endpoints = gang("standalone", worker=1)
    environment = task_environment(application, TaskId("worker", 0), endpoints)
    assert environment["TONY_PARAM_RATE"] == "0.1"
    assert environment["TONY_PARAM_FAST"] == "true"
    assert environment["OWN"] == "worker"
    assert "TF_CONFIG" not in environment
