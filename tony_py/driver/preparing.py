"""What the driver runs itself before any container is asked for, and the parameters that it gives the tasks."""

import os
from pathlib import Path
from typing import Final

from tony_py.application import Application, render_parameter
from tony_py.executor.library import python_path
from tony_py.executor.program import Program
from tony_py.executor.source import SOURCE_ARCHIVE, unpack_source
from tony_py.layout import ENVIRONMENT_FOLDER, EXECUTOR_CODE, SECRETS_FOLDER, SECRETS_VARIABLE
from tony_py.packing import pack_executor
from yarnmill.errors import JobFailedError
from yarnmill.records import parse_json

PARAMETERS_FILE: Final = "TONY_PARAMETERS_FILE"
_LOOK_S: Final = 0.5

Parameters = dict[str, str | int | float | bool]


def prepare_parameters(application: Application, variables: dict[str, str], folder: Path) -> Parameters:
    """Run ``driver.prepare`` in ``folder`` and return the parameters it wrote; none if there is nothing to run.

    Raises
    ------
    JobFailedError
        If the command failed: with its exit code and last words.
    BadDataError
        If what it wrote is no JSON object of plain values.
    """
    command = application.driver.prepare
    if not command:
        return {}
    unpack_source(folder / SOURCE_ARCHIVE, folder / "source")
    target = folder / "tony_parameters.json"
    kept = folder / SECRETS_FOLDER
    environment = {
        **os.environ,
        **variables,
        **{f"TONY_PARAM_{k.upper()}": render_parameter(v) for k, v in application.parameters.items()},
        "PATH": os.pathsep.join([_binaries(application, folder), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": python_path(os.environ.get("PYTHONPATH", ""), _executor(folder)),
        "PYTHONUNBUFFERED": "1",
        PARAMETERS_FILE: str(target),
        **({SECRETS_VARIABLE: str(kept)} if kept.is_dir() else {}),
    }
    # Not `Programs`: they end with all that is below this process, and so are the tracker and a caller's own children.
    program = Program(command, environment, str(folder / "source"))
    while not program.wait(_LOOK_S):
        pass
    if program.exit_code != 0:
        words = program.words().traceback or "\n".join(program.words().lines)
        raise JobFailedError(f"driver.prepare: exit code {program.exit_code}\n{words}")
    if not target.is_file():
        return {}
    return parse_json(target.read_bytes(), Parameters, source=f"what driver.prepare wrote to {PARAMETERS_FILE}")


def _executor(folder: Path) -> str:
    """Return the executor's archive: YARN has put it into the folder, and without YARN it is packed here."""
    here = folder / EXECUTOR_CODE
    return str(here) if here.exists() else pack_executor().path


def _binaries(application: Application, folder: Path) -> str:
    environment = application.environment
    in_folder = bool(environment.archive)  # a .pex file may have a Python of the node as well, to become one under
    return str((folder / ENVIRONMENT_FOLDER / environment.binary if in_folder else Path(environment.python)).parent)
