"""The commands of the guide to features at request time work as they stand there."""

from pathlib import Path

import pytest
from guides import run_guide_of_servers

pytestmark = pytest.mark.programs


def test_the_guide_works_from_its_beginning_to_its_end(repository: Path, tmp_path: Path) -> None:
    done = run_guide_of_servers(repository / "docs" / "features-at-request-time.md", tmp_path, "serve.pid")
    assert "snapshot_features --config job.json" in done.stdout
    assert "shop.clients: version 1 answers in production" in done.stdout
    assert "2026-01-30" in done.stdout
    assert '"sources": [\n    "shop.clients/1 ds=2026-01-30"\n  ]' in done.stdout
    assert "X-Feature-Snapshots: shop.clients/1 ds=2026-01-30" in done.stdout
    assert done.stdout.count('"predictions":[') == 3
    assert '{"predictions":[{"spent":20.0,"visits":4.0}]}' in done.stdout
    assert "$.basket[0].price: missing; expected float64" in done.stdout
    assert "Traceback" not in (tmp_path / "serve.log").read_text()
