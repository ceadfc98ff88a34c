"""The guide to looking at runs: its commands work as they stand there."""

import os
from pathlib import Path

import pytest
import yaml
from guides import run_script, script_of, with_commands


@pytest.mark.timeout(900)
def test_every_command_of_the_guide_works(repository: Path, hdfs: str, tmp_path: Path) -> None:
    guide = (repository / "docs" / "training-runs.md").read_text()
    for place, own in (
        ("hdfs:///tmp/looking-guide", f"{hdfs}/looking-guide"),
        ("/tmp/looking-guide-local", f"{tmp_path}/local"),  # noqa: S108  # what the guide says
    ):
        assert place in guide
        guide = guide.replace(place, own)
    platform = {"home": str(tmp_path / "home"), "storage": {"runs": f"{hdfs}/runs"}}
    (tmp_path / "platform.yaml").write_text(yaml.safe_dump(platform))
    own = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "YARNMILL_CONFIG": str(tmp_path / "platform.yaml")}
    done = run_script(script_of(guide), tmp_path, with_commands({**os.environ, **own}))
    for words in (
        "worker:1 step",  # followed
        "succeeded all 3 tasks ended well",  # attached
        "state          killed",  # diagnosed
        "time of each task",  # its history
        "ValueError: 42",
        "worker:0 step 40 of 40",  # on this machine
    ):
        assert words in done.stdout + done.stderr, words
