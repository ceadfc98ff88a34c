"""Counts steps of a tenth of a second; rank 0 saves every tenth on HDFS, and all resume from there.

Usage: steps.py STEPS. With ``interrupted`` instead of a number the first generation never ends by itself, and
the next ones end soon.
"""

import json
import os
import sys
import time
from pathlib import Path

from yarnmill import fs

CHECKPOINT = f"{os.environ['TONY_CHECKPOINT_DIR']}/step"
RANK = int(os.environ["RANK"])


def main() -> None:
    first = int(fs.read_bytes(CHECKPOINT)) if fs.exists(CHECKPOINT) else 0
    steps = int(sys.argv[1]) if sys.argv[1] != "interrupted" else 10**6
    if sys.argv[1] == "interrupted" and os.environ["TONY_GENERATION"] != "1":
        steps = first + 20
    for step in range(first + 1, steps + 1):
        time.sleep(0.1)
        if RANK == 0 and step % 10 == 0:
            fs.write_bytes(CHECKPOINT, str(step).encode(), overwrite=True)
        path = Path(os.environ["TONY_PROGRESS_FILE"])
        fresh = path.with_suffix(".tmp")
        fresh.write_text(
            json.dumps({"step": step, "progress": min(1.0, step / min(steps, 100)), "checkpoint": step // 10 * 10})
        )
        fresh.replace(path)
    if RANK == 0:
        metrics = json.dumps({"resumed_at": first}).encode()
        fs.write_bytes(f"{os.environ['TONY_OUTPUT']}/metrics.json", metrics, overwrite=True)


main()
