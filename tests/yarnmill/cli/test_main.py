"""The command as a user calls it: a fresh process, its exit status, what stands on its two streams."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from yarnmill.cli.main import run
from yarnmill.errors import BadDataError, ClusterUnavailableError, ConfigurationError, YarnMillError


def yarnmill(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "yarnmill.cli.main", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **environment}
    )


@pytest.mark.programs
def test_help_names_every_command() -> None:
    done = yarnmill("--help")
    assert done.returncode == 0
    for name in ("blobs", "bundle", "cluster", "demo", "doctor", "env", "jobs", "models", "oozie", "runs", "serve"):
        assert f"  {name} " in done.stdout


@pytest.mark.parametrize("error", [ConfigurationError, ClusterUnavailableError, BadDataError])
def test_an_error_is_told_in_three_parts_with_its_exit_status(
    error: type[YarnMillError], capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def command() -> None:
        raise error("the lamp is out", expected="light", mend="change the bulb")

    assert run(command, []) == error.exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        f"error ({error.kind}): the lamp is out",
        "expected: light",
        "to mend it: change the bulb",
    ]


@pytest.mark.programs
def test_an_unknown_command_or_option_is_a_usage_error() -> None:
    assert yarnmill("nonsense").returncode == 2
    assert "Traceback" not in yarnmill("cluster", "--nonsense").stderr


@pytest.mark.programs
def test_an_unknown_key_names_key_and_file(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("spark:\n  executers: 3\n")
    done = yarnmill("models", "list", "--config", str(mine), HOME=str(tmp_path))
    assert done.returncode == 2
    assert f"{mine}: spark.executers: unknown key" in done.stderr
    assert "executors" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.programs
def test_output_json_is_json_and_nothing_else(tmp_path: Path) -> None:
    done = yarnmill("models", "list", "--home", str(tmp_path), "--output", "json", HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
