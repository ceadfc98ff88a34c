"""How far the program is: a small file that the executor reads once a second and tells the driver."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_said: dict[str, Any] = {}
_lock = threading.Lock()


def report(
    *,
    step: int | None = None,
    total: int | None = None,
    checkpoint: int | None = None,
    message: str | None = None,
    metrics: Mapping[str, float] | None = None,
) -> None:
    """Say how far the program is; what is left out stays as it was said last.

    Quick enough for every step. Of several processes in one container only the first is heard, and outside of
    a container nobody is.

    Parameters
    ----------
    step
        Steps done so far.
    total
        Steps in all: gives the share that is shown as progress.
    checkpoint
        The last step that was saved; :func:`save_checkpoint` says it by itself.
    message
        A line for whoever follows the application.
    metrics
        Numbers such as the loss.
    """
    target = os.environ.get("TONY_PROGRESS_FILE", "")
    if not target or not _is_heard():
        return
    with _lock:
        if not _said:
            _said.update(_already_said(Path(target)))
        said = {"step": step, "checkpoint": checkpoint, "message": message}
        _said.update({name: value for name, value in said.items() if value is not None})
        if step is not None and total:
            _said["progress"] = min(1.0, step / total)
        if metrics:
            _said["metrics"] = {**_said.get("metrics", {}), **{name: float(value) for name, value in metrics.items()}}
        fresh = Path(f"{target}.{os.getpid()}.tmp")
        fresh.write_text(json.dumps(_said))
        fresh.replace(target)


def _already_said(path: Path) -> dict[str, Any]:
    """Return what another process of the same program has said."""
    try:
        said = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _is_heard() -> bool:
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "HOROVOD_LOCAL_RANK"))
