"""What each framework wants to find in its environment once everybody's address is known: pure functions.

A task's rank counts over all types in the order in which the application lists them.
"""

import json
from collections.abc import Mapping
from typing import Final

from tony_py.application import Application, Framework, render_parameter
from tony_py.driver.tasks import Endpoint, TaskId

_OUTSIDE_TENSORFLOW_CLUSTER: Final = "evaluator"


def task_environment(application: Application, task: TaskId, endpoints: Mapping[TaskId, Endpoint]) -> dict[str, str]:
    """Return all variables of one task: addresses, parameters, then what the application sets itself."""
    order = list(endpoints)
    environment = {
        "TONY_JOB_TYPE": task.type,
        "TONY_TASK_INDEX": str(task.index),
        "TONY_TASK_COUNT": str(application.types[task.type].instances),
        "TONY_RANK": str(order.index(task)),
        "TONY_WORLD_SIZE": str(len(order)),
    }
    environment |= {f"TONY_PARAM_{k.upper()}": render_parameter(v) for k, v in application.parameters.items()}
    environment |= framework_environment(application.framework, task, endpoints)
    return environment | application.types[task.type].env


def framework_environment(framework: Framework, task: TaskId, endpoints: Mapping[TaskId, Endpoint]) -> dict[str, str]:
    """Return the variables that the framework itself reads."""
    match framework:
        case "torch":
            return _torch(task, endpoints)
        case "tensorflow":
            return _tensorflow(task, endpoints)
        case "standalone":
            return {}


def _torch(task: TaskId, endpoints: Mapping[TaskId, Endpoint]) -> dict[str, str]:
    order = list(endpoints)
    master = endpoints[order[0]]
    return {
        "RANK": str(order.index(task)),
        "LOCAL_RANK": "0",  # one process a container
        "WORLD_SIZE": str(len(order)),
        "LOCAL_WORLD_SIZE": "1",
        "MASTER_ADDR": master.host,
        "MASTER_PORT": str(master.port),
    }


def _tensorflow(task: TaskId, endpoints: Mapping[TaskId, Endpoint]) -> dict[str, str]:
    cluster: dict[str, list[str]] = {}
    for member, endpoint in endpoints.items():
        if member.type != _OUTSIDE_TENSORFLOW_CLUSTER:  # it reads checkpoints, and talks to nobody
            cluster.setdefault(member.type, []).append(f"{endpoint.host}:{endpoint.port}")
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": task.type, "index": task.index}})}
