"""Every check is shown a machine that lacks something, and must name the command that mends it."""

from pathlib import Path

import pytest

from yarnmill.config import load_config
from yarnmill.localcluster import checks, doctor
from yarnmill.localcluster.checks import Check
from yarnmill.localcluster.java import Java

J17 = Java(17, "17.0.15", "/jvm/17")
J25 = Java(25, "25.0.1", "/jvm/25")
HOME = Path("/home/ann")

BROKEN = [
    (checks.check_platform("Darwin", "arm64"), "Linux"),
    (checks.check_python((3, 10, 12)), "python3.11"),
    (checks.check_java([]), "openjdk-17-jdk-headless"),
    (checks.check_java([J25]), "JAVA_HOME"),
    (checks.check_maven(None, jars_are_there=False), "apt-get install maven"),
    (checks.check_program("make", None, mend="apt-get install make"), "apt-get install make"),
    (checks.check_memory(1000, cluster_runs=False), "6144 MiB"),
    (checks.check_disk("home", HOME, 100, least_mib=4096), "df -h /home/ann"),
    (checks.check_port(8500, is_free=False), "serving.port"),
    (checks.check_open_files(256), "ulimit -n 1024"),
    (checks.check_localhost([]), "/etc/hosts"),
    (checks.check_localhost(["::1"]), "/etc/hosts"),
]


@pytest.mark.parametrize(("check", "mend"), BROKEN, ids=lambda value: getattr(value, "name", ""))
def test_a_lack_is_told_with_what_mends_it(check: Check, mend: str) -> None:
    assert not check.ok
    assert check.needed
    assert mend in check.mend
    assert "\n" not in check.found + check.mend
    assert not doctor.is_sound([check])


SOUND = [
    checks.check_platform("Linux", "x86_64"),
    checks.check_python((3, 11, 0)),
    checks.check_python((3, 12, 1)),
    checks.check_java([J25, J17]),
    checks.check_maven("/usr/bin/mvn", jars_are_there=False),
    checks.check_memory(8000, cluster_runs=False),
    checks.check_memory(5500, cluster_runs=True),
    checks.check_disk("home", HOME, 4096, least_mib=4096),
    checks.check_port(8500, is_free=True),
    checks.check_open_files(1024),
    checks.check_localhost(["127.0.0.1", "::1"]),
    checks.check_cluster("/home/ann/cluster", "up"),
]


@pytest.mark.parametrize("check", SOUND, ids=lambda check: check.name)
def test_a_sound_machine_needs_no_mending(check: Check) -> None:
    assert check.ok
    assert check.mend == ""


def test_what_can_be_done_without_does_not_make_a_machine_unsound() -> None:
    found = [
        checks.check_maven(None, jars_are_there=True),
        checks.check_jars(HOME, are_there=False),
        checks.check_training(HOME, is_there=False),
        checks.check_cores(1),
        checks.check_cluster("/home/ann/cluster", "down"),
    ]
    assert not any(check.ok for check in found)
    assert all(check.mend for check in found)
    assert doctor.is_sound(found)


def test_the_java_that_is_found_is_named_even_if_another_comes_first() -> None:
    assert checks.check_java([J25, J17]).found == "17.0.15 in /jvm/17"


def test_available_memory_is_read_from_the_kernels_table() -> None:
    assert doctor.parse_available_mib("MemTotal:  9 kB\nMemAvailable:   2097152 kB\n") == 2048
    assert doctor.parse_available_mib("") == 0


def test_names_resolve_or_do_not() -> None:
    assert "127.0.0.1" in doctor.addresses_of("localhost")
    assert doctor.addresses_of("no-such-host.invalid") == []


def test_free_space_of_a_folder_that_is_yet_to_be_made(tmp_path: Path) -> None:
    assert doctor.free_mib(tmp_path / "a" / "b") == pytest.approx(doctor.free_mib(tmp_path), rel=0.05)


def test_examining_changes_nothing(tmp_path: Path) -> None:
    found = doctor.examine(load_config(home=str(tmp_path / "home")), {"PATH": "/nowhere"})
    assert list(tmp_path.iterdir()) == []
    by_name = {check.name: check for check in found}
    assert not by_name["make"].ok
    assert by_name["local cluster"].found == f"down ({tmp_path}/home/cluster)"
