"""The commands of the guide to native models work as they stand there."""

from pathlib import Path

import pytest
from guides import run_guide_of_servers


@pytest.mark.usefixtures("training_python")
def test_the_guide_works_from_its_beginning_to_its_end(repository: Path, tmp_path: Path) -> None:
    done = run_guide_of_servers(repository / "docs" / "native-models.md", tmp_path, "serve.pid")
    assert "worth: answers natively" in done.stderr
    assert done.stdout.count("torch, natively") == 2
    assert '{"predictions":[{"score":6.0,"liked":1}]}' in done.stdout
    assert "returned error: 400" in done.stderr
    assert "Traceback" not in (tmp_path / "serve.log").read_text()
