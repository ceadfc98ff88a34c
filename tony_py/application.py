"""The application: what a person writes to have a gang of programs run on YARN.

Pure values: parsing refuses unknown keys with their path. Nothing here knows YARN's or Skein's interfaces,
or what is being trained.
"""

from typing import Final, Literal

from yarnmill.records import Record
from yarnmill.units import Mebibytes, Seconds

Framework = Literal["standalone", "tensorflow", "torch", "horovod", "mxnet"]
Role = Literal["worker", "chief", "untracked", "sidecar"]
RestartScope = Literal["auto", "gang", "task"]
FailureClass = Literal["user", "oom", "infra", "port", "hang"]

RESERVED_TYPES: Final = frozenset({"driver", "pulse"})


class TaskType(Record, frozen=True, kw_only=True):
    """One kind of task: how many, what each gets, what each runs, and what its failure means.

    Parameters
    ----------
    command
        Command line for bash, in the folder that ``source`` was unpacked to.
    instances
        Containers that the barrier waits for.
    min_instances, max_instances
        Both 0 for a gang of fixed size. Otherwise the gang goes on with as few as ``min_instances`` and takes
        in as many as ``max_instances``, at a checkpoint.
    processes
        Copies of the command in each container, told apart by LOCAL_RANK.
    memory, vcores, gpus
        What each container is given.
    env
        Variables over those of the framework.
    files
        What YARN puts into the working folder: name there, and a URL or path. A name that ends in ``/`` is an
        archive, unpacked into a folder of that name.
    node_label
        YARN's label of the nodes to run on.
    image
        Docker image of this type, where it is not that of ``environment.docker``.
    role
        ``worker``: the application waits for it, and its failure counts. ``chief``: its good end is the
        application's. ``untracked`` (a parameter server): ended when all workers have ended; its failure
        counts. ``sidecar`` (a TensorBoard): ended likewise; its failure never counts.
    stop_on_failure
        A failure of the program itself ends the application at once, whatever ``retries`` allows.
    tolerate
        How many of the instances may fail for good without failing the application.
    leader
        The first instance leads the others: ``tolerate`` does not cover it.
    linger
        How long instances may go on once all tasks of the other types that the application waits for have ended.
        After that a worker fails the application, and any other is ended. 0 is for ever for a worker, and not at
        all for any other.
    depends_on
        Types that must have ended well before containers of this one are asked for.
    timeout
        How long one run of the program may take; 0 is for ever.
    page
        Title of a page under the application's tracking URL that leads to this type's first task; empty: none.
    """

    command: str
    instances: int = 1
    min_instances: int = 0
    max_instances: int = 0
    processes: int = 1
    memory: Mebibytes = Mebibytes(1024)
    vcores: int = 1
    gpus: int = 0
    env: dict[str, str] = {}
    files: dict[str, str] = {}
    node_label: str = ""
    image: str = ""
    role: Role = "worker"
    stop_on_failure: bool = False
    tolerate: int = 0
    leader: bool = False
    linger: Seconds = Seconds(0.0)
    depends_on: tuple[str, ...] = ()
    timeout: Seconds = Seconds(0.0)
    page: str = ""

    @property
    def is_tracked(self) -> bool:
        """Whether the application waits for it."""
        return self.role in {"worker", "chief"}

    @property
    def is_elastic(self) -> bool:
        """Whether the gang may go on with fewer or more of it."""
        return self.most > self.least

    @property
    def least(self) -> int:
        """Fewest instances that the gang goes on with."""
        return self.min_instances or self.instances

    @property
    def most(self) -> int:
        """Most instances that the gang takes in."""
        return max(self.max_instances, self.instances)


class Docker(Record, frozen=True, kw_only=True):
    """YARN's Docker runtime, where the cluster has it.

    Parameters
    ----------
    image
        What the tasks' containers run in; the driver's does not.
    mounts
        Folders of the node, as ``source:target:ro`` or ``source:target:rw``.
    """

    image: str = ""
    mounts: tuple[str, ...] = ()


class Environment(Record, frozen=True, kw_only=True):
    """The Python of the programs: a path on the nodes, or an archive that YARN unpacks and caches there.

    Parameters
    ----------
    python
        Its path on the nodes; with a ``.pex`` file, the one it runs under. Neither this nor ``archive``: the
        platform's ``training.python``, or with an image the image's ``python3``.
    archive
        A URL, a local archive, folder or ``.pex`` file (shipped once, named by its content), or
        ``python:///path/on/the/nodes``, which is the same as ``python``.
    binary
        Where the archive has its Python.
    docker
        The image of the tasks' containers.
    """

    python: str = ""
    archive: str = ""
    binary: str = "bin/python"
    docker: Docker = Docker()


class DriverSettings(Record, frozen=True, kw_only=True):
    """The container of Skein's master and of the driver.

    Parameters
    ----------
    memory, vcores, gpus
        What it is given.
    python
        The platform's Python on the nodes; empty: the platform's ``spark.python``.
    attempts
        How often YARN may start it; a driver that was lost resumes from the last checkpoints.
    prepare
        Command that it runs before any container is asked for, with ``source`` at hand; the JSON object that
        it writes to ``TONY_PARAMETERS_FILE`` reaches the tasks as parameters.
    """

    memory: Mebibytes = Mebibytes(1024)
    vcores: int = 1
    gpus: int = 0
    python: str = ""
    attempts: int = 1
    prepare: str = ""


class Timeouts(Record, frozen=True, kw_only=True):
    """How long to wait for what; 0 is for ever.

    Parameters
    ----------
    gang
        From the request of the containers to the last one's allocation, for one try; null takes the
        platform's ``training.gang_timeout``.
    register
        From a container's allocation to its executor's first word: localisation of files counts here.
    start
        From the barrier to the start of every program.
    heartbeat
        Silence after which a task counts as lost.
    grace
        What a program has to end after SIGTERM.
    progress
        Time without a further step after which a task that reports steps counts as hanging.
    elastic
        How long an elastic gang that could go on waits for its other members.
    run
        Everything after the first barrier.
    """

    gang: Seconds | None = None
    register: Seconds = Seconds(900.0)
    start: Seconds = Seconds(60.0)
    heartbeat: Seconds = Seconds(5.0)
    grace: Seconds = Seconds(5.0)
    progress: Seconds = Seconds(0.0)
    elastic: Seconds = Seconds(30.0)
    run: Seconds = Seconds(0.0)


class Budget(Record, frozen=True, kw_only=True):
    """How often something may fail before the application does.

    Parameters
    ----------
    retries
        Failures that are mended.
    backoff
        The first is tried at once, the second after this, each further one after twice the time, up to a minute.
    window
        Failures older than this no longer count, so that a long run has a rate and not a total; 0 counts all.
    """

    retries: int = 0
    backoff: Seconds = Seconds(1.0)
    window: Seconds = Seconds(0.0)


class Retries(Record, frozen=True, kw_only=True):
    """One budget for each class of failures, and one for tries to get the whole gang; a number stands for its retries.

    Parameters
    ----------
    user
        The program failed by itself.
    oom
        It had too little memory.
    infra
        Container, node or executor was lost.
    port
        A port was taken.
    hang
        No further step.
    gang
        Not all containers came.
    """

    user: int | Budget = 0
    oom: int | Budget = 0
    infra: int | Budget = Budget(retries=10, window=Seconds(3600.0))
    port: int | Budget = 5
    hang: int | Budget = 1
    gang: int | Budget = Budget(retries=3, backoff=Seconds(2.0))

    def of(self, kind: str) -> Budget:
        """Return the budget of a class of failures."""
        value: int | Budget = getattr(self, kind)
        return Budget(retries=value) if isinstance(value, int) else value


class Access(Record, frozen=True, kw_only=True):
    """Who else may see and who may end the application, checked by YARN where ``yarn.acl.enable`` is set.

    Parameters
    ----------
    restricted
        Leave it to whoever sent it and those named here; naming anybody does so too. Otherwise it is as the cluster
        has it, and everybody may see the page. null: ``true`` on a cluster with Kerberos.
    view_users, view_groups
        Who may see its page and its logs; ``*`` is everybody.
    modify_users, modify_groups
        Who may end it.
    """

    restricted: bool | None = None
    view_users: tuple[str, ...] = ()
    view_groups: tuple[str, ...] = ()
    modify_users: tuple[str, ...] = ()
    modify_groups: tuple[str, ...] = ()

    @property
    def is_limited(self) -> bool:
        """Whether it is left to the owner and those who are named."""
        named = (self.view_users, self.view_groups, self.modify_users, self.modify_groups)
        return bool(self.restricted) or any(named)


class Tracking(Record, frozen=True, kw_only=True):
    """The MLflow server that is told of the run.

    Parameters
    ----------
    uri
        Its address; empty: nothing is told.
    experiment
        Name of the experiment; empty: the application's.
    """

    uri: str = ""
    experiment: str = ""


class Application(Record, frozen=True, kw_only=True):
    """A gang of programs on YARN, and where they read and write.

    Parameters
    ----------
    name
        YARN's name of the application.
    framework
        What the programs find in their environment.
    types
        The kinds of tasks; ranks count in this order.
    output
        URL of the folder that the result is moved to when all have ended well.
    queue
        YARN's queue; empty: the platform's ``training.queue``.
    tags
        YARN tags beside those of ``tony_py``, for finding it again.
    node_label
        YARN's label of the nodes to run on, the driver's included.
    inputs
        URLs whose content decides the result.
    parameters
        Reach the programs as ``TONY_PARAM_<NAME>`` and replace ``${name}`` in commands, environments, inputs
        and output; ``$NAME`` is the shell's, ``$${`` a literal ``${``.
    source
        Files and folders (relative to the application's file) that stand in each task's working folder.
    files
        As ``types.<name>.files``, for every type and for ``driver.prepare``.
    secrets
        Files that each container finds under ``TONY_SECRETS_DIR``: name there and local path. They travel
        in the application's private folder and stand on no command line and in no log.
    file_systems
        Further file systems that containers need delegation tokens for.
    environment, driver, timeouts, retries, access, tracking
        Sections of their own, below.
    restart
        What a failing task takes along when it is started again: the ``gang`` or only itself. ``auto`` is
        ``task`` for standalone programs and ``gang`` for all frameworks. ``task`` with Horovod is Horovod's own
        elasticity: programs are written for ``hvd.elastic.run``, and the processes of the others live on.
    pulse
        Keep YARN's answers quick by a request that is never granted.
    dashboard
        A page under the tracking URL.
    schema_version
        Form of this file.
    """

    name: str
    framework: Framework
    types: dict[str, TaskType]
    output: str
    queue: str = ""
    tags: tuple[str, ...] = ()
    node_label: str = ""
    inputs: tuple[str, ...] = ()
    parameters: dict[str, str | int | float | bool] = {}
    source: tuple[str, ...] = ()
    files: dict[str, str] = {}
    secrets: dict[str, str] = {}
    file_systems: tuple[str, ...] = ()
    environment: Environment = Environment()
    driver: DriverSettings = DriverSettings()
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    restart: RestartScope = "auto"
    access: Access = Access()
    tracking: Tracking = Tracking()
    pulse: bool = True
    dashboard: bool = True
    schema_version: Literal[1] = 1

    @property
    def restarts_gang(self) -> bool:
        """Whether a failing task takes the whole gang along."""
        return self.restart == "gang" or (self.restart == "auto" and self.framework != "standalone")


def stages(application: Application) -> list[tuple[str, ...]]:
    """Return the types in the order in which they run, those of one stage together; empty if they wait in a circle."""
    found: list[tuple[str, ...]] = []
    rest = dict(application.types)
    while rest:
        ready = tuple(name for name, kind in rest.items() if not any(other in rest for other in kind.depends_on))
        if not ready:
            return []
        found.append(ready)
        rest = {name: kind for name, kind in rest.items() if name not in ready}
    return found


def render_parameter(value: str | float | bool) -> str:  # noqa: FBT001  # a parameter may be a truth value
    """Return a parameter as programs get it: truth values as in YAML, everything else as written."""
    return str(value).lower() if isinstance(value, bool) else str(value)
