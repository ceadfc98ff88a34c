"""The guide for those who come from Photon ML: its tables are the code's, its commands work as they stand."""

import os
import re
import shlex
from pathlib import Path

import pytest
from guides import run_script, script_of, with_commands

from jobs.entry import main
from jobs.game.options import render_tables

PARTS = re.compile(r"^(?=spark-submit )|(?<=[^\\])\n(?=python |cat )", re.MULTILINE)
SUBMITTED = "import_photon_model"
MARK = "<!-- what jobs.game.options.render_tables returns -->\n\n"


@pytest.fixture
def guide(repository: Path) -> str:
    return (repository / "docs" / "from-photon-ml.md").read_text()


def test_the_guide_lists_every_option_as_the_code_has_it(guide: str) -> None:
    _, found, tables = guide.partition(MARK)
    assert found
    assert tables == render_tables(), "put what jobs.game.options.render_tables returns behind the mark"


@pytest.mark.usefixtures("spark")
def test_every_command_of_the_guide_works(
    guide: str, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of those for Spark one is submitted and the others run here: a start takes longer than they do."""
    assert "/tmp/from-photon" in guide  # noqa: S108  # what the guide says, replaced below
    guide = guide.replace("/tmp/from-photon", str(tmp_path))  # noqa: S108
    monkeypatch.delenv("HADOOP_CONF_DIR", raising=False)  # of other tests: a path without scheme would be on it
    monkeypatch.chdir(repository)
    environment = with_commands({**os.environ, "PYTHONPATH": str(repository), "SPARK_LOCAL_IP": "127.0.0.1"})
    said, words = "", {}
    for part in PARTS.split(script_of(guide)):
        launcher, program, arguments = part.partition("jobs/entry.py ")
        if program:
            words[arguments.split()[0]] = shlex.split(launcher)
        if program and not arguments.startswith(SUBMITTED):
            assert main(shlex.split(arguments.replace("\\\n", ""))) == 0
            said += capsys.readouterr().err
            continue
        done = run_script(part, repository, environment)
        said += done.stdout + done.stderr
    assert list(words) == ["game-training", "game-scoring", "import_photon_model"]
    assert all(launcher == words[SUBMITTED] for launcher in words.values())
    assert "'modelId': " in said
    assert "regularization weight: 1.0" in said
    assert "max.iter has no effect" in said
    assert '"training_set": "training-set"' in said
    assert (tmp_path / "scored" / "scores" / "_SUCCESS").exists()
    assert sorted(path.name for path in (tmp_path / "model" / "models").iterdir()) == ["0", "1"]
