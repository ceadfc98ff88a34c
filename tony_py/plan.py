"""From an application to what Skein is sent: a pure function whose result can be printed and compared.

One service a type of task with no instances: the driver adds every container itself, with its slot in
its environment. Failing containers never end the application, because the driver alone decides.
"""

import shlex
from typing import Final

from tony_py.application import Application, TaskType
from yarnmill.records import Record, render_yaml

TAG: Final = "tony_py"
"""YARN tag by which the applications of this package are found again."""

LAUNCH_FILE: Final = "tony_launch.json"
_DRIVER_CODE: Final = "tony_driver.zip"
_EXECUTOR_CODE: Final = "tony_executor.zip"
_SOURCE: Final = "tony_source.zip"
_PULSE_MEMORY_MIB: Final = 64


class Launch(Record, frozen=True, kw_only=True):
    """What the driver is told: the resolved application, and what makes this run this run."""

    application: Application
    fingerprint: str
    identities: tuple[str, ...] = ()
    overwrite: bool = False


class Shipment(Record, frozen=True, kw_only=True):
    """Local files that travel with the application; ``source`` is empty when there is none."""

    launch: str
    driver_code: str
    executor_code: str
    source: str = ""


class SkeinResources(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What one container is given."""

    memory: str
    vcores: int
    gpus: int = 0


class SkeinFile(Record, frozen=True, kw_only=True):
    """A file that YARN puts into the container's working folder; an archive is unpacked there."""

    source: str
    type: str


class SkeinService(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Containers of one kind."""

    instances: int
    resources: SkeinResources
    script: str
    files: dict[str, SkeinFile] = {}
    max_restarts: int = -1
    allow_failures: bool = False
    nodes: tuple[str, ...] = ()
    relax_locality: bool = True


class SkeinMaster(Record, frozen=True, kw_only=True):
    """The application master and the script that runs beside it."""

    resources: SkeinResources
    script: str
    files: dict[str, SkeinFile]


class SkeinApplication(Record, frozen=True, kw_only=True):
    """The specification that ``skein application submit`` accepts."""

    name: str
    queue: str
    tags: tuple[str, ...]
    max_attempts: int
    master: SkeinMaster
    services: dict[str, SkeinService]


def plan(application: Application, shipment: Shipment) -> SkeinApplication:
    """Return the Skein application of a resolved application and the files it ships."""
    services = {name: _service(application, kind, shipment) for name, kind in application.types.items()}
    if application.pulse:
        services["pulse"] = _pulse()
    driver = application.driver
    return SkeinApplication(
        name=application.name,
        queue=application.queue,
        tags=(TAG, f"{TAG}-{application.framework}"),
        max_attempts=1,
        master=SkeinMaster(
            resources=SkeinResources(memory=f"{int(driver.memory)} MiB", vcores=driver.vcores),
            script=f"exec {shlex.quote(driver.python)} {_DRIVER_CODE}",
            files={LAUNCH_FILE: _file(shipment.launch), _DRIVER_CODE: _file(shipment.driver_code)},
        ),
        services=services,
    )


def render_plan(application: SkeinApplication) -> str:
    """Return the YAML that ``skein application submit`` reads; equal plans give equal bytes."""
    return render_yaml(application)


def _service(application: Application, kind: TaskType, shipment: Shipment) -> SkeinService:
    environment = application.environment
    files = {_EXECUTOR_CODE: _file(shipment.executor_code)}
    if shipment.source:
        files[_SOURCE] = _file(shipment.source)
    if environment.archive:
        files["environment"] = SkeinFile(source=environment.archive, type="ARCHIVE")
    python = "environment/bin/python" if environment.archive else shlex.quote(environment.python)
    return SkeinService(
        instances=0,
        resources=SkeinResources(memory=f"{int(kind.memory)} MiB", vcores=kind.vcores, gpus=kind.gpus),
        script=f"exec {python} {_EXECUTOR_CODE}",
        files=files,
        max_restarts=0,
        allow_failures=True,
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
