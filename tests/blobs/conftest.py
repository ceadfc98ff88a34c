"""What the blob tests measure with."""

import subprocess
import sys
from collections.abc import Callable

import pytest

_MEASURE = "\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"


@pytest.fixture
def peak_memory_of() -> Callable[[str], int]:
    """Return a function that runs a Python program and returns its peak resident memory in bytes."""

    def measure(program: str) -> int:
        done = subprocess.run([sys.executable, "-c", program + _MEASURE], capture_output=True, text=True, check=True)
        return int(done.stdout.split()[-1]) * 1024

    return measure
