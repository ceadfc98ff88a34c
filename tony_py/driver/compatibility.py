"""The names under which programs that were written for TonY or tf-yarn look for what they need: pure functions.

They stand beside the names of this package, which say the same. A name that the framework itself reads
(``RANK``, ``TF_CONFIG``) is the framework's, in :mod:`tony_py.driver.frameworks`.
"""

import json
from collections.abc import Mapping
from typing import Final

from tony_py.application import Application, render_parameter
from tony_py.driver.tasks import Endpoint, TaskId

MODEL_PARAMETERS: Final = "model_params"
"""Parameter that TonY's preprocessing gives the tasks."""

_TENSORBOARD: Final = "tensorboard"


def variables_of_task(application: Application, task: TaskId, endpoints: Mapping[TaskId, Endpoint]) -> dict[str, str]:
    """Return what TonY tells a task of itself and of the others.

    ``TASK_NUM`` counts the tasks that the application waits for. Only the leading task finds ``IS_CHIEF``, and
    only the one that is to serve a page finds ``TB_PORT``.
    """
    addresses: dict[str, list[str]] = {}
    for each, endpoint in endpoints.items():
        addresses.setdefault(each.type, []).append(f"{endpoint.host}:{endpoint.port}")
    environment = {
        "JOB_NAME": task.type,
        "TASK_INDEX": str(task.index),
        "TASK_NUM": str(sum(application.types[each.type].is_tracked for each in endpoints)),
        "CLUSTER_SPEC": json.dumps(addresses),
        "DISTRIBUTED_MODE": "GANG",
    }
    if _leads(application, task):
        environment["IS_CHIEF"] = "true"
    if _serves_page(application, task):
        environment["TB_PORT"] = str(endpoints[task].spare_port)
    if MODEL_PARAMETERS in application.parameters:
        environment["MODEL_PARAMS"] = render_parameter(application.parameters[MODEL_PARAMETERS])
    return environment


def variables_of_run(common: Mapping[str, str]) -> dict[str, str]:
    """Return what TonY and tf-yarn tell of the run, from this package's own names: tries count from 0."""
    application_id = common.get("TONY_APPLICATION_ID", "")
    tries = str(int(common.get("TONY_GENERATION", "1")) - 1)
    return {
        "APP_ID": application_id,
        "JOB_ID": application_id,
        "appid": application_id,
        "ATTEMPT_NUMBER": "0",
        "SESSION_ID": tries,
        "NUM_AM_RETRIES": tries,
        "TF_YARN_N_TRY": tries,
    }


def _leads(application: Application, task: TaskId) -> bool:
    kinds = application.types
    named = [name for name, kind in kinds.items() if kind.role == "chief" or kind.leader]
    names = named or [name for name in ("chief", "worker") if name in kinds][:1]
    return task.type in names and task.index == 0


def _serves_page(application: Application, task: TaskId) -> bool:
    serving = [name for name, kind in application.types.items() if kind.page or name == _TENSORBOARD]
    return task.type in serving if serving else _leads(application, task)
