"""What travels with an application: the driver's code, the executor's, the user's source, the launch file."""

from pathlib import Path
from typing import Final

import msgspec

from tony_py.application import Application, DriverSettings, TaskType
from tony_py.executor import library
from tony_py.plan import Launch, Shipment
from tony_py.shipping import check_secrets, ship_environment, ship_files
from yarnmill.archives import Archive, Entry, keep, package_entries, source_entries, zip_bytes
from yarnmill.errors import ConfigurationError
from yarnmill.records import compact_json, fingerprint
from yarnmill.report import identity_of
from yarnmill.units import render_bytes

_SOURCE_LIMIT_BYTES: Final = 256 << 20
_DRIVER_PACKAGES: Final = ("conf", "tony_py", "yarnmill")
_EXECUTOR_FILES: Final = ("tony_py/__init__.py", "tony_py/executor/")
_TASK_FILES: Final = "tony_py/task/"


def pack_driver() -> Archive:
    """Return a zip file that Python runs: the platform's own code, so that nodes need its libraries only."""
    return keep(zip_bytes([*package_entries(_DRIVER_PACKAGES), _entry_point("tony_py.driver.main")]), "driver.zip")


def pack_executor() -> Archive:
    """Return a zip file that any Python runs: the executor, and the package that users' programs may import."""
    files = list(package_entries(["tony_py"]))
    executor = [entry for entry in files if entry.name.startswith(_EXECUTOR_FILES)]
    for_programs = [
        Entry(name=entry.name.replace(_TASK_FILES, f"{library.FOLDER}/{library.PACKAGE}/", 1), data=entry.data)
        for entry in files
        if entry.name.startswith(_TASK_FILES)
    ]
    return keep(zip_bytes([*executor, *for_programs, _entry_point("tony_py.executor.main")]), "executor.zip")


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


def prepare(
    application: Application, *, environments: str = "", overwrite: bool = False, index: str = ""
) -> tuple[Launch, Shipment]:
    """Return what the driver is told, and the files to ship: all in the user cache, named by their hashes.

    The fingerprint covers what decides the result and nothing else: the content of inputs, source, files and
    environment, wherever they lie; commands and parameters; not how much memory it takes or who may look.
    Secrets are never read. The driver's code is left out, so that a new platform repeats nothing.

    Parameters
    ----------
    application
        As resolved.
    environments
        URL of the folder that local environments are uploaded to; empty: they are not shipped.
    overwrite
        Let this run's output take the place of another run's.
    index
        URL of the index of runs; empty: there is none.

    Raises
    ------
    NotFoundError
        If an input or a file to ship is not there.
    """
    source = pack_source(application)
    identities = tuple(identity_of(url) for url in application.inputs)
    environment = ship_environment(application.environment, environments) if environments else None
    files = ship_files(application.files, "files")
    files_of = {name: ship_files(kind.files, f"types.{name}.files") for name, kind in application.types.items()}
    _refuse_covered(application, {name for each in (files, *files_of.values()) for name in each})
    contents = {
        "source": source.sha256 if source else "",
        "executor": pack_executor().sha256,
        "environment": environment.identity if environment else "",
        "files": {name: each.identity for name, each in files.items()},
        "types": {kind: {name: each.identity for name, each in own.items()} for kind, own in files_of.items()},
    }
    digest = fingerprint([deciding(application), identities, contents])
    launch = Launch(
        application=application, fingerprint=digest, identities=identities, overwrite=overwrite, index=index
    )
    shipment = Shipment(
        launch=keep(compact_json(launch), "launch.json").path,
        driver_code=pack_driver().path,
        executor_code=pack_executor().path,
        source=source.path if source else "",
        environment=environment.file if environment else None,
        files={name: each.file for name, each in files.items()},
        files_of={kind: {name: each.file for name, each in own.items()} for kind, own in files_of.items() if own},
        secrets=check_secrets(application.secrets),
        uploads=(environment.upload,) if environment and environment.upload else (),
    )
    return launch, shipment


def deciding(application: Application) -> Application:
    """Return the application with only what decides its result: the rest, and paths of this machine, as by default."""
    types = {
        name: TaskType(
            command=kind.command,
            instances=kind.instances,
            min_instances=kind.min_instances,
            max_instances=kind.max_instances,
            processes=kind.processes,
            gpus=kind.gpus,
            env=kind.env,
            image=kind.image,
            role=kind.role,
            depends_on=kind.depends_on,
        )
        for name, kind in application.types.items()
    }
    environment = msgspec.structs.replace(application.environment, archive="")
    return Application(
        name=application.name,
        framework=application.framework,
        types=types,
        output=application.output,
        inputs=application.inputs,
        parameters=application.parameters,
        environment=environment,
        driver=DriverSettings(prepare=application.driver.prepare),
    )


def _refuse_covered(application: Application, names: set[str]) -> None:
    """Raise where a file and a part of the source would stand in the same place."""
    for path in map(Path, application.source):
        if path.name in names:
            raise ConfigurationError(
                f"files.{path.name}: source has {path}, and both would stand in the working folder as {path.name}",
                mend="give the file another name",
            )


def _entry_point(module: str) -> Entry:
    text = f"import sys\n\nfrom {module} import main\n\nsys.exit(main())\n"
    return Entry(name="__main__.py", data=text.encode())
