"""What each framework wants to find in its environment once everybody's address is known: pure functions.

A task's rank counts over all types in the order in which the application lists them; sidecars have none.
"""

import json
from collections.abc import Mapping
from typing import Final

from tony_py.application import Application, render_parameter
from tony_py.driver.compatibility import variables_of_task
from tony_py.driver.horovod import horovod_environment
from tony_py.driver.tasks import Endpoint, TaskId

_OUTSIDE_TENSORFLOW_CLUSTER: Final = "evaluator"


def task_environments(
    application: Application, task: TaskId, endpoints: Mapping[TaskId, Endpoint]
) -> list[dict[str, str]]:
    """Return the variables of each process of a task, by local rank."""
    processes = application.types[task.type].processes
    return [task_environment(application, task, endpoints, local_rank) for local_rank in range(processes)]


def task_environment(
    application: Application, task: TaskId, endpoints: Mapping[TaskId, Endpoint], local_rank: int = 0
) -> dict[str, str]:
    """Return all variables of one process: addresses, parameters, then what the application sets itself."""
    ranked = [each for each in endpoints if application.types[each.type].role != "sidecar"]
    environment = {
        "TONY_JOB_TYPE": task.type,
        "TONY_TASK_INDEX": str(task.index),
        "TONY_TASK_COUNT": str(sum(each.type == task.type for each in endpoints)),
        "TONY_HOST": endpoints[task].host,
        "TONY_PORT": str(endpoints[task].port),
        "TONY_SPARE_PORT": str(endpoints[task].spare_port),
        "TONY_WORLD_SIZE": str(len(ranked)),
    }
    if task in ranked:
        environment["TONY_RANK"] = str(ranked.index(task))
    environment |= {f"TONY_PARAM_{k.upper()}": render_parameter(v) for k, v in application.parameters.items()}
    environment |= variables_of_task(application, task, endpoints)
    if task in ranked:
        members = {each: endpoints[each] for each in ranked}
        environment |= framework_environment(application, task, members, local_rank)
    return environment | application.types[task.type].env


def framework_environment(
    application: Application, task: TaskId, endpoints: Mapping[TaskId, Endpoint], local_rank: int
) -> dict[str, str]:
    """Return the variables that the framework itself reads."""
    match application.framework:
        case "torch":
            return _torch(application, task, endpoints, local_rank)
        case "tensorflow":
            return _tensorflow(task, endpoints)
        case "mxnet":
            return _mxnet(task, endpoints)
        case "horovod":
            return horovod_environment(application, task, endpoints, local_rank)
        case "standalone":
            return {}


def _torch(
    application: Application, task: TaskId, endpoints: Mapping[TaskId, Endpoint], local_rank: int
) -> dict[str, str]:
    order = list(endpoints)
    processes = [application.types[each.type].processes for each in order]
    at = order.index(task)
    master = endpoints[order[0]]
    return {
        "RANK": str(sum(processes[:at]) + local_rank),
        "LOCAL_RANK": str(local_rank),
        "GROUP_RANK": str(at),
        "WORLD_SIZE": str(sum(processes)),
        "LOCAL_WORLD_SIZE": str(processes[at]),
        "MASTER_ADDR": master.host,
        "MASTER_PORT": str(master.port),
        "WORLD": str(sum(processes)),  # TonY's names of the same
        "INIT_METHOD": f"tcp://{master.host}:{master.port}",
    }


def _tensorflow(task: TaskId, endpoints: Mapping[TaskId, Endpoint]) -> dict[str, str]:
    cluster: dict[str, list[str]] = {}
    for member, endpoint in endpoints.items():
        if member.type != _OUTSIDE_TENSORFLOW_CLUSTER:  # it reads checkpoints, and talks to nobody
            cluster.setdefault(member.type, []).append(f"{endpoint.host}:{endpoint.port}")
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": task.type, "index": task.index}})}


def _mxnet(task: TaskId, endpoints: Mapping[TaskId, Endpoint]) -> dict[str, str]:
    scheduler = endpoints[TaskId("scheduler", 0)]
    return {
        "DMLC_ROLE": task.type,
        "DMLC_PS_ROOT_URI": scheduler.host,
        "DMLC_PS_ROOT_PORT": str(scheduler.port),
        "DMLC_NUM_SERVER": str(sum(each.type == "server" for each in endpoints)),
        "DMLC_NUM_WORKER": str(sum(each.type == "worker" for each in endpoints)),
        "DMLC_LOCAL": "0",
    }
