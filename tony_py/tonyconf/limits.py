"""Limits that an administrator puts into TonY's configuration: what is over one is refused by its name."""

from collections.abc import Mapping

from tony_py.application import TaskType
from tony_py.tonyconf.keys import find
from tony_py.tonyconf.settings import Settings
from yarnmill.errors import ConfigurationError


def refuse_over_limits(settings: Settings, types: Mapping[str, TaskType]) -> None:
    """Raise if more is asked for than the configuration itself allows; a negative limit is none.

    Raises
    ------
    ConfigurationError
        Naming the key of the limit and what is asked for.
    """
    for name, kind in types.items():
        _refuse(settings, f"tony.{name}.max-instances", kind.instances, f"instances of {name}")
    for entry in settings.entries:
        known = find(entry.name)
        if known is None or not known.key.name.startswith("tony.task.max-total-"):
            continue
        resource = entry.name.removeprefix("tony.task.max-total-")
        _refuse(settings, entry.name, _total(settings, entry.name, resource, types), f"{resource} of all tasks")


def _total(settings: Settings, key: str, resource: str, types: Mapping[str, TaskType]) -> int:
    match resource:
        case "instances":
            return sum(kind.instances for kind in types.values())
        case "memory":
            return sum(int(kind.memory) * kind.instances for kind in types.values())
        case "vcores":
            return sum(kind.vcores * kind.instances for kind in types.values())
        case "gpus":
            return sum(kind.gpus * kind.instances for kind in types.values())
        case _:
            raise ConfigurationError(
                f"{settings.source(key)}: {key}: nobody can ask for {resource}",
                expected="a limit on instances, memory, vcores or gpus",
            )


def _refuse(settings: Settings, key: str, asked: int, what: str) -> None:
    limit = settings.number(key, -1)
    if 0 <= limit < asked:
        raise ConfigurationError(
            f"{settings.source(key)}: {key}: {asked} {what} asked for, {limit} allowed",
            expected=f"at most {limit}",
            mend="ask for less, or have the limit raised",
        )
