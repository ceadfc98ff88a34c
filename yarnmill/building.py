"""What everything that is built into the user cache shares: one builder at a time, and tools that say why they failed.

The user cache holds what can be fetched or built again, under names that hold the hash of what decides it.
"""

import fcntl
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from yarnmill.errors import JobFailedError


def user_cache() -> Path:
    """Return the folder for what can be fetched or built again: ``$XDG_CACHE_HOME/yarnmill``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yarnmill"


def run_tool(command: Sequence[str], *, mend: str, environment: Mapping[str, str] | None = None) -> None:
    """Run an installer or a compiler to its end.

    Raises
    ------
    JobFailedError
        If its exit status is not 0: with its last lines.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise JobFailedError(f"{' '.join(command[:3])} ended with status {done.returncode}: {words}", mend=mend)


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Let one process build ``target`` at a time; the lock goes with the process, however it ends."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
