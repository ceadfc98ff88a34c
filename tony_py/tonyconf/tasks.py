"""The types of tasks that a TonY configuration asks for."""

from collections.abc import Mapping
from typing import Final

import msgspec

from tony_py.application import RESERVED_TYPES, Framework, Role, TaskType
from tony_py.tonyconf import commands
from tony_py.tonyconf.keys import find
from tony_py.tonyconf.options import Options
from tony_py.tonyconf.resources import parse_resources
from tony_py.tonyconf.settings import Ignored, Settings
from yarnmill.errors import ConfigurationError
from yarnmill.units import Seconds

SINGLE: Final = "single"
"""The one type of a configuration that asks for no instances: TonY runs it in its master."""

TENSORBOARD: Final = "tensorboard"

_FIRST: Final = ("chief", "worker")
_MEMORY: Final = "2g"
_TENSORBOARD_VCORES: Final = 2
_PARAMETER_SERVERS: Final = ("ps", "server")


def asked_types(settings: Settings, framework: Framework) -> tuple[dict[str, int], list[Ignored]]:
    """Return the instances of each type that is asked for, in order of rank, and what is left out.

    Raises
    ------
    ConfigurationError
        If a type has a name that this package needs itself.
    """
    counts: dict[str, int] = {}
    ignored: list[Ignored] = []
    for entry in settings.entries:
        known = find(entry.name)
        if known is None or known.key.name != "tony.<type>.instances":
            continue
        count = settings.number(entry.name, 0)
        if framework == "horovod" and known.type == "driver":
            ignored.append(Ignored(key=entry.name, reason="Horovod's rendezvous runs in the driver, in no container"))
        elif count < 0:
            raise settings.wrong(entry.name, expected="0 or more")
        elif count > 0:
            counts[known.type] = count
    if tensorboard_log_dir(settings):
        counts[TENSORBOARD] = 1
    for name in sorted(RESERVED_TYPES & set(counts)):
        key = f"tony.{name}.instances"
        raise settings.wrong(key, expected=f"another name than {name}", mend="rename this type of task")
    order = [name for name in _FIRST if name in counts] + [name for name in counts if name not in _FIRST]
    return {name: counts[name] for name in order}, ignored


def tensorboard_log_dir(settings: Settings) -> str:
    """Return what the sidecar TensorBoard shows; empty if there is none."""
    return settings.text("tony.application.tensorboard-log-dir")


def task_types(settings: Settings, options: Options, counts: Mapping[str, int]) -> dict[str, TaskType]:
    """Return the types of a distributed application."""
    env = variables(settings, options)
    if tensorboard_log_dir(settings):
        env["TB_LOG_DIR"] = commands.literal(tensorboard_log_dir(settings))
    if settings.text("tony.application.distributed-mode").upper() == "FCFS":
        env["DISTRIBUTED_MODE"] = "FCFS"
    types = {name: _task_type(settings, options, name, count, env) for name, count in counts.items()}
    return _with_failures(settings, _with_stages(settings, types))


def single_type(settings: Settings, options: Options) -> TaskType:
    """Return the one task of single-node mode, with what TonY's master was given."""
    return TaskType(
        command=commands.for_task(_command(settings, "am"), container_variables(settings, options), options, home=True),
        memory=settings.memory("tony.am.memory", _MEMORY),
        vcores=settings.number("tony.am.vcores", 1),
        gpus=settings.number("tony.am.gpus", 0),
        env={**variables(settings, options), "PREPROCESSING_JOB": "true"},
        files=parse_resources(settings, "tony.am.resources"),
        node_label=settings.text("tony.am.node-label"),
        role="chief",
        timeout=_timeout(settings),
    )


def variables(settings: Settings, options: Options) -> dict[str, str]:
    """Return the variables of every program: the container's, and over them the program's own."""
    plain = {name: value for name, value in container_variables(settings, options).items() if "$" not in value}
    found = {**plain, **settings.pairs("tony.execution.envs"), **options.shell_variables}
    return {name: commands.literal(value) for name, value in found.items()}


def container_variables(settings: Settings, options: Options) -> dict[str, str]:
    """Return the variables that YARN would set, and expand, for each container."""
    return {**settings.pairs("tony.containers.envs"), **options.container_variables}


def _task_type(settings: Settings, options: Options, name: str, count: int, env: Mapping[str, str]) -> TaskType:
    key = f"tony.{name}"
    is_tensorboard = name == TENSORBOARD and bool(tensorboard_log_dir(settings))
    command = settings.text(f"{key}.command")
    if not command and is_tensorboard:
        command = commands.for_tensorboard(commands.interpreter(options))
    return TaskType(
        command=commands.for_task(command or _command(settings, name), container_variables(settings, options), options),
        instances=count,
        memory=settings.memory(f"{key}.memory", _MEMORY),
        vcores=settings.number(f"{key}.vcores", _TENSORBOARD_VCORES if is_tensorboard else 1),
        gpus=settings.number(f"{key}.gpus", 0),
        env=dict(env),
        files=parse_resources(settings, f"{key}.resources"),
        node_label=settings.text(f"{key}.node-label"),
        image=settings.text(f"tony.docker.{name}.image") if settings.flag("tony.docker.enabled") else "",
        role=_role(settings, name),
        depends_on=settings.names(f"{key}.depends-on"),
        timeout=_timeout(settings),
        page="TensorBoard" if is_tensorboard else "",
    )


def _command(settings: Settings, name: str) -> str:
    found = settings.text(f"tony.{name}.command") or settings.text("tony.containers.command")
    if not found:
        raise ConfigurationError(
            f"tony.{name}.command: the tasks of {name} have nothing to run",
            expected=f"tony.{name}.command, tony.containers.command or --executes",
        )
    return found


def _role(settings: Settings, name: str) -> Role:
    if name in settings.names("tony.application.sidecar.jobtypes", TENSORBOARD) or (
        name == TENSORBOARD and tensorboard_log_dir(settings)
    ):
        return "sidecar"
    return "untracked" if name in settings.names("tony.application.untracked.jobtypes", "ps") else "worker"


def _timeout(settings: Settings) -> Seconds:
    return settings.seconds("tony.task.executor.execution-timeout-ms") or settings.seconds("tony.worker.timeout")


def _with_stages(settings: Settings, types: dict[str, TaskType]) -> dict[str, TaskType]:
    """Let the types of the training stage wait for the tracked ones of the prepare stage."""
    keys = ("tony.application.prepare-stage", "tony.application.training-stage")
    first, second = (settings.names(key) for key in keys)
    if not first and not second:
        return types
    first = first or tuple(name for name in types if name not in second)
    second = second or tuple(name for name in types if name not in first)
    for key, names in zip(keys, (first, second), strict=True):
        if not set(names) <= set(types):
            raise settings.wrong(key, expected=f"types that have instances: {', '.join(types)}")
    if sorted(first + second) != sorted(types):
        missing = ", ".join(name for name in types if (first + second).count(name) != 1)
        raise ConfigurationError(f"{keys[0]}, {keys[1]}: {missing} must stand in one of the two stages")
    tracked = tuple(name for name in first if types[name].is_tracked)
    return {
        name: msgspec.structs.replace(kind, depends_on=tuple(dict.fromkeys(kind.depends_on + tracked)))
        if name in second
        else kind
        for name, kind in types.items()
    }


def _with_failures(settings: Settings, types: dict[str, TaskType]) -> dict[str, TaskType]:
    """Say whose failure ends the application.

    TonY goes on without a failed worker unless it leads. That makes sense only where workers do not wait for
    each other, with parameter servers; elsewhere the others would hang, and the failure is told at once.
    """
    at_once = settings.names("tony.application.stop-on-failure-jobtypes")
    may_retry = settings.number("tony.am.retry-count", 0) > 0  # TonY retries such a failure too
    goes_on = any(name in types for name in _PARAMETER_SERVERS) and not settings.flag(
        "tony.application.fail-on-worker-failure-enabled"
    )
    leader = settings.text("tony.chief.name") or ("chief" if "chief" in types else "worker")
    if settings.number("tony.chief.index", 0) != 0:
        raise settings.wrong("tony.chief.index", expected="0: the first instance leads")

    def with_failures(name: str, kind: TaskType) -> TaskType:
        is_free = goes_on and name == "worker" and name not in at_once and kind.is_tracked
        return msgspec.structs.replace(
            kind,
            tolerate=kind.instances - 1 if is_free else 0,
            leader=name == leader,
            stop_on_failure=(name in at_once or name == "chief") and kind.is_tracked and not may_retry,
        )

    return {name: with_failures(name, kind) for name, kind in types.items()}
