import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from yarnmill.localcluster import processes
from yarnmill.localcluster.daemons import CLUSTER_MARK, DAEMON_MARK
from yarnmill.localcluster.layout import Layout

# `sh -c` takes further words as arguments of the script: a process that looks like a daemon and sleeps.
SLEEP = ["/bin/sh", "-c", "sleep 100 & wait"]
STUBBORN = ["/bin/sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 100 & wait; done"]


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[..., int]]:
    pids: list[int] = []

    def start(*command: str, **environment: str) -> int:
        variables = {"PATH": "/usr/bin:/bin", **environment}
        pids.append(processes.spawn(command, folder=tmp_path, out=tmp_path / "out", environment=variables))
        return pids[-1]

    yield start
    for pid in pids:
        if processes.is_running(pid):
            os.killpg(pid, signal.SIGKILL)


def marks(root: Path, name: str) -> list[str]:
    return [f"{CLUSTER_MARK}{root}", f"{DAEMON_MARK}{name}"]


def test_a_daemon_is_found_by_its_marks(spawn: Callable[..., int], layout: Layout, tmp_path: Path) -> None:
    pid = spawn(*SLEEP, *marks(layout.root, "datanode"))
    other = Layout.of_home(tmp_path / "other")
    assert processes.find_daemons(layout) == [processes.DaemonProcess("datanode", pid)]
    assert processes.find_daemons(other) == []
    assert processes.rss_mib(pid) >= 0


def test_a_home_whose_name_begins_alike_is_another_cluster(spawn: Callable[..., int], tmp_path: Path) -> None:
    first, second = Layout.of_home(tmp_path / "a"), Layout.of_home(tmp_path / "a2")
    spawn(*SLEEP, *marks(second.root, "datanode"))
    spawn(*SLEEP, LOCAL_DIRS=f"{second.root}/nodemanager-1/local/app")
    assert processes.find_daemons(first) == []
    assert processes.find_containers(first) == []
    assert len(processes.find_containers(second)) >= 1


def test_a_container_is_found_with_what_it_started(spawn: Callable[..., int], layout: Layout) -> None:
    pid = spawn(*SLEEP, LOCAL_DIRS=f"{layout.root}/nodemanager-1/local/usercache/ann/appcache/application_1_1")
    deadline = time.monotonic() + 20
    while len(processes.find_containers(layout)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)  # the shell starts its `sleep`
    assert pid in processes.find_containers(layout)
    processes.stop(lambda: processes.find_containers(layout), grace_s=5)
    assert processes.find_containers(layout) == []


def test_a_shell_that_uses_the_cluster_is_no_container(spawn: Callable[..., int], layout: Layout) -> None:
    spawn(*SLEEP, HADOOP_CONF_DIR=str(layout.conf), PATH=f"{layout.bin}:/usr/bin:/bin")
    assert processes.find_containers(layout) == []


def test_a_process_that_ended_is_not_running_although_nobody_waited_for_it(spawn: Callable[..., int]) -> None:
    pid = spawn("/bin/true")
    deadline = time.monotonic() + 20
    while processes.is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_spawned_processes_have_a_session_and_a_folder_of_their_own(spawn: Callable[..., int], tmp_path: Path) -> None:
    pid = spawn(*SLEEP)
    assert os.getsid(pid) == pid
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}/cwd").readlink() != tmp_path:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_it_prints_is_appended_to_its_file(spawn: Callable[..., int], tmp_path: Path) -> None:
    for word in ("one", "two"):
        pid = spawn("/bin/sh", "-c", f"echo {word} >&2")
        while processes.is_running(pid):
            time.sleep(0.01)
    assert (tmp_path / "out").read_text() == "one\ntwo\n"


@pytest.mark.slow
def test_stop_is_polite_first_and_firm_then(spawn: Callable[..., int], layout: Layout, tmp_path: Path) -> None:
    spawn(*STUBBORN, *marks(layout.root, "namenode"))
    while (tmp_path / "out").read_text() != "deaf\n":
        time.sleep(0.01)
    spawn(*SLEEP, *marks(layout.root, "datanode"))
    killed = processes.stop(lambda: [each.pid for each in processes.find_daemons(layout)], grace_s=0.5)
    assert killed >= 1
    assert processes.find_daemons(layout) == []


def test_a_pid_that_belongs_to_somebody_else_is_left_alone(layout: Layout) -> None:
    with subprocess.Popen(["/bin/sleep", "100"]) as stranger:
        try:
            assert stranger.pid not in [each.pid for each in processes.find_daemons(layout)]
            assert processes.stop(lambda: [each.pid for each in processes.find_daemons(layout)], grace_s=0) == 0
            assert stranger.poll() is None
        finally:
            stranger.kill()
