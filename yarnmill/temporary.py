"""Temporary folders of processes that fork."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def own_folder(prefix: str) -> Iterator[Path]:
    """Yield a fresh folder that only this process removes: a server's workers are forks that leave the block too."""
    owner = os.getpid()
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)
