"""Python environments that the platform ships to the nodes: built once from a lock, kept in the user cache.

An environment is named by the hash of its lock file, so a changed lock gives a new folder and never a
half-changed one. ``complete`` is written last; a folder without it is thrown away and built again.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

from yarnmill.errors import ConfigurationError, JobFailedError, NotFoundError
from yarnmill.records import Record, parse_yaml

Name = Literal["training"]
NAMES: Final[tuple[Name, ...]] = ("training",)
_COMPLETE: Final = "complete"


class Downloads(Record, frozen=True, kw_only=True):
    """How much a fresh machine downloads, in MiB; measured when the locks were made."""

    platform_mib: int
    training_mib: int
    hadoop_mib: int


def downloads() -> Downloads:
    """Return the measured download sizes of ``conf/environments/downloads.yaml``."""
    text = (files("conf") / "environments" / "downloads.yaml").read_text()
    return parse_yaml(text, Downloads, source="conf/environments/downloads.yaml")


def user_cache() -> Path:
    """Return the folder for what can be fetched or built again: ``$XDG_CACHE_HOME/yarnmill``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yarnmill"


def lock_text(name: Name) -> str:
    """Return the lock file of an environment: pinned versions with hashes."""
    resource = files("conf") / "environments" / f"{name}.lock"
    if not resource.is_file():
        raise NotFoundError(f"{name}: no such environment", expected=f"one of {', '.join(NAMES)}")
    return resource.read_text()


def folder(name: Name) -> Path:
    """Return where the environment lives, or will live."""
    digest = hashlib.sha256(lock_text(name).encode()).hexdigest()[:12]
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
    JobFailedError
        If the installation fails: with the installer's last lines.
    """
    target = folder(name)
    if is_built(name):
        progress(f"environment {name}: up to date ({target.name})")
        return python_of(name)
    with _locked(target):
        if not is_built(name):  # somebody else may have built it while we waited
            _build(name, target, progress)
    return python_of(name)


def _build(name: Name, target: Path, progress: Callable[[str], None]) -> None:
    progress(f"environment {name}: installing, about {downloads().training_mib} MiB to download")
    shutil.rmtree(target, ignore_errors=True)
    _run([_uv(), "venv", "--quiet", "--python", sys.executable, str(target)])
    lock = target / "environment.lock"
    lock.write_text(lock_text(name))
    _run(
        [
            _uv(),
            "pip",
            "install",
            "--quiet",
            "--python",
            str(target / "bin" / "python"),
            "--require-hashes",
            "-r",
            str(lock),
        ]
    )
    (target / _COMPLETE).touch()
    progress(f"environment {name}: ready")


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if not found:
        raise ConfigurationError("uv, the installer, is not there", mend="make env")
    return found


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise JobFailedError(
            f"{' '.join(command[:3])} ended with status {done.returncode}: {done.stderr.strip()[-2000:]}",
            mend="check network and disk, then run it again: what was fetched is kept",
        )


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Let one process build at a time; the lock goes with the process, however it ends."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
