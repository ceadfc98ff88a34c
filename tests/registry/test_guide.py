"""The guide to the registry, followed from its beginning to its end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from guides import run_script, script_of, with_commands, with_refusals

pytestmark = pytest.mark.programs


def test_the_guide_works(repository: Path, tmp_path: Path) -> None:
    guide = (repository / "docs" / "registry.md").read_text(encoding="utf-8")
    script = with_refusals(script_of(guide), 2)
    done = run_script(script, tmp_path, with_commands(os.environ))
    for said in ("rank/1 in production serves", "does not pass its gate", "FAILED: test_auc minus serving's"):
        assert said in done.stderr
    for said in (
        "version 3 answers in staging",
        "version 3 passed its gate and answers",
        "version 1 answers in production (revision 3)",
        "1: 90 %, 3: 10 % in production (revision 4)",
        "1: 100 %; mirrored to 3 in production (revision 6)",
        "1 versions retired, 3 blobs deleted",
        "1 versions brought in step, 0 still behind",
    ):
        assert said in done.stdout
    environment = {**os.environ, "YARNMILL_CONFIG": str(tmp_path / "yarnmill.yaml")}
    program = script_of(guide, "python")
    shown = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert [line.split()[0] for line in shown] == ["rank/3", "rank/1", "1:"]
