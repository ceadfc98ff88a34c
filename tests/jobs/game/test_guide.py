"""The guide for those who come from Photon ML: its tables are the code's, its commands work as they stand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from guides import script_of

from jobs.game.options import render_tables

MARK = "<!-- what jobs.game.options.render_tables returns -->\n\n"


@pytest.fixture
def guide(repository: Path) -> str:
    return (repository / "docs" / "from-photon-ml.md").read_text()


def test_the_guide_lists_every_option_as_the_code_has_it(guide: str) -> None:
    _, found, tables = guide.partition(MARK)
    assert found
    assert tables == render_tables(), "put what jobs.game.options.render_tables returns behind the mark"


@pytest.mark.usefixtures("spark")
def test_every_command_of_the_guide_works(guide: str, repository: Path, tmp_path: Path) -> None:
    assert "/tmp/from-photon" in guide  # noqa: S108  # what the guide says, replaced below
    guide = guide.replace("/tmp/from-photon", str(tmp_path))  # noqa: S108
    script = script_of(guide)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(repository),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    environment.pop("HADOOP_CONF_DIR", None)  # a cluster of other tests: a path without scheme would be on it
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "'modelId': " in done.stdout
    assert "regularization weight: 1.0" in done.stdout
    assert "max.iter has no effect" in done.stdout + done.stderr  # spark-submit joins the driver's two
    assert '"training_set": "training-set"' in done.stdout
    assert (tmp_path / "scored" / "scores" / "_SUCCESS").exists()
    assert sorted(path.name for path in (tmp_path / "model" / "models").iterdir()) == ["0", "1"]
