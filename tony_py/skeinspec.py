"""The specification that Skein is sent, as typed records: exactly the keys that are used here."""

from typing import Literal

from yarnmill.records import Record

FileKind = Literal["FILE", "ARCHIVE"]
Visibility = Literal["APPLICATION", "PRIVATE", "PUBLIC"]


class SkeinResources(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What one container is given."""

    memory: str
    vcores: int
    gpus: int = 0


class SkeinFile(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A file that YARN puts into the container's working folder; an archive is unpacked there.

    A node keeps it for one application, for all of the user's, or for everybody's (``PUBLIC``; refused
    unless everybody can read it).
    """

    source: str
    type: FileKind
    visibility: Visibility = "APPLICATION"


class SkeinService(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Containers of one kind."""

    instances: int
    resources: SkeinResources
    script: str
    files: dict[str, SkeinFile] = {}
    env: dict[str, str] = {}
    max_restarts: int = -1
    allow_failures: bool = False
    node_label: str = ""
    nodes: tuple[str, ...] = ()
    relax_locality: bool = True


class SkeinMaster(Record, frozen=True, kw_only=True):
    """The application master and the script that runs beside it."""

    resources: SkeinResources
    script: str
    files: dict[str, SkeinFile]
    env: dict[str, str] = {}


class SkeinAcls(Record, frozen=True, kw_only=True):
    """Who else may see and end the application, and open its pages."""

    enable: bool
    view_users: tuple[str, ...]
    view_groups: tuple[str, ...]
    modify_users: tuple[str, ...]
    modify_groups: tuple[str, ...]
    ui_users: tuple[str, ...]


class SkeinApplication(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The specification that ``skein application submit`` accepts."""

    name: str
    queue: str
    tags: tuple[str, ...]
    max_attempts: int
    master: SkeinMaster
    services: dict[str, SkeinService]
    node_label: str = ""
    file_systems: tuple[str, ...] = ()
    acls: SkeinAcls | None = None
