"""From TonY's settings and command line to an application: pure, so that a plan shows what would run."""

import re
from typing import Final

import msgspec

from tony_py.application import (
    Application,
    Budget,
    Docker,
    DriverSettings,
    Environment,
    Framework,
    RestartScope,
    Retries,
    TaskType,
    Timeouts,
)
from tony_py.tonyconf import commands, tasks
from tony_py.tonyconf.groups import with_lingering
from tony_py.tonyconf.ignored import ineffective
from tony_py.tonyconf.keys import closest, find
from tony_py.tonyconf.limits import refuse_over_limits
from tony_py.tonyconf.options import Options
from tony_py.tonyconf.resources import parse_resources
from tony_py.tonyconf.settings import Ignored, Settings
from yarnmill import fs
from yarnmill.errors import ConfigurationError
from yarnmill.records import Record
from yarnmill.units import Seconds

_FRAMEWORKS: Final[dict[str, Framework]] = {
    "tensorflow": "tensorflow",
    "pytorch": "torch",
    "horovod": "horovod",
    "mxnet": "mxnet",
    "standalone": "standalone",
}
_LEAST_MISSED_HEARTBEATS: Final = 3
_FOR_EVER: Final = Budget(retries=1_000_000, backoff=Seconds(2.0))
"""TonY waits for containers without end where no timeout is set; so does a gang that asks again and again."""


class Translation(Record, frozen=True, kw_only=True):
    """The application, and the keys that have no effect in it."""

    application: Application
    ignored: tuple[Ignored, ...]


def translate(settings: Settings, options: Options, *, runs: str, moment: str, source: tuple[str, ...]) -> Translation:
    """Return the application that a configuration of TonY's and its command line mean.

    Parameters
    ----------
    settings
        The layered configuration; ``--executes`` and ``--sidecar_tensorboard_log_dir`` stand in it already.
    options
        The command line.
    runs
        URL of the folder below which the application gets an output of its own: TonY's jobs name none.
    moment
        Name that no other submission has.
    source
        Local paths whose content ``options.src_dir`` is.

    Raises
    ------
    ConfigurationError
        If a key is unknown or asks for what cannot be had, a value cannot be meant, or a limit is exceeded.
    """
    _refuse_keys(settings)
    framework = _framework(settings)
    counts, ignored = tasks.asked_types(settings, framework)
    is_single = not counts
    types = {tasks.SINGLE: tasks.single_type(settings, options)} if is_single else _types(settings, options, counts)
    refuse_over_limits(settings, types)
    name = settings.text("tony.application.name", "TonyApplication")
    restart: RestartScope = "task" if _is_first_come(settings) else "auto"
    application = Application(
        name=name,
        framework="standalone" if is_single else framework,
        types=types,
        output=fs.join(runs, "tony", _path_name(name), moment),
        queue=settings.text("tony.yarn.queue"),
        tags=settings.names("tony.application.tags"),
        node_label=settings.text("tony.application.node-label"),
        source=source,
        files=_files(settings, options),
        file_systems=settings.names("tony.other.namenodes"),
        environment=_environment(settings, options),
        driver=DriverSettings() if is_single else _driver(settings, options),
        timeouts=_timeouts(settings),
        retries=_retries(settings, is_single=is_single),
        restart=restart,
    )
    return Translation(application=application, ignored=(*ignored, *ineffective(settings, counts)))


def _types(settings: Settings, options: Options, counts: dict[str, int]) -> dict[str, TaskType]:
    if settings.flag("tony.application.single-node"):
        raise settings.wrong("tony.application.single-node", expected=f"no instances, not {', '.join(counts)}")
    return with_lingering(settings, tasks.task_types(settings, options, counts))


def _refuse_keys(settings: Settings) -> None:
    problems: list[str] = []
    for entry in settings.entries:
        known = find(entry.name)
        if known is None and entry.name.startswith("tony."):
            near = closest(entry.name)
            problems.append(f"{entry.source}: {entry.name}: unknown key" + (f"; do you mean {near}?" if near else ""))
        elif known is not None and known.key.refused and settings.text(entry.name).lower() not in {"", "false"}:
            problems.append(f"{entry.source}: {entry.name}: {known.key.refused}")
    if problems:
        raise ConfigurationError(
            "\n".join(problems), expected="keys of TonY's, with types of tasks in lower-case letters alone"
        )


def _framework(settings: Settings) -> Framework:
    name = settings.text("tony.application.framework", "tensorflow").lower()
    if name not in _FRAMEWORKS:
        raise settings.wrong("tony.application.framework", expected=f"one of {', '.join(_FRAMEWORKS)}")
    if settings.text("tony.application.distributed-mode", "GANG").upper() not in {"GANG", "FCFS"}:
        raise settings.wrong("tony.application.distributed-mode", expected="GANG or FCFS")
    if name == "horovod" and _is_first_come(settings):
        raise settings.wrong("tony.application.distributed-mode", expected="GANG: Horovod's ranks need each other")
    return _FRAMEWORKS[name]


def _is_first_come(settings: Settings) -> bool:
    return settings.text("tony.application.distributed-mode").upper() == "FCFS"


def _files(settings: Settings, options: Options) -> dict[str, str]:
    files = parse_resources(settings, "tony.containers.resources")
    if settings.flag("tony.application.enable-preprocess"):
        files |= parse_resources(settings, "tony.am.resources")
    for key, name in (("hdfs-conf-path", "hdfs-site.xml"), ("yarn-conf-path", "yarn-site.xml")):
        if settings.text(f"tony.application.{key}"):
            files[name] = commands.literal(settings.text(f"tony.application.{key}"))
    files |= {url.rpartition("/")[2]: commands.literal(url) for url in options.classpath_urls}
    if options.python_venv and not commands.has_python(options):
        files[f"{commands.VENV}/"] = commands.literal(options.python_venv)
    return files


def _environment(settings: Settings, options: Options) -> Environment:
    """Return the Python of the executors: the user's own where it is known to be on the nodes."""
    binary = options.python_binary_path
    docker = _docker(settings)
    if commands.has_python(options):
        return Environment(archive=commands.literal(options.python_venv), binary=binary, docker=docker)
    if settings.flag("tony.docker.enabled"):
        return Environment(python=binary or "python3", docker=docker)
    return Environment(python=binary if binary.startswith("/") else "", docker=docker)


def _docker(settings: Settings) -> Docker:
    if not settings.flag("tony.docker.enabled"):
        return Docker()
    image = settings.text("tony.docker.containers.image")
    if not image and not any(_is_image(entry.name) for entry in settings.entries):
        raise settings.wrong("tony.docker.enabled", expected="tony.docker.containers.image as well")
    return Docker(image=image, mounts=settings.names("tony.docker.containers.mount"))


def _is_image(name: str) -> bool:
    known = find(name)
    return known is not None and known.key.name == "tony.docker.<type>.image"


def _driver(settings: Settings, options: Options) -> DriverSettings:
    label = settings.text("tony.am.node-label")
    if label and label != settings.text("tony.application.node-label"):
        raise settings.wrong("tony.am.node-label", expected="tony.application.node-label: the driver has no other")
    given = DriverSettings(
        vcores=settings.number("tony.am.vcores", 1),
        gpus=settings.number("tony.am.gpus", 0),
        prepare=_prepare(settings, options),
    )
    if "tony.am.memory" not in settings:
        return given
    return msgspec.structs.replace(given, memory=settings.memory("tony.am.memory", "2g"))


def _prepare(settings: Settings, options: Options) -> str:
    if not settings.flag("tony.application.enable-preprocess"):
        return ""
    command = settings.text("tony.am.command") or settings.text("tony.containers.command")
    if not command:
        raise settings.wrong("tony.application.enable-preprocess", expected="tony.am.command or --executes as well")
    env = {
        **tasks.container_variables(settings, options),
        **settings.pairs("tony.execution.envs"),
        **options.shell_variables,
    }
    return commands.for_preprocess(command, env, options)


def _timeouts(settings: Settings) -> Timeouts:
    given: dict[str, Seconds] = {"run": settings.seconds("tony.application.timeout")}
    if settings.seconds("tony.container.allocation.timeout"):
        given["gang"] = settings.seconds("tony.container.allocation.timeout")
    for key, unit_s in (("tony.task.registration-timeout-sec", 1.0), ("tony.container.registration.timeout", 0.001)):
        if key in settings:
            given["register"] = settings.seconds(key, unit_s)
    interval, missed = "tony.task.heartbeat-interval-ms", "tony.task.max-missed-heartbeats"
    if interval in settings or missed in settings:
        count = max(_LEAST_MISSED_HEARTBEATS, settings.number(missed, 25))
        given["heartbeat"] = Seconds(settings.number(interval, 1000) * 0.001 * count)
    return Timeouts(**given)


def _retries(settings: Settings, *, is_single: bool) -> Retries:
    count = 0 if is_single else max(0, settings.number("tony.am.retry-count", 0))
    return Retries(
        user=count, oom=count, gang=0 if settings.seconds("tony.container.allocation.timeout") else _FOR_EVER
    )


def _path_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "application"
