"""Oozie's own schemas, and whether a definition is valid against them.

They come with the Maven artifact ``oozie-client`` and are kept in the user cache.
"""

import io
import os
import secrets
import shutil
import subprocess
import tempfile
import zipfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from lxml import etree

from oozie.render import SHELL_NAMESPACE, SPARK_NAMESPACE, WORKFLOW_NAMESPACE
from yarnmill.building import user_cache
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError

OOZIE_VERSION: Final = "5.2.1"
_COPY: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
_XSD: Final = {
    WORKFLOW_NAMESPACE: "oozie-workflow-1.0.xsd",
    SPARK_NAMESPACE: "spark-action-1.0.xsd",
    SHELL_NAMESPACE: "shell-action-1.0.xsd",
}


def validate(xml: bytes, *, source: str) -> None:
    """Check a workflow definition; the first fault is told with its line.

    Raises
    ------
    BadDataError
        If the document is not XML, or not valid against Oozie's schemas.
    """
    schema = etree.XMLSchema(etree.parse(io.BytesIO(_together()), base_url=str(fetch_schemas()) + os.sep))
    try:
        document = etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError as problem:
        raise BadDataError(f"{source}: not XML: {problem}") from None
    try:
        schema.assertValid(document)
    except etree.DocumentInvalid as problem:  # its text ends with the line
        raise BadDataError(f"{source}: {problem}", expected=f"a workflow valid to Oozie {OOZIE_VERSION}") from None


def _together() -> bytes:
    """Return a schema that imports those of all actions: the workflow's own leaves them open."""
    imports = "".join(
        f'<xs:import namespace="{namespace}" schemaLocation="{name}"/>' for namespace, name in _XSD.items()
    )
    return f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">{imports}</xs:schema>'.encode()


def fetch_schemas() -> Path:
    """Return the folder of the schemas, fetched with Maven unless they are in the user cache.

    Raises
    ------
    ConfigurationError
        If Maven is not installed.
    NotFoundError
        If the artifact cannot be fetched: with Maven's last lines.
    """
    target = user_cache() / "oozie" / f"schemas-{OOZIE_VERSION}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        jar = _fetch_jar(Path(work))
        fresh = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
        with zipfile.ZipFile(jar) as archive:
            archive.extractall(fresh, [name for name in archive.namelist() if name.endswith(".xsd")])
    try:
        fresh.rename(target)
    except OSError:  # somebody else was quicker
        shutil.rmtree(fresh)
    return target


def _fetch_jar(folder: Path) -> Path:
    maven = shutil.which("mvn")
    if maven is None:
        raise ConfigurationError(
            "Oozie's schemas come by Maven (mvn), which is not installed", mend="apt-get install maven"
        )
    with as_file(files("conf") / "hadoop" / "maven-settings.xml") as settings:
        artifact = f"org.apache.oozie:oozie-client:{OOZIE_VERSION}"
        command = [maven, "-B", "-q", "--strict-checksums", "-s", str(settings), _COPY]
        done = subprocess.run(
            [*command, f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"],
            capture_output=True,
            text=True,
            check=False,
        )
    jar = folder / f"oozie-client-{OOZIE_VERSION}.jar"
    if done.returncode or not jar.is_file():
        raise NotFoundError(
            f"{artifact} could not be fetched: {(done.stdout + done.stderr).strip()[-1000:]}",
            mend="check the network, then run it again",
        )
    return jar
