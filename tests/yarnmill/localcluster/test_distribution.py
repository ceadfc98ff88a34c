from pathlib import Path

import pytest

from yarnmill.errors import ClusterUnavailableError, ConfigurationError
from yarnmill.localcluster import distribution

QUIET = "exit 0"
COPIES = (
    'for each; do case "$each" in -DoutputDirectory=*) mkdir -p "${each#*=}"; touch "${each#*=}/a.jar";; esac; done'
)
FAILS = "echo '[ERROR] '; echo '[ERROR] Could not resolve org.apache.hadoop:hadoop-common'; exit 1"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "yarnmill"


def machine(tmp_path: Path, script: str) -> dict[str, str]:
    """Return the environment of a machine on which Maven does what ``script`` says, without a network."""
    java = tmp_path / "java"
    for program, text in ((tmp_path / "bin" / "mvn", script), (java / "bin" / "java", "exit 0")):
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    (java / "release").write_text('JAVA_VERSION="17.0.1"\n')
    return {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "JAVA_HOME": str(java)}


def silent(_text: str) -> None:
    pass


def test_the_folder_appears_whole_and_a_second_fetch_does_nothing(tmp_path: Path, cache: Path) -> None:
    environment = machine(tmp_path, COPIES)
    assert not distribution.is_fetched()
    jars = distribution.fetch(environment, silent)
    assert jars == distribution.jars_folder()
    assert [jar.name for jar in jars.iterdir()] == ["a.jar"]
    assert [folder.name for folder in cache.iterdir()] == [jars.parent.name]
    (tmp_path / "bin" / "mvn").unlink()
    assert distribution.fetch(environment, silent) == jars


def test_a_failed_fetch_says_why_and_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(ClusterUnavailableError, match="Could not resolve org"):
        distribution.fetch(machine(tmp_path, FAILS), silent)
    assert list(cache.iterdir()) == []


def test_without_maven_the_command_that_brings_it_is_named(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        distribution.fetch({"PATH": str(tmp_path)}, silent)
    assert caught.value.mend == "apt-get install maven"
    assert not cache.exists()


def test_two_that_fetch_at_once_both_end_with_the_jars(tmp_path: Path, cache: Path) -> None:
    # While this Maven works, another one finishes.
    winner = cache / distribution.jars_folder().parent.name / "lib"
    environment = machine(tmp_path, f"{COPIES}\nmkdir -p {winner}; touch {winner}/winner.jar")
    jars = distribution.fetch(environment, silent)
    assert [jar.name for jar in jars.iterdir()] == ["winner.jar"]
    assert [folder.name for folder in cache.iterdir()] == [jars.parent.name]
