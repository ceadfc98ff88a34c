"""On the real cluster, what YARN does to a run: nodes and masters that die, queues without room, clients that go."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from waiting import eventually

from tony_py import client
from tony_py.application import (
    Application,
    Budget,
    DriverSettings,
    Environment,
    Retries,
    TaskType,
    Timeouts,
)
from tony_py.history import Event, read_history
from tony_py.loading import load_application
from yarnmill import fs, yarn
from yarnmill.config import Config, load_config
from yarnmill.errors import JobFailedError
from yarnmill.localcluster.cluster import ClusterState, LocalCluster
from yarnmill.report import RunReport
from yarnmill.units import Mebibytes, Seconds

PROGRAM = Path(__file__).parent / "programs" / "steps.py"
MEMORY = Mebibytes(256)


def silent(_line: str) -> None:
    pass


def application(url: str, *, instances: int = 2, **changes: object) -> Application:
    """Return workers that count steps until something interrupts them, resume from the last saved one, and end."""
    worker = TaskType(command="python steps.py interrupted", instances=instances, memory=MEMORY)
    values: dict[str, object] = {
        "name": "faults",
        "framework": "torch",
        "types": {"worker": worker},
        "output": f"{url}/output",
        "environment": Environment(python=sys.executable),
        "source": (str(PROGRAM),),
        "timeouts": Timeouts(gang=Seconds(300.0)),
        **changes,
    }
    return Application(**values)  # type: ignore[arg-type]


def processes_of(application_id: str, *, marked: str = "SKEIN_APPLICATION_ID={}") -> dict[int, str]:
    """Return the processes of an application on this machine: id and command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
                if marked.format(application_id).encode() in environment:
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().decode().replace("\0", " ")
            except OSError:
                continue
    return found


def environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def executors_of(application_id: str) -> dict[str, int]:
    """Return the executors of an application by task."""
    lines = processes_of(application_id)
    found = {pid for pid, line in lines.items() if "tony_executor.zip" in line and "bash" not in line.split()[0]}
    return {environment_of(pid)["TONY_TASK"]: pid for pid in found}


class Running:
    """An application that is followed in the background, and what it has told so far."""

    def __init__(self, app: Application, config: Config) -> None:
        self.lines: list[str] = []
        self.pool = ThreadPoolExecutor(1)
        self.result = self.pool.submit(client.run_application, app, config, self.lines.append)

    def until(self, line: str) -> None:
        assert eventually(lambda: any(each.startswith(line) for each in self.lines) or self.result.done()), self.lines
        assert any(each.startswith(line) for each in self.lines), (self.lines, self.result.exception())

    def until_saved(self) -> None:
        """Wait until the first worker has gone well beyond the step that it saves first, and all others have begun."""
        assert eventually(lambda: sum(each.startswith("progress worker:0") for each in self.lines) >= 3), self.lines

    @property
    def application_id(self) -> str:
        return self.lines[0].partition(":")[0]

    def report(self) -> RunReport:
        report, ran = self.result.result(timeout=400)
        assert ran
        return report


@pytest.fixture
def running(config: Config, hdfs: str) -> Iterator[Callable[[Application], Running]]:  # noqa: ARG001  # it needs HDFS
    started: list[Running] = []

    def start(app: Application) -> Running:
        started.append(Running(app, config))
        return started[-1]

    yield start
    for each in started:
        if not each.result.done() and each.lines:
            client.kill(each.application_id)
        each.pool.shutdown()


def events_of(url: str, *names: str) -> list[Event]:
    return [event for event in read_history(f"{url}/output/history.jsonl") if event.event in names]


def assert_nothing_left(application_id: str) -> None:
    assert eventually(lambda: not processes_of(application_id), 60.0), processes_of(application_id)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_dies_is_replaced_and_the_others_keep_their_containers(
    hdfs: str, running: Callable[[Application], Running], how: signal.Signals
) -> None:
    run = running(application(hdfs, instances=3))
    run.until_saved()
    os.kill(executors_of(run.application_id)["worker:1"], how)
    report = run.report()
    assert report.state == "succeeded"
    assert report.counts["restarts"] == 1
    given = {}
    for event in events_of(hdfs, "registered"):
        given.setdefault(event.task, set()).add(event.detail.split()[-1])
    assert {t: len(containers) for t, containers in given.items()} == {"worker:0": 1, "worker:1": 2, "worker:2": 1}
    assert report.metrics["resumed_at"] > 0
    assert_nothing_left(report.application_id)


def test_a_container_that_yarn_ends_is_replaced(hdfs: str, running: Callable[[Application], Running]) -> None:
    run = running(application(hdfs))
    run.until_saved()
    with client.skein_client() as skein:
        skein.connect(run.application_id).kill_container("worker_1")
    report = run.report()
    assert report.counts["restarts"] == 1
    assert_nothing_left(report.application_id)


def test_a_lost_node_is_left_and_an_elastic_gang_goes_on_with_what_is_left(
    hdfs: str, cluster: ClusterState, running: Callable[[Application], Running]
) -> None:
    # The master and four workers need more cores than a node has, so both nodes are in use.
    worker = TaskType(command="python steps.py interrupted", instances=4, min_instances=2, memory=MEMORY)
    # On a busy machine the other node's workers may come seconds later, and the gang is not to begin without them.
    timeouts = Timeouts(gang=Seconds(300.0), elastic=Seconds(20.0))
    run = running(application(hdfs, types={"worker": worker}, timeouts=timeouts))
    run.until_saved()
    hosts = {task: environment_of(pid)["NM_PORT"] for task, pid in executors_of(run.application_id).items()}
    driver = next(pid for pid, line in processes_of(run.application_id).items() if "tony_driver.zip" in line)
    home = environment_of(driver)["NM_PORT"]  # the master's node stays, or there would be no run
    lost = next(port for port in hosts.values() if port != home)
    daemon = next(
        each for each in cluster.daemons if each.pid and each.name.startswith("nodemanager") and lost in each.address
    )
    try:
        os.kill(daemon.pid or 0, signal.SIGKILL)
        for task, port in hosts.items():
            if port == lost:
                os.kill(executors_of(run.application_id)[task], signal.SIGKILL)
        report = run.report()
        assert report.state == "succeeded"
        assert report.counts["restarts"] == 1
        assert "without worker:" in events_of(hdfs, "barrier")[1].detail
    finally:
        config = load_config(home=str(Path(cluster.root).parent))
        LocalCluster(config.home_path, config.cluster).up(silent)


def test_a_lost_master_is_followed_by_another_one_that_resumes(
    hdfs: str, running: Callable[[Application], Running]
) -> None:
    run = running(application(hdfs, driver=DriverSettings(attempts=2)))
    run.until_saved()
    master = next(
        pid for pid, line in processes_of(run.application_id).items() if "ApplicationMaster" in line and "java" in line
    )
    os.kill(master, signal.SIGKILL)
    report = run.report()
    assert report.state == "succeeded"
    assert report.metrics["resumed_at"] > 0
    assert [event.event for event in events_of(hdfs, "submitted", "resumed")] == ["submitted", "resumed"]
    assert_nothing_left(report.application_id)


@pytest.fixture
def two_queues(cluster: ClusterState) -> Iterator[None]:
    """Give the cluster a second queue, ``urgent``, that owns half of it, and take it away again."""
    path = Path(cluster.environment()["HADOOP_CONF_DIR"]) / "capacity-scheduler.xml"
    before = path.read_text()

    def refresh(text: str) -> None:
        path.write_text(text)
        subprocess.run([client.yarn_command(), "rmadmin", "-refreshQueues"], check=True, capture_output=True)

    def with_urgent(state: str) -> str:
        values = {"capacity": "50", "maximum-capacity": "100", "state": state, "user-limit-factor": "4"}
        of_urgent = "".join(
            f"<property><name>yarn.scheduler.capacity.root.urgent.{key}</name><value>{value}</value></property>"
            for key, value in values.items()
        )
        text = before.replace("root.queues</name><value>default<", "root.queues</name><value>default,urgent<")
        text = text.replace("default.capacity</name><value>100<", "default.capacity</name><value>50<")
        return text.replace("</configuration>", of_urgent + "</configuration>")

    refresh(with_urgent("RUNNING"))
    try:
        yield
    finally:
        refresh(with_urgent("STOPPED"))  # a queue that runs is never dropped
        refresh(before)


@pytest.mark.usefixtures("two_queues")
def test_a_gang_that_yarn_preempts_makes_room_and_comes_back(
    hdfs: str, running: Callable[[Application], Running]
) -> None:
    memory = sum(node.memory_mib for node in yarn.nodes())
    small = DriverSettings(memory=Mebibytes(512))
    worker = TaskType(command="python steps.py interrupted", instances=4, vcores=1, memory=Mebibytes(memory // 5))
    patient = Timeouts(gang=Seconds(300.0))
    loser = running(application(f"{hdfs}/a", types={"worker": worker}, driver=small, timeouts=patient))
    loser.until_saved()
    urgent = TaskType(command="sleep 3", instances=2, vcores=1, memory=Mebibytes(memory // 5))
    winner = running(application(f"{hdfs}/b", types={"worker": urgent}, driver=small, queue="urgent", timeouts=patient))
    assert winner.report().state == "succeeded"
    report = loser.report()
    assert report.state == "succeeded"
    assert report.metrics["resumed_at"] > 0
    lost = [event.detail for event in events_of(f"{hdfs}/a", "lost")]
    assert lost
    assert all("preempted" in detail for detail in lost), lost
    assert_nothing_left(report.application_id)


def test_two_gangs_of_three_fifths_of_the_cluster_both_finish(
    hdfs: str, running: Callable[[Application], Running]
) -> None:
    memory = sum(node.memory_mib for node in yarn.nodes())
    each = Mebibytes(int(memory * 0.6 - 1024) // 4)
    gangs = []
    for name in ("a", "b"):
        worker = TaskType(command="sleep 3", instances=4, memory=each, vcores=1)
        gangs.append(
            running(
                application(
                    f"{hdfs}/{name}",
                    name=name,
                    types={"worker": worker},
                    driver=DriverSettings(memory=Mebibytes(768)),
                    timeouts=Timeouts(gang=Seconds(15.0)),
                    retries=Retries(gang=Budget(retries=20)),
                )
            )
        )
    assert [gang.report().state for gang in gangs] == ["succeeded", "succeeded"]


def test_a_gang_that_never_fits_ends_with_the_names_of_the_missing(hdfs: str, config: Config) -> None:
    memory = sum(node.memory_mib for node in yarn.nodes())
    occupant = TaskType(command="sleep 60", memory=Mebibytes(memory // 2 // 2), instances=3)
    guest = TaskType(command="true", memory=Mebibytes(memory // 2 // 2), instances=1)
    wide = {"timeouts": Timeouts(gang=Seconds(100.0)), "driver": DriverSettings(memory=Mebibytes(512))}
    holder = Running(application(f"{hdfs}/holder", types={"worker": occupant}, **wide), config)
    try:
        holder.until("started worker:2")
        app = application(
            f"{hdfs}/guest",
            types={"worker": guest},
            driver=DriverSettings(memory=Mebibytes(512)),
            timeouts=Timeouts(gang=Seconds(3.0)),
            retries=Retries(gang=1),
        )
        with pytest.raises(JobFailedError, match="worker:0: no container yet") as error:
            client.run_application(app, config, silent)
        assert "1 retries spent (retries.gang)" in str(error.value)
    finally:
        client.kill(holder.application_id)
        holder.pool.shutdown()


def test_a_client_that_is_killed_loses_nothing(hdfs: str, tmp_path: Path) -> None:
    description = {
        "name": "attached",
        "framework": "torch",
        "types": {"worker": {"command": "python steps.py 30", "instances": 2, "memory": "256 MiB"}},
        "source": [str(PROGRAM)],
        "environment": {"python": sys.executable},
        "output": f"{hdfs}/output",
    }
    (tmp_path / "app.yaml").write_text(yaml.safe_dump(description))
    command = [str(Path(sys.executable).with_name("tony_py")), "submit", str(tmp_path / "app.yaml")]
    attached = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert attached.stderr is not None
    application_id = ""
    for line in attached.stderr:
        application_id = application_id or line.partition(":")[0]
        if "progress" in line:
            break
    os.killpg(attached.pid, signal.SIGKILL)
    attached.communicate()
    assert eventually(lambda: yarn.application(application_id).is_finished, 200.0)
    assert yarn.application(application_id).final_status == "SUCCEEDED"
    assert fs.exists(f"{hdfs}/output/report.json")
    assert_nothing_left(application_id)


def test_a_full_disk_is_no_error_of_the_users_and_is_named(hdfs: str, config: Config) -> None:
    worker = TaskType(command="""exec python -c "open('/dev/full', 'w').write('x' * 100000)" """, memory=MEMORY)
    app = application(hdfs, types={"worker": worker}, retries=Retries(infra=1))
    with pytest.raises(JobFailedError, match="No space left on device") as error:
        client.run_application(app, config, silent)
    assert "infra: 1 retries spent (retries.infra)" in str(error.value)


def test_elastic_horovod_goes_on_in_the_processes_of_the_others(
    hdfs: str, running: Callable[[Application], Running], horovod_python: Path, repository: Path
) -> None:
    size = {"instances": 2, "min_instances": 1, "max_instances": 2, "memory": "1 GiB"}
    changes = [f"types.worker.{key}={value}" for key, value in size.items()]
    changes += [f"output={hdfs}/output", f"environment.python={horovod_python}", "timeouts.elastic=2 min"]
    run = running(load_application(repository / "examples" / "horovod" / "elastic.yaml", changes))
    run.until("progress worker:1")

    def trains(task: str) -> set[int]:
        lines = processes_of(run.application_id)
        return {
            pid
            for pid, line in lines.items()
            if line.startswith("python spirals.py") and environment_of(pid)["TONY_TASK"] == task
        }

    survivor = trains("worker:0")
    os.kill(executors_of(run.application_id)["worker:1"], signal.SIGKILL)
    run.until("round round 2")
    assert trains("worker:0") == survivor
    report = run.report()
    assert report.state == "succeeded"
    assert report.metrics["test_accuracy"] > 0.9
    assert report.metrics["processes"] == 2
    assert [event.task for event in events_of(hdfs, "requested")] == ["worker:0", "worker:1", "worker:1"]
    assert [event.detail for event in events_of(hdfs, "round")] == [
        "round 1: 2 processes; 0 workers stayed, 2 are new",
        "round 2: 2 processes; 1 workers stayed, 1 are new",
    ]
    assert_nothing_left(run.application_id)
