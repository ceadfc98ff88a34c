"""Finding a Java 17: the one version on which all of Hadoop, Spark, Skein and Oozie run."""

import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from shutil import which
from typing import Final

import msgspec

from yarnmill.errors import ConfigurationError

JAVA_MAJOR: Final = 17
_VERSION: Final = re.compile(r'(?:JAVA_VERSION=|version )"(?P<text>(?:1\.)?(?P<major>\d+)[^"]*)"')
_USUAL_PLACES: Final = ("/usr/lib/jvm", "/opt/java", "/opt/jdk", "~/.sdkman/candidates/java", "~/.jdks")
JAVA_MEND: Final = "apt-get install openjdk-17-jdk-headless, or export JAVA_HOME=<folder of a Java 17>"


class Java(msgspec.Struct, frozen=True, order=True):
    """One installation of Java: its version and its JAVA_HOME."""

    major: int
    version: str
    home: str


def parse_java_version(text: str) -> tuple[int, str] | None:
    """Return major number and full text from a ``release`` file or from ``java -version``; None if neither."""
    match = _VERSION.search(text)
    return (int(match["major"]), match["text"]) if match else None


def inspect_java(home: Path) -> Java | None:
    """Return the Java in ``home``, or None if there is none that can run."""
    program = home / "bin" / "java"
    if not program.is_file():
        return None
    release = home / "release"
    text = release.read_text(errors="replace") if release.is_file() else _version_output(program)
    found = parse_java_version(text)
    return Java(found[0], found[1], str(home)) if found else None


def _version_output(program: Path) -> str:
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stderr + done.stdout


def java_homes(environment: Mapping[str, str], places: Iterable[str] = _USUAL_PLACES) -> list[Path]:
    """Return the folders where a Java may be, best first: JAVA_HOME, the PATH, the usual places."""
    homes = [Path(environment["JAVA_HOME"])] if environment.get("JAVA_HOME") else []
    on_path = which("java", path=environment.get("PATH", ""))
    if on_path:
        homes.append(Path(on_path).resolve().parent.parent)
    for place in places:
        folder = Path(place).expanduser()
        if folder.is_dir():
            homes.extend(sorted(child for child in folder.iterdir() if child.is_dir()))
    return homes


def installed_javas(environment: Mapping[str, str], places: Iterable[str] = _USUAL_PLACES) -> list[Java]:
    """Return every Java found, best first, each installation once."""
    found: dict[Path, Java] = {}
    for home in java_homes(environment, places):
        java = inspect_java(home)
        if java is not None:
            found.setdefault(home.resolve(), java)
    return list(found.values())


def find_java(environment: Mapping[str, str], places: Iterable[str] = _USUAL_PLACES) -> Java:
    """Return the first Java 17, even where another one comes first on the PATH.

    Raises
    ------
    ConfigurationError
        If there is none; the others that were found are named.
    """
    javas = installed_javas(environment, places)
    for java in javas:
        if java.major == JAVA_MAJOR:
            return java
    others = ", ".join(f"{java.version} in {java.home}" for java in javas)
    raise ConfigurationError(
        f"no Java {JAVA_MAJOR} on this machine" + (f" (found: {others})" if others else ""),
        expected=f"Java {JAVA_MAJOR}: Hadoop, Spark, Skein and Oozie all run on it, and not all on a newer one",
        mend=JAVA_MEND,
    )
