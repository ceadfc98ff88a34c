"""The folder that a command of ``yarnmill bundle`` writes into."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yarnmill.errors import ConflictError


@contextmanager
def fresh_folder(folder: Path) -> Iterator[None]:
    """Make a folder to write a bundle into; nothing stays of a bundle that came to nothing, and it can be tried again.

    Raises
    ------
    ConflictError
        If something is there already.
    """
    is_made = not folder.exists()
    if not is_made and (not folder.is_dir() or any(folder.iterdir())):
        raise ConflictError(
            f"{folder}: something is there already",
            expected="a fresh folder",
            mend=f"choose another one, or remove {folder}",
        )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:  # Ctrl-C too
        _empty(folder)
        if is_made:
            folder.rmdir()
        raise


def _empty(folder: Path) -> None:
    for child in folder.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()
