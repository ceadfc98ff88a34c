"""The guide to model bundles, followed from its beginning to its end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from guides import run_script, script_of, with_commands, with_refusals

pytestmark = pytest.mark.programs


def test_the_guide_works(repository: Path, tmp_path: Path) -> None:
    guide = (repository / "docs" / "bundles.md").read_text(encoding="utf-8")
    script = with_refusals(script_of(guide), 3)
    done = run_script(script, tmp_path, with_commands(os.environ))
    for said in ("model.skops has the SHA-256", "code of its own", "reference_probability_auc"):
        assert said in done.stderr
    for said in ("answered as when it was packed", "compatible: yes", "configuration", "quantised-onnx"):
        assert said in done.stdout
    program = script_of(guide, "python")
    answered = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert "probability" in answered
    assert answered.splitlines()[-1] == "0.0"
