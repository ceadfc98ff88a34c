"""Programs of Prometheus, where there are any."""

import os
import shutil

import pytest

from yarnmill.building import user_cache


def prometheus_program(name: str) -> str:
    """Return where a program is; without it the test is skipped."""
    cached = user_cache() / "prometheus" / "usr" / "bin"  # where `make prometheus` puts it
    program = shutil.which(name, path=f"{os.environ['PATH']}:{cached}")
    if program is None:
        pytest.skip("no Prometheus here: make prometheus")
    return program
