"""From an application to what Skein is sent: a pure function whose result can be printed and compared.

One service a type of task with no instances: the driver adds every container itself, with its slot in
its environment. Failing containers never end the application, because the driver alone decides.
"""

import shlex
from typing import Final, Literal

from tony_py.application import Access, Application, Docker, TaskType
from tony_py.layout import (
    ENVIRONMENT_FOLDER,
    EXECUTOR_CODE,
    PEX_FILE,
    SOURCE_CODE,
    container_script,
    python_of,
    secret_file,
)
from tony_py.skeinspec import SkeinAcls, SkeinApplication, SkeinFile, SkeinMaster, SkeinResources, SkeinService
from yarnmill.javaoptions import QUICK_JAVA
from yarnmill.records import Record, render_yaml

TAG: Final = "tony_py"
"""YARN tag by which the applications of this package are found again."""

LAUNCH_FILE: Final = "tony_launch.json"
_DRIVER_CODE: Final = "tony_driver.zip"
_PULSE_MEMORY_MIB: Final = 64
_MASTER_ENV: Final = {"JDK_JAVA_OPTIONS": f"--add-opens=java.base/java.util=ALL-UNNAMED {QUICK_JAVA}"}
"""Without the first the overview of Skein's master, which leads to all pages, is an error 500 from Java 17 on."""


class Launch(Record, frozen=True, kw_only=True):
    """What the driver is told: the resolved application, what makes this run this run, and the index of runs."""

    application: Application
    fingerprint: str
    identities: tuple[str, ...] = ()
    overwrite: bool = False
    index: str = ""


class Upload(Record, frozen=True, kw_only=True):
    """Something local that must stand on HDFS before the application is sent, and is never sent twice.

    Parameters
    ----------
    key
        The key that names it.
    kind
        A file as it is, or the folder of an environment, packed on the way.
    source
        Its path here.
    target
        Its URL there.
    digest
        Of its content; part of the target's name.
    """

    key: str
    kind: Literal["file", "environment"]
    source: str
    target: str
    digest: str


class Shipment(Record, frozen=True, kw_only=True):
    """Files that travel with the application or stand on HDFS before it is sent.

    Parameters
    ----------
    launch, driver_code, executor_code, source
        Local paths; ``source`` is empty when there is none.
    environment
        The archive of the programs' Python.
    files, files_of
        What every container finds, and what those of one type find, by name.
    secrets
        Local paths by name.
    uploads
        What has to be brought to HDFS first.
    """

    launch: str
    driver_code: str
    executor_code: str
    source: str = ""
    environment: SkeinFile | None = None
    files: dict[str, SkeinFile] = {}
    files_of: dict[str, dict[str, SkeinFile]] = {}
    secrets: dict[str, str] = {}
    uploads: tuple[Upload, ...] = ()


def plan(application: Application, shipment: Shipment) -> SkeinApplication:
    """Return the Skein application of a resolved application and the files it ships."""
    services = {name: _service(application, name, kind, shipment) for name, kind in application.types.items()}
    if application.pulse:
        services["pulse"] = _pulse()
    return SkeinApplication(
        name=application.name,
        queue=application.queue,
        tags=(TAG, f"{TAG}-{application.framework}", *application.tags),
        max_attempts=application.driver.attempts,
        node_label=application.node_label,
        file_systems=application.file_systems,
        acls=_acls(application.access),
        master=_master(application, shipment),
        services=services,
    )


def render_plan(application: SkeinApplication) -> str:
    """Return the YAML that ``skein application submit`` reads; equal plans give equal bytes."""
    return render_yaml(application)


def _master(application: Application, shipment: Shipment) -> SkeinMaster:
    driver = application.driver
    command = f"{shlex.quote(driver.python)} {_DRIVER_CODE}"
    files = {LAUNCH_FILE: _file(shipment.launch), _DRIVER_CODE: _file(shipment.driver_code)}
    script = f"exec {command}"
    if driver.prepare:  # the user's command runs there, so it finds what a task would
        files |= {EXECUTOR_CODE: _file(shipment.executor_code), **localised_files(shipment)}
        script = container_script(
            command, files=shipment.files, secrets=shipment.secrets, environment=application.environment
        )
    resources = SkeinResources(memory=f"{int(driver.memory)} MiB", vcores=driver.vcores, gpus=driver.gpus)
    return SkeinMaster(resources=resources, script=script, files=files, env=dict(_MASTER_ENV))


def _service(application: Application, name: str, kind: TaskType, shipment: Shipment) -> SkeinService:
    environment = application.environment
    return SkeinService(
        instances=0,
        resources=SkeinResources(memory=f"{int(kind.memory)} MiB", vcores=kind.vcores, gpus=kind.gpus),
        script=container_script(
            f"{python_of(environment)} {EXECUTOR_CODE}",
            files=own_files(shipment, name),
            secrets=shipment.secrets,
            environment=environment,
        ),
        files={EXECUTOR_CODE: _file(shipment.executor_code), **localised_files(shipment, name)},
        env=_docker(environment.docker, kind.image),
        max_restarts=0,
        allow_failures=True,
        node_label=kind.node_label,
    )


def own_files(shipment: Shipment, kind: str = "") -> dict[str, SkeinFile]:
    """Return what ``files`` names for every type and for one, whose own goes first."""
    return {**shipment.files, **shipment.files_of.get(kind, {})}


def localised_files(shipment: Shipment, kind: str = "") -> dict[str, SkeinFile]:
    """Return all that programs of a type find in the container's folder: source, environment, files, and secrets.

    A node drops secrets with the application: YARN's PRIVATE would leave them in the user's cache there.
    """
    files = {SOURCE_CODE: _file(shipment.source)} if shipment.source else {}
    if shipment.environment is not None:
        is_archive = shipment.environment.type == "ARCHIVE"
        files[ENVIRONMENT_FOLDER if is_archive else PEX_FILE] = shipment.environment
    secrets = {secret_file(name): _file(path) for name, path in shipment.secrets.items()}
    return {**files, **own_files(shipment, kind), **secrets}


def _docker(docker: Docker, own_image: str) -> dict[str, str]:
    """Return the variables by which YARN's Docker runtime takes a container; none without an image."""
    image = own_image or docker.image
    if not image:
        return {}
    variables = {"YARN_CONTAINER_RUNTIME_TYPE": "docker", "YARN_CONTAINER_RUNTIME_DOCKER_IMAGE": image}
    if docker.mounts:
        variables["YARN_CONTAINER_RUNTIME_DOCKER_MOUNTS"] = ",".join(docker.mounts)
    return variables


def _acls(access: Access) -> SkeinAcls | None:
    if not access.is_limited:
        return None  # Skein's own: everybody sees the page, all else is as the cluster has it
    return SkeinAcls(
        enable=True,
        view_users=access.view_users,
        view_groups=access.view_groups,
        modify_users=access.modify_users,
        modify_groups=access.modify_groups,
        ui_users=access.view_users,  # Skein's pages know users only
    )


def _pulse() -> SkeinService:
    """Return a container that YARN can never place.

    Skein's master talks to YARN once a second while a request is pending and every five seconds when
    none is: this one request makes every start, exit and end four seconds quicker to be seen.
    """
    return SkeinService(
        instances=1,
        resources=SkeinResources(memory=f"{_PULSE_MEMORY_MIB} MiB", vcores=1),
        script="exit 0",
        max_restarts=0,
        allow_failures=True,
        nodes=("no-such-host.invalid",),
        relax_locality=False,
    )


def _file(path: str) -> SkeinFile:
    return SkeinFile(source=path if "://" in path else f"file://{path}", type="FILE")
