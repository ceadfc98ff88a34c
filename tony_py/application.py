"""The application: what a person writes to have a gang of programs run on YARN.

Pure values: parsing refuses unknown keys with their path, :func:`resolved` fills defaults in and
substitutes parameters. Nothing here knows YARN's or Skein's interfaces, or what is being trained.
"""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import yaml

from yarnmill.config import Config
from yarnmill.errors import ConfigurationError, NotFoundError
from yarnmill.records import Record, convert, parse_yaml_mapping
from yarnmill.units import Mebibytes, Seconds

Framework = Literal["standalone", "tensorflow", "torch"]

_NAME: Final = re.compile(r"^[a-z][a-z0-9-]*$")
_PARAMETER: Final = re.compile(r"^[a-z][a-z0-9_]*$")
_REFERENCE: Final = re.compile(r"\$\$\{|\$\{(?P<name>[^}]*)\}")
RESERVED_TYPES: Final = frozenset({"driver", "pulse"})


class TaskType(Record, frozen=True, kw_only=True):
    """One kind of task: how many, what each gets, what each runs.

    A task of a type that is not ``tracked`` (a parameter server, a TensorBoard) never ends the
    application by ending well, and is ended when all tracked tasks have ended.
    """

    command: str
    instances: int = 1
    memory: Mebibytes = Mebibytes(1024)
    vcores: int = 1
    gpus: int = 0
    env: dict[str, str] = {}
    tracked: bool = True


class Environment(Record, frozen=True, kw_only=True):
    """The Python of the programs: a path on the nodes, or an archive (URL) that YARN unpacks and caches there."""

    python: str = ""
    archive: str = ""


class DriverSettings(Record, frozen=True, kw_only=True):
    """The container of Skein's master and of the driver; ``python`` is the platform's on the nodes."""

    memory: Mebibytes = Mebibytes(1024)
    vcores: int = 1
    python: str = ""


class Timeouts(Record, frozen=True, kw_only=True):
    """How long to wait for what.

    ``gang`` (until the last task has registered) comes from the platform's configuration when it is null.
    ``heartbeat`` is the silence after which a task counts as lost, ``grace`` what a program has to end
    after SIGTERM, ``run`` the time for everything after the barrier; 0 is for ever.
    """

    gang: Seconds | None = None
    heartbeat: Seconds = Seconds(15.0)
    grace: Seconds = Seconds(5.0)
    run: Seconds = Seconds(0.0)


class Application(Record, frozen=True, kw_only=True):
    """A gang of programs on YARN, and where they read and write.

    ``source`` names files and folders (relative to the application's file) that stand in each task's
    working folder. ``parameters`` reach the programs as ``TONY_PARAM_<NAME>`` and replace ``${name}`` in
    commands, environments, inputs and output; ``$NAME`` is the shell's, ``$${`` a literal ``${``.
    """

    name: str
    framework: Framework
    types: dict[str, TaskType]
    output: str
    queue: str = ""
    inputs: tuple[str, ...] = ()
    parameters: dict[str, str | int | float | bool] = {}
    source: tuple[str, ...] = ()
    environment: Environment = Environment()
    driver: DriverSettings = DriverSettings()
    timeouts: Timeouts = Timeouts()
    pulse: bool = True
    schema_version: Literal[1] = 1


def load_application(path: str | Path, overrides: Sequence[str] = ()) -> Application:
    """Return the application of a YAML file with ``key.path=value`` texts laid over it.

    Paths in ``source`` come back absolute: they stand relative to the file.

    Raises
    ------
    NotFoundError
        If there is no such file.
    ConfigurationError
        If a key is unknown, missing or ill-typed: key path and file, or the override, are named.
    """
    file = Path(path)
    if not file.is_file():
        raise NotFoundError(f"{file}: no such application file")
    plain = parse_yaml_mapping(file.read_text(), source=str(file))
    application = convert(plain, Application, source=str(file))
    for text in overrides:
        plain = _overridden(plain, text)
        application = convert(plain, Application, source=f"--set {text}")
    folder = file.absolute().parent
    source = tuple(os.path.normpath(folder / name) for name in application.source)
    return msgspec.structs.replace(application, source=source)


def _overridden(plain: Mapping[str, Any], text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigurationError(f"--set {text}: no key=value", expected="such as --set types.worker.instances=4")
    head, _, rest = key.strip().partition(".")
    if not rest:
        return {**plain, head: yaml.safe_load(value)}
    below = plain.get(head)
    return {**plain, head: _overridden(below if isinstance(below, dict) else {}, f"{rest}={value}")}


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
        )
        for name, kind in application.types.items()
    }
    environment, driver, timeouts = application.environment, application.driver, application.timeouts
    if not environment.python and not environment.archive:
        environment = Environment(python=config.training_python)
    return msgspec.structs.replace(
        application,
        types=types,
        queue=application.queue or config.training.queue,
        output=text.plain(application.output, "output").rstrip("/"),
        inputs=tuple(text.plain(url, f"inputs[{at}]") for at, url in enumerate(application.inputs)),
        environment=environment,
        driver=msgspec.structs.replace(driver, python=driver.python or config.spark_python),
        timeouts=timeouts
        if timeouts.gang is not None
        else msgspec.structs.replace(timeouts, gang=config.training.gang_timeout),
    )


def render_parameter(value: str | float | bool) -> str:  # noqa: FBT001  # a parameter may be a truth value
    """Return a parameter as programs get it: truth values as in YAML, everything else as written."""
    return str(value).lower() if isinstance(value, bool) else str(value)


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
    _require(_NAME.match(application.name) is not None, "name", application.name, "lower-case letters, digits and -")
    _require(bool(application.types), "types", "{}", "at least one type of task")
    for name in application.parameters:
        _require(_PARAMETER.match(name) is not None, f"parameters.{name}", name, "lower-case letters, digits and _")
    for name, kind in application.types.items():
        key = f"types.{name}"
        _require(
            _NAME.match(name) is not None and name not in RESERVED_TYPES, key, name, "a name such as worker or chief"
        )
        _require(kind.instances >= 1, f"{key}.instances", kind.instances, "1 or more")
        _require(kind.vcores >= 1, f"{key}.vcores", kind.vcores, "1 or more")
        _require(kind.gpus >= 0, f"{key}.gpus", kind.gpus, "0 or more")
        _require(bool(kind.command.strip()), f"{key}.command", repr(kind.command), "a command line")
    _require(
        any(kind.tracked for kind in application.types.values()), "types", "no tracked type", "at least one that ends"
    )
    both = application.environment.python and application.environment.archive
    _require(not both, "environment", "python and archive", "one of the two")


def _require(condition: bool, key: str, value: object, expected: str) -> None:  # noqa: FBT001  # reads like assert
    if not condition:
        raise ConfigurationError(f"{key}: {value} cannot be meant", expected=expected)
