"""What a program and all that it started use: memory and processor time from /proc, GPUs from nvidia-smi."""

from __future__ import annotations

import os
import resource
import threading
import time
from contextlib import suppress
from pathlib import Path

from tony_py.executor import descendants
from tony_py.executor.gpus import Gpus

_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
_TICKS = os.sysconf("SC_CLK_TCK")
_EVERY_S = 2.0
_GPUS_EVERY_S = 10.0


class Meter:
    """Measures in a thread of its own and remembers the peak.

    Parameters
    ----------
    gpus
        The container's devices.
    """

    def __init__(self, gpus: Gpus) -> None:
        self._gpus = gpus
        self._peak_mib = 0.0
        self._gpu = (0.0, 0.0)
        self._gpu_shares = [0.0, 0.0]  # sum and count
        self._peak_gpu_mib = 0.0
        self._gpu_at = 0.0
        self._latest: dict[str, float] = {}
        self._quit = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meter", daemon=True)

    def start(self) -> None:
        """Start measuring."""
        self._thread.start()

    def finish(self) -> None:
        """Stop measuring."""
        self._quit.set()

    def latest(self) -> dict[str, float]:
        """Return the last measurement."""
        return self._latest

    def _run(self) -> None:
        while not self._quit.wait(_EVERY_S):
            if time.monotonic() - self._gpu_at > _GPUS_EVERY_S:
                self._measure_gpus()
            self.measure()

    def measure(self) -> dict[str, float]:
        """Measure memory and processor time now: of what runs, and of what has ended since the executor began."""
        memory = cpu = 0.0
        for pid in descendants.alive():
            with suppress(OSError, ValueError, IndexError):  # it ended while we looked
                memory += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MIB
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                cpu += sum(map(int, fields[11:15])) / _TICKS  # its own, and that of its children that have ended
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        # The largest process that has ended: all there is of a program that ended between two measurements.
        self._peak_mib = max(self._peak_mib, memory, ended.ru_maxrss / 1024)
        shares, count = self._gpu_shares
        self._latest = {
            "memory_mib": round(memory, 1),
            "peak_memory_mib": round(self._peak_mib, 1),
            "cpu_s": round(cpu + ended.ru_utime + ended.ru_stime, 2),
            "gpu_memory_mib": round(self._gpu[0], 1),
            "gpu_share": round(self._gpu[1], 3),
            "peak_gpu_memory_mib": round(self._peak_gpu_mib, 1),
            "mean_gpu_share": round(shares / count, 3) if count else 0.0,
        }
        return self._latest

    def _measure_gpus(self) -> None:
        self._gpu, self._gpu_at = self._gpus.usage(), time.monotonic()
        self._peak_gpu_mib = max(self._peak_gpu_mib, self._gpu[0])
        self._gpu_shares = [self._gpu_shares[0] + self._gpu[1], self._gpu_shares[1] + 1]
