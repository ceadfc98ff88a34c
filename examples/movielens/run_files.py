"""What a training run leaves behind: checkpoints, its output, its progress.

tony_py names the places by environment: ``TONY_CHECKPOINT_DIR`` outlives a failed run,
``TONY_OUTPUT`` becomes the output when every task has ended well, ``TONY_PROGRESS_FILE`` is watched.
"""

import json
import os
import re
from pathlib import Path

from ratings import hdfs

_CHECKPOINT = re.compile(r"epoch-(\d+)$")


def save_checkpoint(epoch: int, state: bytes) -> None:
    """Write the state after an epoch: whole or not at all, and only then forget the older ones."""
    filesystem, folder = hdfs(os.environ["TONY_CHECKPOINT_DIR"])
    target, fresh = f"{folder}/epoch-{epoch:05d}", f"{folder}/.epoch-{epoch:05d}.tmp"
    filesystem.makedirs(folder, exist_ok=True)
    filesystem.pipe_file(fresh, state)
    if filesystem.exists(target):
        filesystem.rm(target)
    filesystem.mv(fresh, target)
    for older in _checkpoints():
        if older < epoch:
            filesystem.rm(f"{folder}/epoch-{older:05d}")


def load_checkpoint() -> bytes | None:
    """Return the newest state, or None if the run is a fresh one."""
    filesystem, folder = hdfs(os.environ["TONY_CHECKPOINT_DIR"])
    epochs = _checkpoints()
    return filesystem.cat_file(f"{folder}/epoch-{max(epochs):05d}") if epochs else None


def _checkpoints() -> list[int]:
    filesystem, folder = hdfs(os.environ["TONY_CHECKPOINT_DIR"])
    if not filesystem.exists(folder):
        return []
    found = (_CHECKPOINT.search(str(path)) for path in filesystem.ls(folder, detail=False))
    return [int(match[1]) for match in found if match]


def save_output(folder: Path, metrics: dict[str, float], dimension: int) -> None:
    """Put an exported model (``model.onnx``, ``native/``) with its signature and metrics into the output."""
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2, sort_keys=True))
    (folder / "signature.json").write_text(json.dumps(_signature(dimension), indent=2))
    filesystem, output = hdfs(os.environ["TONY_OUTPUT"])
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        target = f"{output}/{file.relative_to(folder).as_posix()}"
        filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
        filesystem.put_file(str(file), target)


def _signature(dimension: int) -> dict[str, object]:
    return {
        "inputs": [
            {"name": "user_id", "dtype": "int64"},
            {"name": "film_id", "dtype": "int64"},
            {"name": "global", "dtype": "float32", "shape": [dimension]},
        ],
        "outputs": [{"name": "probability", "dtype": "float32"}],
    }


def tell_progress(done: float, message: str) -> None:
    """Show how far the run is (0 to 1) to whoever follows the application."""
    path = Path(os.environ["TONY_PROGRESS_FILE"])
    fresh = path.with_suffix(".tmp")
    fresh.write_text(json.dumps({"progress": done, "message": message}))
    fresh.replace(path)
