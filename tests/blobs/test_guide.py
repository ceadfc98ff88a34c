"""The guide to the blob store, followed from its beginning to its end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from guides import run_script, script_of, with_commands, with_refusals

pytestmark = pytest.mark.programs


@pytest.fixture
def guide(repository: Path) -> str:
    return (repository / "docs" / "blobs.md").read_text(encoding="utf-8")


def test_every_command_of_the_guide_works(guide: str, tmp_path: Path) -> None:
    script = with_refusals(script_of(guide), 2)
    done = run_script(script, tmp_path, with_commands(os.environ))
    assert "keeps it for ever" in done.stderr
    assert "was deleted" in done.stderr
    for said in ("ml/models/rank/1  8", "meta stage: trial", "1 collected", "would pack 21 blobs", "packed 21 blobs"):
        assert said in done.stdout
    verified, quarantined = done.stdout.splitlines()[-2:]
    assert verified.endswith("21 blobs, 59 B, 0 damaged")
    assert quarantined == "to set aside: none"


def test_the_guide_s_python_works(guide: str, tmp_path: Path) -> None:
    program = script_of(guide, "python").replace("/tmp/yarnmill-guide-blobs", str(tmp_path))  # noqa: S108
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] n-")
