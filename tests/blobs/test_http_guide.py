"""The commands of the guide to blobs over HTTP work as they stand there."""

import os
import signal
from pathlib import Path

import pytest
from guides import run_script, script_of, with_commands

pytestmark = pytest.mark.programs


def test_the_guide_works_from_its_beginning_to_its_end(repository: Path, tmp_path: Path) -> None:
    script = script_of((repository / "docs" / "blobs-over-http.md").read_text())
    pid_file = tmp_path / "server.pid"
    try:
        run_script(script, tmp_path, with_commands(os.environ))
        assert not pid_file.exists()
    finally:
        if pid_file.exists():
            os.kill(int(pid_file.read_text()), signal.SIGTERM)
    log = (tmp_path / "server.log").read_text()
    assert (tmp_path / "ci.token").read_text().strip() not in log
    assert "Traceback" not in log
