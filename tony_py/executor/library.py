"""The package ``tony_task`` for users' programs: in a folder of the executor's own archive that holds nothing else."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "library"
PACKAGE = "tony_task"


def python_path(own: str, archive: str | Path = "") -> str:
    """Return a PYTHONPATH that has the package last, so that it hides nothing of the user's.

    Parameters
    ----------
    own
        The program's PYTHONPATH without it; may be empty.
    archive
        The executor's; empty: the one that this code runs from.
    """
    place = Path(archive or Path(__file__).parents[2]).absolute()
    return os.pathsep.join([*([own] if own else []), str(place / FOLDER)])
