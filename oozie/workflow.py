"""A workflow as a typed description: what runs, in which order, with which parameters.

The description is a chain: each step runs when the one before it succeeded, any failure ends the workflow.
Text may hold Oozie's expressions (``${runs}``); Oozie fills them in, nothing here does. This package does
not know how a job does its work.
"""

import re
from importlib.resources import files
from pathlib import Path
from typing import Final

from yarnmill.errors import ConfigurationError, NotFoundError
from yarnmill.records import Record, parse_yaml
from yarnmill.units import Mebibytes

_NAME: Final = re.compile(r"^[a-zA-Z_][-_a-zA-Z0-9]{0,127}$")  # what Oozie accepts as the name of a node
_RESERVED: Final = frozenset({"start", "end", "fail"})


class SparkStep(Record, frozen=True, kw_only=True, tag="spark", tag_field="kind"):
    """A job of :mod:`jobs`, sent by Oozie's own spark-submit in cluster mode.

    Parameters
    ----------
    name
        Name of the workflow's node.
    job
        Name of the job.
    config
        URL of the job's configuration.
    set
        Keys set over the configuration, as text, by key path.
    """

    name: str
    job: str
    config: str
    set: dict[str, str] = {}


class ShellStep(Record, frozen=True, kw_only=True, tag="shell", tag_field="kind"):
    """A command run on some node; with ``capture`` its ``key=value`` lines are ``wf:actionData``."""

    name: str
    command: tuple[str, ...]
    capture: bool = False


Step = SparkStep | ShellStep


class Parameter(Record, frozen=True, kw_only=True):
    """A property the workflow is given at submission; one without a default has to be given."""

    name: str
    meaning: str
    default: str | None = None


class Launcher(Record, frozen=True, kw_only=True):
    """The small container in which Oozie starts a step."""

    memory: Mebibytes = Mebibytes(1024)
    vcores: int = 1


class SparkResources(Record, frozen=True, kw_only=True):
    """What each Spark step asks of YARN."""

    driver_memory: Mebibytes
    executors: int
    executor_cores: int
    executor_memory: Mebibytes
    executor_memory_overhead: Mebibytes


class Workflow(Record, frozen=True, kw_only=True):
    """The whole description."""

    name: str
    meaning: str
    parameters: tuple[Parameter, ...]
    spark: SparkResources
    steps: tuple[Step, ...]
    launcher: Launcher = Launcher()
    schema_version: int = 1


def parse_workflow(text: str, *, source: str) -> Workflow:
    """Return the description in a YAML document, checked.

    Raises
    ------
    ConfigurationError
        If keys are unknown or ill-typed, there is no step, or a step's name is taken or not one to Oozie.
    """
    workflow = parse_yaml(text, Workflow, source=source)
    if not workflow.steps:
        raise ConfigurationError(f"{source}: steps: none", expected="one or more steps")
    names = [step.name for step in workflow.steps]
    for place, name in enumerate(names):
        if not _NAME.match(name) or name in _RESERVED or name in names[:place]:
            raise ConfigurationError(
                f"{source}: steps[{place}].name: {name!r} is taken, or no name to Oozie",
                expected="letters, digits, - and _, unique, and none of start, end, fail",
            )
        step = workflow.steps[place]
        if isinstance(step, ShellStep) and not step.command:
            raise ConfigurationError(f"{source}: steps[{place}].command: empty", expected="a program and its arguments")
    return workflow


def read_workflow(name: str) -> Workflow:
    """Return a description: a YAML file, or the name of one that comes with this package.

    Raises
    ------
    NotFoundError
        If there is neither.
    """
    path = Path(name)
    if path.is_file():
        return parse_workflow(path.read_text(), source=name)
    shipped = files("oozie") / "definitions" / f"{name}.yaml"
    if not shipped.is_file():
        raise NotFoundError(f"{name}: no such workflow", expected=f"a YAML file, or one of {', '.join(definitions())}")
    return parse_workflow(shipped.read_text(), source=f"oozie/definitions/{name}.yaml")


def definitions() -> list[str]:
    """Return the names of the descriptions that come with this package."""
    entries = (files("oozie") / "definitions").iterdir()
    return sorted(entry.name.removesuffix(".yaml") for entry in entries if entry.name.endswith(".yaml"))
