"""What TonY's settings mean, where one key alone does not say it, and what cannot be meant."""

import pytest

from tony_py.application import Application
from tony_py.tonyconf.mapping import translate
from tony_py.tonyconf.options import Options
from tony_py.tonyconf.settings import Settings, layered
from yarnmill.errors import ConfigurationError


def translated(*confs: str, options: Options | None = None) -> Application:
    overrides = ["tony.containers.command=python train.py", *confs]
    settings = Settings(layered([], overrides)[0], {}, {})
    return translate(settings, options or Options(), runs="/runs", moment="m", source=()).application


def test_ranks_begin_with_the_chief_and_the_workers() -> None:
    types = translated(*(f"tony.{name}.instances=1" for name in ("ps", "evaluator", "worker", "chief"))).types
    assert list(types) == ["chief", "worker", "ps", "evaluator"]


@pytest.mark.parametrize(
    ("confs", "expected"),
    [
        # Workers that wait for each other: the first failure is the application's.
        (["worker=3"], {"worker": (0, True, False)}),
        # With parameter servers the others go on, but not without the one that leads.
        (["worker=3", "ps=1"], {"worker": (2, True, False), "ps": (0, False, False)}),
        (["worker=3", "ps=1", "chief=1"], {"worker": (2, False, False), "chief": (0, True, True)}),
    ],
)
def test_whose_failure_ends_the_application(confs: list[str], expected: dict[str, tuple[int, bool, bool]]) -> None:
    types = translated(*(f"tony.{each.replace('=', '.instances=')}" for each in confs)).types
    found = {name: (kind.tolerate, kind.leader, kind.stop_on_failure) for name, kind in types.items()}
    assert {name: found[name] for name in expected} == expected


def test_a_failing_worker_ends_the_application_where_that_is_asked_for() -> None:
    types = translated(
        "tony.worker.instances=3", "tony.ps.instances=1", "tony.application.fail-on-worker-failure-enabled=true"
    ).types
    assert types["worker"].tolerate == 0
    types = translated(
        "tony.worker.instances=3", "tony.ps.instances=1", "tony.application.stop-on-failure-jobtypes=worker"
    ).types
    assert (types["worker"].tolerate, types["worker"].stop_on_failure) == (0, True)


def test_retries_of_tonys_master_cover_what_stops_at_once_too() -> None:
    application = translated("tony.chief.instances=1", "tony.am.retry-count=2")
    assert application.types["chief"].stop_on_failure is False
    assert (application.retries.of("user").retries, application.retries.of("oom").retries) == (2, 2)


def test_a_gang_is_waited_for_as_long_as_tony_waits() -> None:
    forever = translated("tony.worker.instances=1")
    assert forever.timeouts.gang is None
    assert forever.retries.of("gang").retries > 100_000
    once = translated("tony.worker.instances=1", "tony.container.allocation.timeout=60000")
    assert once.timeouts.gang == 60.0
    assert once.retries.of("gang").retries == 0


def test_heartbeats_are_missed_three_times_at_least() -> None:
    application = translated("tony.worker.instances=1", "tony.task.max-missed-heartbeats=1")
    assert application.timeouts.heartbeat == 3.0


def test_both_stages_are_completed_from_one() -> None:
    names = ("db", "load", "worker")
    types = translated(*(f"tony.{name}.instances=1" for name in names), "tony.application.training-stage=worker").types
    assert {name: kind.depends_on for name, kind in types.items()} == {
        "worker": ("db", "load"),
        "db": (),
        "load": (),
    }


def test_a_timeout_that_may_be_ignored_makes_a_sidecar_that_lingers() -> None:
    key = "tony.application.dependency.evaluator.timeout.after.all"
    confs = ["tony.worker.instances=1", "tony.evaluator.instances=1", "tony.application.group.all=worker"]
    evaluator = translated(*confs, f"{key}=60", f"{key}.ignored=true").types["evaluator"]
    assert (evaluator.linger, evaluator.role) == (60.0, "sidecar")
    assert translated(*confs, f"{key}=60").types["evaluator"].role == "worker"


def test_docker_brings_its_own_python_and_nodes_theirs() -> None:
    docker = ["tony.worker.instances=1", "tony.docker.enabled=true", "tony.docker.containers.image=i"]
    assert translated(*docker).environment.python == "python3"
    assert translated("tony.worker.instances=1").environment.python == ""
    absolute = Options(python_binary_path="/opt/python/bin/python")
    assert translated("tony.worker.instances=1", options=absolute).environment.python == "/opt/python/bin/python"


def test_files_of_the_command_line() -> None:
    options = Options(hdfs_classpath="/libs/, hdfs://other/jars/a.jar", python_venv="hdfs:///envs/e.tar.gz")
    assert translated("tony.worker.instances=1", options=options).files == {
        "libs": "hdfs:///libs",
        "a.jar": "hdfs://other/jars/a.jar",
        "venv/": "hdfs:///envs/e.tar.gz",
    }


@pytest.mark.parametrize(
    ("confs", "words"),
    [
        (["worker.max-instances=2"], ["tony.worker.max-instances", "3 instances of worker", "2 allowed"]),
        (["task.max-total-instances=2"], ["tony.task.max-total-instances", "3 instances of all tasks"]),
        (["task.max-total-gpus=5", "worker.gpus=2"], ["tony.task.max-total-gpus", "6 gpus of all tasks"]),
        (["task.max-total-memory=4096"], ["tony.task.max-total-memory", "6144 memory of all tasks"]),
        (["task.max-total-fpgas=1"], ["tony.task.max-total-fpgas", "instances, memory, vcores or gpus"]),
        (["containers.command="], ["tony.worker.command", "nothing to run", "--executes"]),
        (["application.framework=jax"], ["tony.application.framework", "'jax'", "pytorch"]),
        (["application.distributed-mode=ALONE"], ["tony.application.distributed-mode", "GANG or FCFS"]),
        (
            ["application.framework=horovod", "application.distributed-mode=fcfs"],
            ["tony.application.distributed-mode", "GANG"],
        ),
        (["driver.instances=1"], ["tony.driver.instances", "another name than driver"]),
        (["worker.instances=-1"], ["tony.worker.instances", "0 or more"]),
        (["application.single-node=true"], ["tony.application.single-node", "no instances, not worker"]),
        (["application.prepare-stage=load"], ["tony.application.prepare-stage", "types that have instances: worker"]),
        (
            ["ps.instances=1", "application.prepare-stage=ps", "application.training-stage=ps"],
            ["worker, ps must stand in one of the two stages"],
        ),
        (["am.node-label=gpu"], ["tony.am.node-label", "tony.application.node-label"]),
        (["docker.enabled=true"], ["tony.docker.enabled", "tony.docker.containers.image"]),
        (["chief.index=1"], ["tony.chief.index", "the first instance leads"]),
        (["worker.resources=a::b::c"], ["tony.worker.resources", "a::b::c", "path::name#archive"]),
        (["worker.resources=a/x,b/x"], ["tony.worker.resources", "two resources have the name x"]),
        (
            ["evaluator.instances=1", "application.dependency.evaluator.timeout.after.all=6"],
            ["tony.application.group.all"],
        ),
        (
            [
                *["evaluator.instances=1", "chief.instances=1", "application.group.all=worker"],
                "application.dependency.evaluator.timeout.after.all=6",
            ],
            ["tony.application.group.all", "chief, worker", "types.<type>.timeout"],
        ),
    ],
)
def test_what_cannot_be_meant_is_named_with_its_key(confs: list[str], words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as error:
        translated("tony.worker.instances=3", *(f"tony.{conf}" for conf in confs))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_negative_limit_is_none() -> None:
    assert translated("tony.worker.instances=3", "tony.task.max-total-instances=-1").types["worker"].instances == 3
