"""Spark's classes as Java keeps them: loaded and verified once, and mapped by every JVM that starts afterwards.

A JVM of Spark spends half of the CPU time of its start in finding, parsing and verifying some ten thousand classes.
Java's class-data sharing takes them from an archive instead, whose memory processes share. Java sees to it that an
archive is only taken by the Java that made it and for the very jars, where these come first on the class path;
otherwise it loads classes as ever. The archive lies in the folder of this Python, as the jars do.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Final

from yarnmill.building import locked, run_tool
from yarnmill.errors import ConfigurationError

SILENT: Final = "-Xlog:cds=off -Xlog:cds+dynamic=off"
"""What Java has to tell of an archive, such as that it cannot take it, it tells on standard output: a program's own."""

_OF_THE_CALLER: Final = ("HADOOP_CONF_DIR", "YARN_CONF_DIR", "SPARK_CONF_DIR", "SPARK_DIST_CLASSPATH")
"""Variables that would put folders on the class path, which Java does not archive with the jars."""


def spark_home() -> Path:
    """Return the folder of the pyspark that this Python has, found without importing it.

    Raises
    ------
    ConfigurationError
        If there is none.
    """
    found = find_spec("pyspark")
    if found is None or not found.submodule_search_locations:
        raise ConfigurationError("this Python has no pyspark", mend="make env, or pip install pyspark==4.1.4")
    return Path(found.submodule_search_locations[0])


def archive_file() -> Path:
    """Return where the archive for these jars and this Java is, or will be."""
    found = ((jar.name, jar.stat()) for jar in (spark_home() / "jars").iterdir())
    jars = sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in found)
    decides = f"{_java()}\n{spark_home()}\n{jars}"
    name = f"spark-{hashlib.sha256(decides.encode()).hexdigest()[:12]}.jsa"
    return Path(sys.prefix) / "share" / "yarnmill" / name


def class_sharing() -> str:
    """Return the options with which a JVM of Spark takes its classes from the archive; empty if there is none."""
    archive = archive_file()
    return f"-XX:SharedArchiveFile={archive} {SILENT}" if archive.is_file() else ""


def archived_class_path() -> str:
    """Return the class path that the archive is for, as Spark's launcher begins its own: SLF4J, then all jars."""
    jars = spark_home() / "jars"
    return ":".join(map(str, [*sorted(jars.glob("slf4j-api-*.jar")), jars / "*"]))


def ensure_archive(progress: Callable[[str], None]) -> Path:
    """Make the archive unless it is there, and return it: a short program of Spark's runs, and Java keeps its classes.

    Raises
    ------
    JobFailedError
        If the program fails: with its last lines.
    """
    archive = archive_file()
    with locked(archive):
        if archive.is_file():
            progress(f"classes of Spark: up to date ({archive.name})")
            return archive
        for old in archive.parent.glob("spark-*.jsa*"):  # of other jars or another Java, or half a one
            old.unlink()
        fresh = archive.with_suffix(".jsa.fresh")
        progress("classes of Spark: running a program that loads them")
        program = Path(__file__).with_name("sparkprogram.py")
        kept = {name: value for name, value in os.environ.items() if name not in _OF_THE_CALLER}
        mend = "look at what Java says; Spark works without an archive, its JVMs only start slower"
        run_tool([sys.executable, str(program), str(fresh)], mend=mend, environment=kept)
        with fresh.open("rb") as stream:
            os.fsync(stream.fileno())  # Java does not survive half an archive
        fresh.rename(archive)
    return archive


def _java() -> str:
    """Return what tells one Java from another: where it is, and its ``release`` file."""
    home = os.environ.get("JAVA_HOME") or Path(which("java") or "").resolve().parent.parent
    release = Path(home).resolve() / "release"
    return f"{release}\n{release.read_text() if release.is_file() else ''}"
