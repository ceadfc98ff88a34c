"""The guide to training: its list of keys is the code's, and its commands work as they stand there."""

import os
import re
from pathlib import Path

import pytest
from guides import run_script, script_of, with_commands

from tony_py.application import Application
from tony_py.keys import render_sections, sections
from tony_py.loading import load_application

MARK = "<!-- what `tony_py keys` prints -->\n"


@pytest.fixture
def guide(repository: Path) -> str:
    return (repository / "docs" / "training.md").read_text()


def test_the_guide_lists_every_key_as_the_code_has_it(guide: str) -> None:
    _, found, keys = guide.partition(MARK)
    assert found
    assert keys == render_sections(), "put what `tony_py keys` prints behind the mark in docs/training.md"


def test_every_key_has_a_meaning_of_its_own() -> None:
    found = {section.path: section for section in sections()}
    assert {key.name for key in found[""].keys} == set(Application.__struct_fields__)
    assert {"types.<name>", "environment.docker", "driver", "timeouts", "retries.<name>", "access"} <= set(found)
    assert all(key.meaning for section in found.values() for key in section.keys)
    retries = {key.name: key for key in found["retries"].keys}
    assert re.fullmatch(r"`\{retries: \d+, backoff: \d+, window: \d+\}`", retries["infra"].default)
    assert {key.name: (key.form, key.default) for key in found["types.<name>"].keys}["memory"] == (
        "memory",
        "`1024 MiB`",
    )


def test_the_guides_files_are_applications(guide: str, tmp_path: Path) -> None:
    files = re.findall(r"^cat > (\w+\.yaml) <<'YAML'\n(.*?)^YAML$", guide, re.MULTILINE | re.DOTALL)
    assert len(files) >= 2
    for name, text in files:
        (tmp_path / name).write_text(text)
        load_application(tmp_path / name)


@pytest.mark.timeout(900)
def test_every_command_of_the_guide_works(guide: str, hdfs: str, tmp_path: Path) -> None:
    own = hdfs.removeprefix("hdfs://")
    for place in ("/tmp/training-guide", "/yarnmill/environments"):  # noqa: S108  # a folder on HDFS
        assert place in guide
        guide = guide.replace(place, f"{own}{place}")
    (tmp_path / "platform.yaml").write_text(f"storage: {{environments: '{hdfs}/yarnmill/environments'}}")
    script = script_of(guide)
    own = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "YARNMILL_CONFIG": str(tmp_path / "platform.yaml")}
    environment = with_commands({**os.environ, **own})
    done = run_script(script, tmp_path, environment)
    assert "hello" in done.stdout
    assert "environment.archive: " in done.stderr
    assert done.stderr.count("environment.archive: uploading") == 1
    plan = (tmp_path / "plan.yaml").read_text()
    assert "visibility: PUBLIC" in plan
    assert "not for everybody" not in plan + done.stdout + done.stderr
