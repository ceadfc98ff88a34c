"""The commands of the guide to blobs over HTTP work as they stand there."""

from pathlib import Path

import pytest
from guides import run_guide_of_servers

pytestmark = pytest.mark.programs


def test_the_guide_works_from_its_beginning_to_its_end(repository: Path, tmp_path: Path) -> None:
    run_guide_of_servers(repository / "docs" / "blobs-over-http.md", tmp_path, "server.pid")
    log = (tmp_path / "server.log").read_text()
    assert (tmp_path / "ci.token").read_text().strip() not in log
    assert "Traceback" not in log
