"""``yarnmill doctor`` as a user calls it, on this machine and on one that lacks something."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from yarnmill.cli.doctor import render_check
from yarnmill.localcluster.checks import Check

COMMAND = [sys.executable, "-m", "yarnmill.cli.main", "doctor", "--output", "json"]


def examine(home: Path, **environment: str) -> tuple[int, dict[str, dict[str, object]]]:
    variables = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **environment}
    done = subprocess.run([*COMMAND, "--home", str(home)], env=variables, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, {check["name"]: check for check in json.loads(done.stdout)}


@pytest.mark.programs
def test_every_lack_comes_with_a_mend_and_the_exit_status_says_whether_one_is_needed(tmp_path: Path) -> None:
    status, found = examine(tmp_path)
    assert {"Java", "Maven", "free memory", "port 8500", "localhost"} <= set(found)
    assert all(check["ok"] or check["mend"] for check in found.values())
    assert status == (0 if all(check["ok"] for check in found.values() if check["needed"]) else 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.programs
def test_without_maven_and_jars_the_machine_is_unsound(tmp_path: Path) -> None:
    status, found = examine(tmp_path, PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    assert status == 2
    assert found["Maven"]["mend"] == "apt-get install maven"
    assert not found["Hadoop's jars"]["ok"]


def test_a_line_a_check() -> None:
    lack = Check(name="Java", ok=False, found="none", mend="apt-get install it")
    assert render_check(lack).endswith("Java: none; to mend it: apt-get install it")
    assert "lacks" in render_check(lack)
    assert "note" in render_check(Check(name="x", ok=False, found="none", mend="y", needed=False))
    assert render_check(Check(name="x", ok=True, found="here")).endswith("x: here")
