from collections import Counter

import msgspec

from yarnmill.config import ClusterSettings
from yarnmill.javaoptions import QUICK_JAVA
from yarnmill.localcluster.daemons import Launch, class_path, command_line, daemon_environment, daemons_of, port_names
from yarnmill.localcluster.layout import Layout


def test_a_cluster_is_three_daemons_and_its_nodemanagers(settings: ClusterSettings) -> None:
    assert [daemon.name for daemon in daemons_of(settings)] == [
        "namenode",
        "datanode",
        "resourcemanager",
        "nodemanager-1",
        "nodemanager-2",
    ]
    assert len(daemons_of(msgspec.structs.replace(settings, nodemanagers=5))) == 8


def test_no_port_has_two_owners(settings: ClusterSettings) -> None:
    assert max(Counter(port_names(daemons_of(settings))).values()) == 1


def test_every_daemon_carries_the_marks_by_which_it_is_found(layout: Layout, launch: Launch) -> None:
    for daemon in daemons_of(launch.settings):
        command = command_line(daemon, layout, launch)
        assert f"-Dyarnmill.cluster={layout.root}" in command
        assert f"-Dyarnmill.daemon={daemon.name}" in command
        assert command[-1] == daemon.main_class


def test_a_nodemanager_reads_its_own_settings_first(layout: Layout, launch: Launch) -> None:
    assert class_path(layout, launch, "nodemanager-2").split(":")[:2] == [
        str(layout.daemon_conf("nodemanager-2")),
        str(layout.conf),
    ]
    assert class_path(layout, launch, "namenode").split(":")[0] == str(layout.conf)


def test_the_callers_shell_does_not_reach_the_containers(layout: Layout, launch: Launch) -> None:
    shell = {"HOME": "/home/ann", "PATH": "/evil", "PYTHONPATH": "/evil", "http_proxy": "x", "HADOOP_CONF_DIR": "/evil"}
    environment = daemon_environment(layout, launch, shell)
    assert environment["HOME"] == "/home/ann"
    assert environment["HADOOP_CONF_DIR"] == str(layout.conf)
    assert environment["PATH"].startswith(f"{layout.bin}:/java/bin:")
    assert "/evil" not in "".join(environment.values())
    assert not {"PYTHONPATH", "http_proxy"} & set(environment)


def test_containers_compile_quickly_unless_they_are_to_run_for_hours(layout: Layout, launch: Launch) -> None:
    assert daemon_environment(layout, launch, {})["JDK_JAVA_OPTIONS"] == QUICK_JAVA
    settings = msgspec.structs.replace(launch.settings, quick_java=False)
    launch = msgspec.structs.replace(launch, settings=settings)
    assert "JDK_JAVA_OPTIONS" not in daemon_environment(layout, launch, {})
