"""The commands of the guide to features at request time work as they stand there."""

import os
import signal
from pathlib import Path

import pytest
from guides import run_script, script_of, with_commands

pytestmark = pytest.mark.programs


def test_the_guide_works_from_its_beginning_to_its_end(repository: Path, tmp_path: Path) -> None:
    script = script_of((repository / "docs" / "features-at-request-time.md").read_text())
    pid_file = tmp_path / "serve.pid"
    try:
        done = run_script(script, tmp_path, with_commands(os.environ))
        assert not pid_file.exists()
    finally:
        if pid_file.exists():
            os.kill(int(pid_file.read_text()), signal.SIGTERM)
    assert "snapshot_features --config job.json" in done.stdout
    assert "shop.clients: version 1 answers in production" in done.stdout
    assert "2026-01-30" in done.stdout
    assert '"sources": [\n    "shop.clients/1 ds=2026-01-30"\n  ]' in done.stdout
    assert "X-Feature-Snapshots: shop.clients/1 ds=2026-01-30" in done.stdout
    assert done.stdout.count('"predictions":[') == 3
    assert '{"predictions":[{"spent":20.0,"visits":4.0}]}' in done.stdout
    assert "$.basket[0].price: missing; expected float64" in done.stdout
    assert "Traceback" not in (tmp_path / "serve.log").read_text()
