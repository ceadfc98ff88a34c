"""What travels with an application: the driver's code, the executor's, the user's source, the launch file."""

from pathlib import Path
from typing import Final

from tony_py.application import Application
from tony_py.plan import Launch, Shipment
from yarnmill.archives import Archive, Entry, keep, package_entries, source_entries, zip_bytes
from yarnmill.errors import ConfigurationError
from yarnmill.records import canonical_json, fingerprint
from yarnmill.report import identity_of
from yarnmill.units import render_bytes

_SOURCE_LIMIT_BYTES: Final = 256 << 20
_DRIVER_PACKAGES: Final = ("conf", "tony_py", "yarnmill")
_EXECUTOR_FILES: Final = ("tony_py/__init__.py", "tony_py/executor/")


def pack_driver() -> Archive:
    """Return a zip file that Python runs: the platform's own code, so that nodes need its libraries only."""
    return keep(zip_bytes([*package_entries(_DRIVER_PACKAGES), _entry_point("tony_py.driver.main")]), "driver.zip")


def pack_executor() -> Archive:
    """Return a zip file that any Python runs: the executor alone."""
    entries = [entry for entry in package_entries(["tony_py"]) if entry.name.startswith(_EXECUTOR_FILES)]
    return keep(zip_bytes([*entries, _entry_point("tony_py.executor.main")]), "executor.zip")


def pack_source(application: Application) -> Archive | None:
    """Return the user's files as a zip file, or None if there are none.

    Raises
    ------
    NotFoundError
        If one is not there.
    ConfigurationError
        If they are so large that they must be data.
    """
    if not application.source:
        return None
    entries = list(source_entries(Path(name) for name in application.source))
    size = sum(len(entry.data) for entry in entries)
    if size > _SOURCE_LIMIT_BYTES:
        raise ConfigurationError(
            f"source: {render_bytes(size)} to ship with every container",
            expected=f"at most {render_bytes(_SOURCE_LIMIT_BYTES)}",
            mend="put data on HDFS and name it in inputs",
        )
    return keep(zip_bytes(entries), "source.zip")


def prepare(application: Application, *, overwrite: bool = False) -> tuple[Launch, Shipment]:
    """Return what the driver is told, and the files to ship: all in the user cache, named by their hashes.

    The fingerprint covers the resolved application, the identity of its inputs, the user's files and the
    executor: what decides the result. The driver's code is left out, so that a new platform repeats nothing.

    Raises
    ------
    NotFoundError
        If an input or a file to ship is not there.
    """
    source = pack_source(application)
    identities = tuple(identity_of(url) for url in application.inputs)
    digest = fingerprint([application, identities, source.sha256 if source else "", pack_executor().sha256])
    launch = Launch(application=application, fingerprint=digest, identities=identities, overwrite=overwrite)
    shipment = Shipment(
        launch=keep(canonical_json(launch), "launch.json").path,
        driver_code=pack_driver().path,
        executor_code=pack_executor().path,
        source=source.path if source else "",
    )
    return launch, shipment


def _entry_point(module: str) -> Entry:
    text = f"import sys\n\nfrom {module} import main\n\nsys.exit(main())\n"
    return Entry(name="__main__.py", data=text.encode())
