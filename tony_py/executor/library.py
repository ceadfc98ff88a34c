"""The package ``tony_task`` for users' programs: in a folder of the executor's own archive that holds nothing else."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "library"
PACKAGE = "tony_task"


def python_path(own: str) -> str:
    """Return a PYTHONPATH that has the package last, so that it hides nothing of the user's.

    Parameters
    ----------
    own
        The program's PYTHONPATH without it; may be empty.
    """
    archive = Path(__file__).absolute().parents[2]
    return os.pathsep.join([*([own] if own else []), str(archive / FOLDER)])
