"""A killed executor takes its cached blocks, states and shuffle files along; they are computed again, alike."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyspark
import pytest


@pytest.mark.spark
@pytest.mark.timeout(1200)
def test_an_executor_killed_in_the_middle_of_a_sweep_changes_nothing(repository: Path, tmp_path: Path) -> None:
    # Spark's workers keep their logs below its home: one of links keeps them out of the installed package.
    for part in Path(pyspark.__file__).parent.iterdir():
        (tmp_path / part.name).symlink_to(part)
    program = Path(__file__).with_name("lost_executor.py")
    environment = os.environ | {
        "PYTHONPATH": str(repository),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, str(program)], env=environment, capture_output=True, text=True, check=False, timeout=1100
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["killed"] == 1
    assert found["disturbed"] == pytest.approx(found["expected"], rel=1e-11)
    assert found["apart"] < 1e-8
