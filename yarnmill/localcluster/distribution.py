"""Hadoop's jars: resolved once by Maven from the pinned pom.xml, kept in the user's cache."""

import hashlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from yarnmill.building import user_cache
from yarnmill.environments import downloads
from yarnmill.errors import ClusterUnavailableError, ConfigurationError
from yarnmill.localcluster.java import find_java

HADOOP_VERSION: Final = "3.4.3"
_COPY: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
MAVEN_MEND: Final = "apt-get install maven"


def jars_folder() -> Path:
    """Return where the jars of the pinned pom.xml are, or will be: another pom is another folder."""
    digest = hashlib.sha256(_resource("pom.xml")).hexdigest()[:12]
    return user_cache().absolute() / f"hadoop-{HADOOP_VERSION}-{digest}" / "lib"


def _resource(name: str) -> bytes:
    return (files("conf") / "hadoop" / name).read_bytes()


def is_fetched() -> bool:
    """Return whether the jars are at hand. The folder gets its name last, so what is there is whole."""
    return jars_folder().is_dir()


def fetch(environment: Mapping[str, str], progress: Callable[[str], None]) -> Path:
    """Bring the jars into the cache unless they are there, and return their folder.

    Raises
    ------
    ConfigurationError
        If there is no Maven.
    ClusterUnavailableError
        If Maven fails, with its first error: a repository may answer later.
    """
    target = jars_folder()
    if target.is_dir():
        return target
    maven = shutil.which("mvn", path=environment.get("PATH"))
    if maven is None:
        raise ConfigurationError("no Maven (mvn) on the PATH", mend=MAVEN_MEND)
    progress(
        f"fetching Hadoop {HADOOP_VERSION} from Maven's central repository (about {downloads().hadoop_mib} MiB, once)"
    )
    work = target.parent.with_name(f".{target.parent.name}.{secrets.token_hex(6)}.tmp")
    work.mkdir(parents=True)
    try:
        _copy_dependencies(maven, work, environment)
        _publish(work, target.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    progress(f"Hadoop's jars are in {target}")
    return target


def _copy_dependencies(maven: str, work: Path, environment: Mapping[str, str]) -> None:
    (work / "pom.xml").write_bytes(_resource("pom.xml"))
    (work / "settings.xml").write_bytes(_resource("maven-settings.xml"))
    user_settings = Path("~/.m2/settings.xml").expanduser()
    # Someone with settings of their own reaches repositories through them: a mirror, a proxy, a password.
    settings = [] if user_settings.is_file() else ["-s", str(work / "settings.xml")]
    command = [maven, "-B", "-q", "--strict-checksums", *settings, "-f", str(work / "pom.xml"), _COPY]
    command.append(f"-DoutputDirectory={work / 'lib'}")
    done = subprocess.run(
        command,
        cwd=work,
        env={**environment, "JAVA_HOME": find_java(environment).home},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ClusterUnavailableError(
            f"Maven could not fetch Hadoop's jars: {_first_error(done.stdout + done.stderr)}",
            expected=f"Maven's central repository, or a mirror named in {user_settings}",
            mend="see to the network, then run it again: what came stays in ~/.m2",
        )


def _first_error(text: str) -> str:
    lines = [line.removeprefix("[ERROR]").strip() for line in text.splitlines() if line.startswith("[ERROR]")]
    return next((line for line in lines if line), text.strip()[-300:] or "it said nothing")


def _publish(work: Path, target: Path) -> None:
    """Give the finished folder its name; whoever loses a race takes the winner's."""
    for leftover in ("pom.xml", "settings.xml"):
        (work / leftover).unlink()
    try:
        os.rename(work, target)  # noqa: PTH104  # the one atomic act
    except OSError:
        if not target.is_dir():
            raise
