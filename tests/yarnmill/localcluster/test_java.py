from pathlib import Path

import pytest

from yarnmill.errors import ConfigurationError
from yarnmill.localcluster.java import find_java, installed_javas, parse_java_version


def java_home(folder: Path, version: str, *, release: bool = True) -> Path:
    """Make a Java installation that says it is of ``version``."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    program.chmod(0o755)
    if release:
        (folder / "release").write_text(f'IMPLEMENTOR="Debian"\nJAVA_VERSION="{version}"\n')
    return folder


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('JAVA_VERSION="17.0.15"', (17, "17.0.15")),
        ('openjdk version "25" 2025-09-16', (25, "25")),
        ('java version "1.8.0_401"', (8, "1.8.0_401")),
        ("no such command", None),
    ],
)
def test_versions_are_read_as_java_writes_them(text: str, expected: tuple[int, str] | None) -> None:
    assert parse_java_version(text) == expected


def test_a_17_is_chosen_even_when_another_is_first_on_path_and_in_java_home(tmp_path: Path) -> None:
    newest = java_home(tmp_path / "path" / "jdk-25", "25.0.1")
    java_home(tmp_path / "places" / "jdk-21", "21.0.2")
    wanted = java_home(tmp_path / "places" / "jdk-17", "17.0.9")
    environment = {"JAVA_HOME": str(newest), "PATH": str(newest / "bin")}
    assert find_java(environment, [str(tmp_path / "places")]).home == str(wanted)


def test_the_users_own_17_wins_over_the_machines(tmp_path: Path) -> None:
    java_home(tmp_path / "places" / "jdk-17", "17.0.9")
    mine = java_home(tmp_path / "mine", "17.0.1")
    assert find_java({"JAVA_HOME": str(mine)}, [str(tmp_path / "places")]).home == str(mine)


def test_an_installation_without_a_release_file_is_asked(tmp_path: Path) -> None:
    home = java_home(tmp_path / "jdk", "17.0.9", release=False)
    assert [java.version for java in installed_javas({"JAVA_HOME": str(home)}, [])] == ["17.0.9"]


def test_an_installation_reached_twice_counts_once(tmp_path: Path) -> None:
    home = java_home(tmp_path / "places" / "jdk-17", "17.0.9")
    (tmp_path / "places" / "default").symlink_to(home)
    assert len(installed_javas({"JAVA_HOME": str(home), "PATH": str(home / "bin")}, [str(tmp_path / "places")])) == 1


def test_without_a_17_the_error_names_what_is_there_and_the_command_that_mends_it(tmp_path: Path) -> None:
    home = java_home(tmp_path / "jdk", "25.0.1")
    with pytest.raises(ConfigurationError) as caught:
        find_java({"JAVA_HOME": str(home), "PATH": ""}, [])
    assert f"25.0.1 in {home}" in caught.value.what
    assert "apt-get install openjdk-17-jdk-headless" in caught.value.mend


def test_a_java_home_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    assert installed_javas({"JAVA_HOME": str(tmp_path / "gone"), "PATH": ""}, [str(tmp_path / "no-place")]) == []
