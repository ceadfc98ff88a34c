"""The processes that this one has started."""

import os
from pathlib import Path


def children() -> set[int]:
    """Return the ids of the processes that any thread of this one has started and that are there."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}
