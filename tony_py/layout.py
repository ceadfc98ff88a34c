"""How a container's folder looks before its program starts, and the script that brings it there.

YARN puts files side by side into the container's folder and knows no sub-folders. Programs run in
``source/``: what ``files`` names is linked there, and secrets stand in a folder of their own.
"""

import shlex
from collections.abc import Iterable
from typing import Final

from tony_py.application import Environment

EXECUTOR_CODE: Final = "tony_executor.zip"
SOURCE_CODE: Final = "tony_source.zip"
SOURCE_FOLDER: Final = "source"
SECRETS_FOLDER: Final = "secrets"
ENVIRONMENT_FOLDER: Final = "environment"
PEX_FILE: Final = "environment.pex"
SECRETS_VARIABLE: Final = "TONY_SECRETS_DIR"

_PEX_ROOT: Final = ".pex"
_INSTALL_PEX: Final = (
    f'import sys; sys.path.insert(0, "{EXECUTOR_CODE}"); '
    f'from tony_py.executor.pex import install; install("{ENVIRONMENT_FOLDER}", "{_PEX_ROOT}")'
)


def is_reserved(name: str) -> bool:
    """Return whether a name in the container's folder is taken by what every container has."""
    taken = {SOURCE_FOLDER, SECRETS_FOLDER, ENVIRONMENT_FOLDER, PEX_FILE}
    return name in taken or name.startswith(("tony_", ".", "container_tokens", "launch_container", "default_container"))


def secret_file(name: str) -> str:
    """Return the name under which YARN puts a secret into the container's folder."""
    return f"tony_secret_{name}"


def is_pex(environment: Environment) -> bool:
    """Return whether the environment is a ``.pex`` file."""
    return environment.archive.endswith(".pex")


def python_of(environment: Environment) -> str:
    """Return the environment's Python as it stands in a container: shell text, relative to the container's folder."""
    archived = f"{ENVIRONMENT_FOLDER}/{environment.binary}"
    return shlex.quote(archived if environment.archive else environment.python)


def container_script(
    command: str, *, files: Iterable[str] = (), secrets: Iterable[str] = (), environment: Environment | None = None
) -> str:
    """Return what runs in a container: its folder put in order, then ``command`` in the script's place.

    Parameters
    ----------
    command
        The executor or the driver.
    files
        Names of ``files``, without the slash of an archive.
    secrets
        Names of ``secrets``.
    environment
        Given where programs of the environment will run.
    """
    steps: list[str] = []
    names = sorted(files)
    if names:
        steps.append(f"mkdir -p {SOURCE_FOLDER}")
        steps += [f'ln -sfn "$PWD"/{name} {SOURCE_FOLDER}/{name}' for name in names]
    kept = sorted(secrets)
    if kept:
        steps.append(f"mkdir -p -m 700 {SECRETS_FOLDER}")
        steps += [f'ln -sfn "$PWD"/{secret_file(name)} {SECRETS_FOLDER}/{name}' for name in kept]
        steps.append(f'export {SECRETS_VARIABLE}="$PWD"/{SECRETS_FOLDER}')
    if environment is not None and is_pex(environment):
        runner = f"{shlex.quote(environment.python)} " if environment.python else ""
        steps.append(
            f'PEX_ROOT="$PWD"/{_PEX_ROOT} PEX_INTERPRETER=1 {runner}./{PEX_FILE} -c {shlex.quote(_INSTALL_PEX)}'
        )
    return " && ".join([*steps, f"exec {command}"])
