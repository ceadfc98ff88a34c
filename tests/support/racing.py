"""Writers that meet, and programs that are killed in the middle."""

import io
import random
import subprocess
import sys
import threading
import time


class Meeting(io.BytesIO):
    """Bytes whose end is reached by all writers before any of them may go on: the closest of races."""

    def __init__(self, data: bytes, barrier: threading.Barrier) -> None:
        super().__init__(data)
        self._barrier = barrier

    def read(self, size: int | None = -1) -> bytes:
        chunk = super().read(size)
        if not chunk:
            self._barrier.wait(timeout=60)
        return chunk


def said_until_killed(program: str, url: str, seed: int, within_s: float) -> list[list[str]]:
    """Run a program that says ``ready`` first, kill it within that time, and return the words of each whole line."""
    command = [sys.executable, "-c", program, url, str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        time.sleep(random.Random(seed).uniform(0.0, within_s))
        process.kill()
        return [line.split() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
