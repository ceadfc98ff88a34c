"""The commands of the guide to native models work as they stand there."""

import os
import signal
from pathlib import Path

import pytest
from guides import run_script, script_of, with_commands


@pytest.mark.usefixtures("training_python")
def test_the_guide_works_from_its_beginning_to_its_end(repository: Path, tmp_path: Path) -> None:
    script = script_of((repository / "docs" / "native-models.md").read_text())
    pid_file = tmp_path / "serve.pid"
    try:
        done = run_script(script, tmp_path, with_commands(os.environ))
        assert not pid_file.exists()
    finally:
        if pid_file.exists():
            os.kill(int(pid_file.read_text()), signal.SIGTERM)
    assert "worth: answers natively" in done.stderr
    assert done.stdout.count("torch, natively") == 2
    assert '{"predictions":[{"score":6.0,"liked":1}]}' in done.stdout
    assert "returned error: 400" in done.stderr
    assert "Traceback" not in (tmp_path / "serve.log").read_text()
