"""Wheels that no registry has: compiled once from a pinned source distribution, kept in the user cache.

A wheel's folder is named by the hash of all that decides its bytes: the source, the options, the pinned
versions that it is compiled against, and the Python. It becomes visible by one rename, so an interrupted
build leaves nothing that could be mistaken for a wheel and is simply done again.
"""

import os
import platform
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from msgspec.structs import replace

from yarnmill.building import locked, run_tool, user_cache
from yarnmill.errors import ConfigurationError, JobFailedError
from yarnmill.records import Record, fingerprint, parse_yaml
from yarnmill.units import render_seconds


class WheelRecipe(Record, frozen=True, kw_only=True):
    """How a wheel is compiled.

    Parameters
    ----------
    project, version, sha256
        The source distribution, and the hash (hex) that it must have.
    against
        Projects of the environment's lock whose pinned versions decide the wheel.
    tools
        Programs of this machine that the compilation runs.
    options
        Variables that the project's build reads.
    minutes
        How long it takes on two cores, measured; it decides nothing.
    """

    project: str
    version: str
    sha256: str
    against: tuple[str, ...]
    tools: tuple[str, ...] = ()
    options: dict[str, str] = {}
    minutes: int = 1


def load_recipe(environment: str) -> WheelRecipe | None:
    """Return the recipe of the wheel that an environment needs compiled; None if all of it comes from registries."""
    resource = files("conf") / "environments" / f"{environment}.build.yaml"
    if not resource.is_file():
        return None
    return parse_yaml(resource.read_text(), WheelRecipe, source=f"conf/environments/{environment}.build.yaml")


def wheel_folder(recipe: WheelRecipe, lock: str) -> Path:
    """Return where the wheel lives, or will live.

    Raises
    ------
    ConfigurationError
        If the lock does not pin what the wheel is compiled against.
    """
    pins = {line.partition("==")[0]: line.partition(" ")[0] for line in lock.splitlines() if "==" in line}
    unpinned = sorted(set(recipe.against) - set(pins))
    if unpinned:
        raise ConfigurationError(f"{recipe.project}: the lock does not pin {', '.join(unpinned)}", mend="make lock")
    # A wheel also depends on the compiler, but not so that another one of the same system could not use it.
    python = [sys.implementation.cache_tag or "", platform.machine(), platform.libc_ver()[0]]
    digest = fingerprint([replace(recipe, minutes=0), [pins[name] for name in recipe.against], python])
    return user_cache() / "wheels" / f"{recipe.project}-{recipe.version}-{digest[:12]}"


def find_wheel(recipe: WheelRecipe, lock: str) -> Path | None:
    """Return the wheel if it was compiled before."""
    return next(wheel_folder(recipe, lock).glob("*.whl"), None)


def refuse_without_tools(recipe: WheelRecipe, lock: str) -> None:
    """Raise if the wheel is still to be compiled and this machine lacks what that takes.

    Raises
    ------
    ConfigurationError
        With the command that installs what is missing.
    """
    if find_wheel(recipe, lock) is not None:
        return
    missing = [tool for tool in recipe.tools if shutil.which(tool) is None]
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    packages = missing if headers.is_file() else [*missing, f"python3.{sys.version_info.minor}-dev"]
    if packages:
        raise ConfigurationError(
            f"{recipe.project} {recipe.version} is compiled here, and {', '.join(packages)} is not there",
            mend=f"apt-get install {' '.join(packages)}",
        )


def ensure_wheel(recipe: WheelRecipe, lock: str, python: Path, progress: Callable[[str], None]) -> Path:
    """Compile the wheel unless it is there, and return it.

    Parameters
    ----------
    recipe
        How it is compiled.
    lock
        Text of the environment's lock.
    python
        Python of an environment in which everything that the lock pins is installed.
    progress
        Told what is being done.

    Raises
    ------
    JobFailedError
        If the compilation fails: with its last lines.
    """
    target = wheel_folder(recipe, lock)
    with locked(target):
        if find_wheel(recipe, lock) is None:  # somebody else may have compiled it while we waited
            _compile(recipe, python, target, progress)
    found = find_wheel(recipe, lock)
    if found is None:
        raise JobFailedError(f"{target}: no wheel came out of it", mend=f"rm -rf {target}, then run it again")
    return found


def _compile(recipe: WheelRecipe, python: Path, target: Path, progress: Callable[[str], None]) -> None:
    progress(f"{recipe.project} {recipe.version}: compiling, once; two cores take about {recipe.minutes} min")
    began = time.monotonic()
    for left_over in target.parent.glob(f".{target.name}-*"):  # of a build that was killed: we hold its lock
        shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
        pinned = Path(scratch) / "source.lock"
        pinned.write_text(f"{recipe.project}=={recipe.version} --hash=sha256:{recipe.sha256}\n")
        built = Path(scratch) / "wheel"
        run_tool(
            [
                *(str(python), "-m", "pip", "wheel", "--quiet", "--no-cache-dir", "--no-deps"),
                *("--no-build-isolation", "--require-hashes", "-r", str(pinned), "-w", str(built)),
            ],
            mend="look at the lines above; what it needs of this machine is a C++17 compiler and 4 GiB of memory",
            environment=_variables(recipe, python, Path(scratch)),
        )
        shutil.rmtree(target, ignore_errors=True)
        built.rename(target)
    progress(f"{recipe.project} {recipe.version}: compiled in {render_seconds(round(time.monotonic() - began))}")


def _variables(recipe: WheelRecipe, python: Path, scratch: Path) -> dict[str, str]:
    """Return the build's variables: the environment's own tools come first, what is left over goes with the scratch."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    path = os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])
    makeflags = f"-j{len(os.sched_getaffinity(0))}"
    return {**inherited, "MAKEFLAGS": makeflags, "PATH": path, "TMPDIR": str(scratch), **recipe.options}
