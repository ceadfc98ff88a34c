"""What `yarnmill doctor` checks: each check a pure function from what was measured to one line.

The measuring is in :mod:`yarnmill.localcluster.doctor`; here is only the judgement, so that a test can
show every check a machine that lacks something.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from yarnmill.environments import downloads
from yarnmill.localcluster.distribution import MAVEN_MEND
from yarnmill.localcluster.java import JAVA_MAJOR, JAVA_MEND, Java
from yarnmill.records import Record

PYTHON_LEAST: Final = (3, 11)
MEMORY_LEAST_MIB: Final = 6 * 1024
"""The daemons take 1.1 GiB, a Spark job or a gang of two workers 4 GiB beside them."""
HOME_LEAST_MIB: Final = 4 * 1024
CACHE_LEAST_MIB: Final = 1024
OPEN_FILES_LEAST: Final = 1024


class Check(Record, frozen=True):
    """One line of the doctor: what was found, whether that will do, and what mends it.

    ``needed`` is false for what the platform can do without, or brings by itself.
    """

    name: str
    ok: bool
    found: str
    mend: str = ""
    needed: bool = True


def _check(name: str, ok: bool, found: str, mend: str, *, needed: bool = True) -> Check:  # noqa: FBT001  # the verdict
    return Check(name=name, ok=ok, found=found, mend="" if ok else mend, needed=needed)


def check_platform(system: str, machine: str) -> Check:
    """Find whether Skein can run: its wheel holds programs for x86-64 Linux only."""
    fits = system == "Linux" and machine in {"x86_64", "AMD64"}
    return _check("platform", fits, f"{system} {machine}", "use a Linux machine with x86-64 processors")


def check_python(version: tuple[int, ...]) -> Check:
    """Find whether Python is 3.11 or newer."""
    return _check(
        "Python",
        version[:2] >= PYTHON_LEAST,
        ".".join(map(str, version[:3])),
        "apt-get install python3.11 python3.11-venv",
    )


def check_java(javas: Sequence[Java]) -> Check:
    """Find a Java that is exactly 17; it need not be the first."""
    fitting = [java for java in javas if java.major == JAVA_MAJOR]
    others = ", ".join(f"{java.version} in {java.home}" for java in javas) or "none"
    found = f"{fitting[0].version} in {fitting[0].home}" if fitting else f"no {JAVA_MAJOR}; {others}"
    return _check("Java", bool(fitting), found, JAVA_MEND)


def check_program(name: str, path: str | None, *, mend: str, needed: bool = True) -> Check:
    """Find whether a program is on the PATH."""
    return _check(name, path is not None, path or "not on the PATH", mend, needed=needed)


def check_maven(path: str | None, *, jars_are_there: bool) -> Check:
    """Find Maven, which is needed until it has brought the jars."""
    return check_program("Maven", path, mend=MAVEN_MEND, needed=not jars_are_there)


def check_jars(folder: Path, *, are_there: bool) -> Check:
    """Say whether Hadoop's jars are there: they come by themselves at the first start."""
    return _check(
        "Hadoop's jars",
        are_there,
        str(folder) if are_there else f"not fetched yet (about {downloads().hadoop_mib} MiB)",
        "yarnmill cluster fetch",
        needed=False,
    )


def check_cores(count: int) -> Check:
    """Count the cores: two run the main job in the time that is promised."""
    return _check("cores", count >= 2, str(count), "use a machine with 2 cores or more: this one is slow", needed=False)


def check_memory(available_mib: int, *, cluster_runs: bool) -> Check:
    """Find memory for the containers, and for the daemons unless they hold theirs already."""
    least = MEMORY_LEAST_MIB - (1024 if cluster_runs else 0)
    return _check(
        "free memory",
        available_mib >= least,
        f"{available_mib} MiB",
        f"stop other programs until {least} MiB are free (ps aux --sort=-rss | head)",
    )


def check_disk(name: str, folder: Path, free_mib: int, *, least_mib: int) -> Check:
    """Find whether a folder's disk has room."""
    mend = f"free {least_mib} MiB on the disk of {folder} (df -h {folder}), or name another folder"
    return _check(f"disk of the {name}", free_mib >= least_mib, f"{free_mib} MiB free in {folder}", mend)


def check_port(port: int, *, is_free: bool) -> Check:
    """Find whether the serving tier's port is free."""
    mend = f"stop what listens there (ss -ltnp sport = :{port}), or set serving.port"
    return _check(f"port {port}", is_free, "free" if is_free else "in use", mend)


def check_open_files(limit: int) -> Check:
    """Find whether enough files may be open: HDFS and Spark hold many, and sockets too."""
    return _check("open files", limit >= OPEN_FILES_LEAST, str(limit), f"ulimit -n {OPEN_FILES_LEAST}")


def check_localhost(addresses: Sequence[str]) -> Check:
    """Find whether `localhost` names the loopback address: every daemon is reached by it."""
    ok = "127.0.0.1" in addresses
    return _check("localhost", ok, ", ".join(addresses) or "unknown", "echo '127.0.0.1 localhost' >> /etc/hosts")


def check_training(python: Path, *, is_there: bool) -> Check:
    """Find the training environment: needed for TensorFlow and PyTorch alone."""
    mend = "make env, or set training.python"
    return _check(
        "training environment",
        is_there,
        str(python) if is_there else f"none at {python} (a download of about {downloads().training_mib} MiB)",
        mend,
        needed=False,
    )


def check_cluster(root: str, state: str) -> Check:
    """Say how the cluster is; it need not run for a machine to be sound."""
    return _check("local cluster", state == "up", f"{state} ({root})", "yarnmill cluster up", needed=False)
