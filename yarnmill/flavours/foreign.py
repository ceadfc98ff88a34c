"""What bundles bring that is run as code: whether it may be, and under which Python."""

from pathlib import Path
from typing import Literal

from yarnmill import environments
from yarnmill.errors import ConfigurationError, NotFoundError


def refuse_unless_allowed(folder: Path, what: str, *, allow_code: bool) -> None:
    """Raise ConfigurationError if the code of a bundle, ``what`` in errors, may not be run."""
    if not allow_code:
        raise ConfigurationError(
            f"{folder}: the bundle brings {what}, which is not run here",
            expected="somebody who trusts whoever made it",
            mend="--set bundles.allow_code=true",
        )


def is_below(path: str, folder: str) -> bool:
    """Return whether a path in a bundle is that of a file below one of its folders."""
    parts = path.split("/")
    return parts[0] == folder and len(parts) > 1 and not {"", ".", ".."} & set(parts)


def python_of_lock(folder: Path, requirements: str, declaration: str) -> Path:
    """Return the Python of an environment that is built from a lock in a bundle, unless it is there.

    Raises
    ------
    NotFoundError
        If there is no such lock; the error names the declaration that does.
    JobFailedError
        If it cannot be built.
    """
    lock = folder / requirements
    if not lock.is_file():
        raise NotFoundError(f"{lock}: no such file", expected=f"the lock that {declaration} names")
    return environments.ensure_locked(lock.read_text(), lambda _message: None)


def python_of_environment(name: Literal["training", "horovod"]) -> Path:
    """Return the Python of an environment of ``yarnmill env``, built unless it is there; JobFailedError as above."""
    return environments.ensure(name, lambda _message: None)
