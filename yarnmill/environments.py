"""Python environments that the platform ships to the nodes: built once from a lock, kept in the user cache.

An environment is named by the hash of its lock file, so a changed lock gives a new folder and never a
half-changed one. ``complete`` is written last; a folder without it is thrown away and built again.
"""

import hashlib
import shutil
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

from yarnmill.building import locked, run_tool, user_cache
from yarnmill.errors import ConfigurationError, NotFoundError
from yarnmill.records import Record, parse_yaml
from yarnmill.wheels import ensure_wheel, load_recipe, refuse_without_tools, wheel_folder

Name = Literal["training", "horovod"]
NAMES: Final[tuple[Name, ...]] = ("training", "horovod")
_COMPLETE: Final = "complete"
_MEND: Final = "check network and disk, then run it again: what was fetched is kept"


class Downloads(Record, frozen=True, kw_only=True):
    """How much a fresh machine downloads, in MiB; measured when the locks were made."""

    platform_mib: int
    training_mib: int
    horovod_mib: int
    hadoop_mib: int


def downloads() -> Downloads:
    """Return the measured download sizes of ``conf/environments/downloads.yaml``."""
    text = (files("conf") / "environments" / "downloads.yaml").read_text()
    return parse_yaml(text, Downloads, source="conf/environments/downloads.yaml")


def lock_text(name: Name) -> str:
    """Return the lock file of an environment: pinned versions with hashes."""
    resource = files("conf") / "environments" / f"{name}.lock"
    if not resource.is_file():
        raise NotFoundError(f"{name}: no such environment", expected=f"one of {', '.join(NAMES)}")
    return resource.read_text()


def folder(name: Name) -> Path:
    """Return where the environment lives, or will live."""
    lock = lock_text(name)
    recipe = load_recipe(name)
    parts = [lock, wheel_folder(recipe, lock).name] if recipe else [lock]
    digest = hashlib.sha256("".join(parts).encode()).hexdigest()[:12]
    return user_cache() / "environments" / f"{name}-{digest}"


def python_of(name: Name) -> Path:
    """Return the Python of an environment, whether it is built or not."""
    return folder(name) / "bin" / "python"


def is_built(name: Name) -> bool:
    """Return whether the environment is complete."""
    return (folder(name) / _COMPLETE).is_file()


def ensure(name: Name, progress: Callable[[str], None]) -> Path:
    """Build the environment unless it is there, and return its Python.

    Raises
    ------
    ConfigurationError
        If something is still to be compiled and this machine lacks what that takes.
    JobFailedError
        If the installation fails: with the installer's last lines.
    """
    target = folder(name)
    if is_built(name):
        progress(f"environment {name}: up to date ({target.name})")
        return python_of(name)
    with locked(target):
        if not is_built(name):  # somebody else may have built it while we waited
            _build(name, target, progress)
    return python_of(name)


def ensure_locked(lock: str, progress: Callable[[str], None]) -> Path:
    """Build an environment of a given lock unless it is there, and return its Python; errors as :func:`ensure`."""
    target = user_cache() / "environments" / f"locked-{hashlib.sha256(lock.encode()).hexdigest()[:12]}"
    python = target / "bin" / "python"
    if (target / _COMPLETE).is_file():
        return python
    with locked(target):
        if not (target / _COMPLETE).is_file():
            progress(f"environment {target.name}: installing")
            _install_lock(target, lock)
            (target / _COMPLETE).touch()
    return python


def _build(name: Name, target: Path, progress: Callable[[str], None]) -> None:
    lock, recipe = lock_text(name), load_recipe(name)
    if recipe:
        refuse_without_tools(recipe, lock)  # before anything is downloaded
    size: int = getattr(downloads(), f"{name}_mib")
    progress(f"environment {name}: installing, about {size} MiB to download")
    python = _install_lock(target, lock)
    if recipe:
        _install(python, "--no-deps", str(ensure_wheel(recipe, lock, python, progress)))
    (target / _COMPLETE).touch()
    progress(f"environment {name}: ready")


def _install_lock(target: Path, lock: str) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    run_tool([_uv(), "venv", "--quiet", "--python", sys.executable, str(target)], mend=_MEND)
    pinned = target / "environment.lock"
    pinned.write_text(lock)
    python = target / "bin" / "python"
    _install(python, "--require-hashes", "-r", str(pinned))
    return python


def _install(python: Path, *what: str) -> None:
    run_tool([_uv(), "pip", "install", "--quiet", "--python", str(python), *what], mend=_MEND)


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if not found:
        raise ConfigurationError("uv, the installer, is not there", mend="make env")
    return found
