"""The commands of the guide to serving work as they stand there."""

from pathlib import Path

import pytest
from guides import run_guide_of_servers

pytestmark = pytest.mark.programs


def test_the_guide_works_from_its_beginning_to_its_end(repository: Path, tmp_path: Path) -> None:
    done = run_guide_of_servers(repository / "docs" / "serving.md", tmp_path, "serve.pid", "guarded.pid")
    assert done.stdout.count('"predictions":[') == 10
    assert done.stdout.count('{"result":[') == 2
    assert done.stdout.count('{"outputs":[') == 1
    assert '"datatype":"FP32","data":[' in done.stdout
    assert done.stdout.count('"status":"pending"') == 1
    assert done.stdout.count('"status":"running"') == 1
    assert done.stdout.count("X-Model-Version: ") == 4
    assert done.stdout.count("X-Session-Id: visit-1") == 1
    assert done.stdout.count('{"accepted":1}') == 1
    assert "visit-1 0 2 main {'features[0]': 1.0, 'features[1]': 0.0, 'features[2]': 2.0} 1.0" in done.stdout
    assert "returned error: 400" in done.stderr
    assert "returned error: 409" in done.stderr
    assert " addresses\n" in done.stdout
    assert "1 of 1 deployed models answer" in done.stdout
    assert "From version 1 to version 2" in done.stdout
    assert '"actual_score_column":"stars"' in done.stdout
    assert done.stdout.count(" of rank/2 running\n") == 2
    assert " model rank version 2 answers\n" not in done.stdout  # it runs, and no rule names it yet
    assert "more errors than 1" in done.stdout
    assert "mean reward of a unit" in done.stdout
    assert 'yarnmill_batch_rows_count{model="rank"}' in done.stdout
    assert "sketch/1: runs in production" in done.stdout
    assert "rank: version 2 answers everything (revision 7)" in done.stdout
    assert "sketch/1: 200 rows since" in done.stdout
    assert "sketch/1: 400 rows since" in done.stdout
    assert done.stdout.count('"verdict":"drifted"') == 5  # three features, the score, and the version
    assert "histogram_quantile(0.99" in done.stdout
    assert '"metric_type":"latency","severity":"WARNING","target":250.0' in done.stdout
    logs = (tmp_path / "serve.log").read_text() + (tmp_path / "guarded.log").read_text()
    assert "Traceback" not in logs
    assert (tmp_path / "ci.token").read_text().strip() not in logs
