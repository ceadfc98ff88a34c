"""What a training program wants of its launcher: tell how far it is, save its state, find it again.

Every container finds this package as ``tony_task``; nothing has to be installed or shipped for it::

    import tony_task

    saved = tony_task.latest_checkpoint()  # None in a fresh run
    first = saved.step + 1 if saved else 0
    for step in range(first, steps):
        ...
        if rank == 0:
            tony_task.save_checkpoint(step, state_as_bytes())
        tony_task.report(step=step + 1, total=steps, metrics={"loss": loss})
    tony_task.save_output("model.bin", model_as_bytes())

It imports the standard library alone, and a module of the user's own with this name goes first.
"""

from __future__ import annotations

from .checkpoints import Checkpoint, Checkpoints, latest_checkpoint, load_checkpoint, save_checkpoint
from .output import read_output, save_output
from .progress import report

__all__ = [
    "Checkpoint",
    "Checkpoints",
    "latest_checkpoint",
    "load_checkpoint",
    "read_output",
    "report",
    "save_checkpoint",
    "save_output",
]
