"""From an application as it was written to one as it runs: checked, defaults filled in, parameters substituted."""

import re
import shlex
from collections.abc import Mapping
from typing import Final

import msgspec

from tony_py.application import RESERVED_TYPES, Application, Environment, TaskType, render_parameter, stages
from tony_py.layout import is_pex
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError

_NAME: Final = re.compile(r"^[a-z][a-z0-9-]*$")
_PARAMETER: Final = re.compile(r"^[a-z][a-z0-9_]*$")
_TAG: Final = re.compile(r"^[\x21-\x2b\x2d-\x7e]{1,100}$")
_MOST_TAGS: Final = 8
_MOUNT: Final = re.compile(r"^/[^:,]*:/[^:,]*:(ro|rw)$")
_ON_THE_NODES: Final = "python://"
_REFERENCE: Final = re.compile(r"\$\$\{|\$\{(?P<name>[^}]*)\}")


def resolved(application: Application, config: Config) -> Application:
    """Return the application as it will run: checked, defaults filled in, parameters substituted.

    Raises
    ------
    ConfigurationError
        If a value cannot be meant or ``${name}`` names no parameter.
    """
    _check(application)
    text = _Substitution(application.parameters)
    types = {
        name: msgspec.structs.replace(
            kind,
            command=text.in_shell(kind.command, f"types.{name}.command"),
            env={key: text.plain(value, f"types.{name}.env.{key}") for key, value in kind.env.items()},
            files={key: text.plain(url, f"types.{name}.files.{key}") for key, url in kind.files.items()},
        )
        for name, kind in application.types.items()
    }
    environment, driver, timeouts = _environment(application, config, text), application.driver, application.timeouts
    return msgspec.structs.replace(
        application,
        types=types,
        queue=application.queue or config.training.queue,
        output=text.plain(application.output, "output").rstrip("/"),
        inputs=tuple(text.plain(url, f"inputs[{at}]") for at, url in enumerate(application.inputs)),
        files={key: text.plain(url, f"files.{key}") for key, url in application.files.items()},
        environment=environment,
        driver=msgspec.structs.replace(
            driver,
            python=driver.python or config.spark_python,
            prepare=text.in_shell(driver.prepare, "driver.prepare"),
        ),
        timeouts=timeouts
        if timeouts.gang is not None
        else msgspec.structs.replace(timeouts, gang=config.training.gang_timeout),
    )


def _environment(application: Application, config: Config, text: "_Substitution") -> Environment:
    given = application.environment
    python, archive = text.plain(given.python, "environment.python"), text.plain(given.archive, "environment.archive")
    if archive.startswith(_ON_THE_NODES):
        python, archive = archive.removeprefix(_ON_THE_NODES), ""
    if not python and not archive:  # an image brings its own
        own = config.horovod_python if application.framework == "horovod" else config.training_python
        python = "python3" if given.docker.image else own
    return msgspec.structs.replace(given, python=python, archive=archive)


class _Substitution:
    def __init__(self, parameters: Mapping[str, str | int | float | bool]) -> None:
        self._values = {name: render_parameter(value) for name, value in parameters.items()}

    def plain(self, text: str, key: str) -> str:
        return _REFERENCE.sub(lambda match: self._value(match, key), text)

    def in_shell(self, text: str, key: str) -> str:
        return _REFERENCE.sub(lambda m: m[0][1:] if m["name"] is None else shlex.quote(self._value(m, key)), text)

    def _value(self, match: re.Match[str], key: str) -> str:
        name = match["name"]
        if name is None:
            return match[0][1:]
        if name not in self._values:
            raise ConfigurationError(
                f"{key}: ${{{name}}} names no parameter",
                expected=f"one of {', '.join(sorted(self._values)) or '(no parameters are set)'}",
                mend=f"set parameters.{name}, or write $${{{name}}} for the shell's own variable",
            )
        return self._values[name]


def _check(application: Application) -> None:
    is_title = bool(application.name.strip()) and application.name.isprintable()
    _require(is_title, "name", repr(application.name), "one line of text")
    _require(bool(application.types), "types", "{}", "at least one type of task")
    for name in application.parameters:
        _require(_PARAMETER.match(name) is not None, f"parameters.{name}", name, "lower-case letters, digits and _")
    for name, kind in application.types.items():
        _check_type(f"types.{name}", name, kind)
        for other in kind.depends_on:
            _require(other in application.types, f"types.{name}.depends_on", other, "the name of another type")
        _require(
            not kind.is_elastic or application.restarts_gang or application.framework == "horovod",
            f"types.{name}",
            "min_instances without restart of the gang",
            "restart: gang, for only a gang that starts again, or Horovod, can take in or leave out a task",
        )
    _require(
        any(kind.is_tracked for kind in application.types.values()), "types", "no worker or chief", "one that ends"
    )
    has_root = application.framework != "mxnet" or "scheduler" in application.types
    _require(has_root, "types", "no scheduler", "one named scheduler: mxnet's tasks meet there")
    _require(bool(stages(application)), "types", "depends_on runs in a circle", "an order in which they can run")
    _require(application.driver.attempts >= 1, "driver.attempts", application.driver.attempts, "1 or more")
    _require(application.driver.gpus >= 0, "driver.gpus", application.driver.gpus, "0 or more")
    both = application.environment.python and application.environment.archive
    _require(
        not both or is_pex(application.environment),
        "environment",
        "python and archive",
        "one of the two, unless the archive is a .pex file, which runs under that python",
    )
    _check_for_yarn(application)


def _check_for_yarn(application: Application) -> None:
    """Check what YARN would refuse, or take and never show again."""
    tags, docker = application.tags, application.environment.docker
    for at, tag in enumerate(tags):
        _require(_TAG.match(tag) is not None, f"tags[{at}]", repr(tag), "up to 100 plain characters without a comma")
    _require(len(tags) <= _MOST_TAGS, "tags", f"{len(tags)} tags", f"at most {_MOST_TAGS}: YARN takes 10, two are ours")
    has_image = bool(docker.image) or any(kind.image for kind in application.types.values())
    _require(has_image or not docker.mounts, "environment.docker.mounts", docker.mounts, "an image as well")
    binary = application.environment.binary
    is_inside = bool(binary) and not binary.startswith("/") and ".." not in binary.split("/")
    _require(is_inside, "environment.binary", repr(binary), "a path within the archive, such as bin/python")
    for at, mount in enumerate(docker.mounts):
        expected = "absolute paths: source:target:ro or source:target:rw"
        _require(_MOUNT.match(mount) is not None, f"environment.docker.mounts[{at}]", repr(mount), expected)
    for at, url in enumerate(application.file_systems):
        _require("://" in url, f"file_systems[{at}]", repr(url), "a URL such as hdfs://other-cluster:8020")


def _check_type(key: str, name: str, kind: TaskType) -> None:
    _require(_NAME.match(name) is not None and name not in RESERVED_TYPES, key, name, "a name such as worker or chief")
    for field in ("instances", "processes", "vcores"):
        _require(getattr(kind, field) >= 1, f"{key}.{field}", getattr(kind, field), "1 or more")
    for field in ("gpus", "tolerate", "min_instances", "max_instances"):
        _require(getattr(kind, field) >= 0, f"{key}.{field}", getattr(kind, field), "0 or more")
    _require(kind.least <= kind.instances, f"{key}.min_instances", kind.least, f"at most instances ({kind.instances})")
    _require(
        kind.max_instances in range(kind.instances, kind.most + 1) or not kind.max_instances,
        f"{key}.max_instances",
        kind.max_instances,
        f"at least instances ({kind.instances})",
    )
    _require(kind.tolerate < kind.instances, f"{key}.tolerate", kind.tolerate, f"fewer than all {kind.instances}")
    _require(bool(kind.command.strip()), f"{key}.command", repr(kind.command), "a command line")


def _require(condition: bool, key: str, value: object, expected: str) -> None:  # noqa: FBT001  # reads like assert
    if not condition:
        raise ConfigurationError(f"{key}: {value} cannot be meant", expected=expected)
