import re
import subprocess
from pathlib import Path

import msgspec
import pytest
from lxml import etree

from yarnmill.localcluster import templates
from yarnmill.localcluster.daemons import Launch
from yarnmill.localcluster.layout import Layout


def properties(text: str) -> dict[str, str]:
    return {
        entry.findtext("name", ""): entry.findtext("value", "")
        for entry in etree.fromstring(text.encode()).iter("property")
    }


@pytest.fixture
def rendered(layout: Layout, launch: Launch) -> dict[Path, str]:
    return templates.render_all(layout, launch, "ann")


def test_the_same_decision_gives_the_same_bytes(layout: Layout, launch: Launch, rendered: dict[Path, str]) -> None:
    assert templates.render_all(layout, launch, "ann") == rendered


def test_no_placeholder_is_left_and_every_xml_is_well_formed(rendered: dict[Path, str]) -> None:
    for path, text in rendered.items():
        assert not re.search(r"@[a-z_]+@", text), path
        if path.suffix == ".xml":
            etree.fromstring(text.encode())


def test_no_setting_is_given_twice(rendered: dict[Path, str]) -> None:
    for path, text in rendered.items():
        if path.suffix == ".xml":
            names = [entry.findtext("name") for entry in etree.fromstring(text.encode()).iter("property")]
            assert len(names) == len(set(names)), path


def test_every_address_is_loopback(rendered: dict[Path, str]) -> None:
    for path, text in rendered.items():
        if path.suffix == ".xml":
            addresses = {name: value for name, value in properties(text).items() if name.endswith("address")}
            assert all(value.startswith(("localhost:", "127.0.0.1:")) for value in addresses.values()), path


def test_every_port_of_the_decision_is_used_once(launch: Launch, rendered: dict[Path, str]) -> None:
    settings = "".join(text for path, text in rendered.items() if path.name in {"hdfs-site.xml", "yarn-site.xml"})
    for name, port in launch.ports.items():
        assert settings.count(f":{port}<") == 1, name


def test_nodemanagers_share_a_host_and_nothing_else(layout: Layout, rendered: dict[Path, str]) -> None:
    first, second = (
        properties(rendered[layout.daemon_conf(f"nodemanager-{number}") / "yarn-site.xml"]) for number in (1, 2)
    )
    shared = {name for name in first if first[name] == second[name]}
    assert all(name.startswith(("yarn.resourcemanager.", "yarn.nodemanager.container-manager.")) for name in shared)


def test_everything_on_disk_stays_in_the_clusters_folder(layout: Layout, rendered: dict[Path, str]) -> None:
    for path, text in rendered.items():
        if path.suffix == ".xml":
            for name, value in properties(text).items():
                if (
                    name.endswith((".dir", "-dir", "-dirs", "root-dir"))
                    and name != "yarn.nodemanager.remote-app-log-dir"
                ):
                    assert value.removeprefix("file://").startswith(f"{layout.root}/"), name


def test_values_are_escaped_in_xml_only() -> None:
    assert templates.render("<v>@a@</v>", {"a": "<&>"}, xml=True) == "<v>&lt;&amp;&gt;</v>"
    assert templates.render("v=@a@", {"a": "<&>"}, xml=False) == "v=<&>"


def test_the_programs_are_valid_shell(layout: Layout, rendered: dict[Path, str]) -> None:
    for name in templates.PROGRAMS:
        done = subprocess.run(
            ["/bin/sh", "-n"], input=rendered[layout.bin / name], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture
def programs(tmp_path: Path, layout: Layout, launch: Launch) -> Path:
    """Write the programs with a Java that prints its arguments, so that each command line can be read."""
    java = tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text('#!/bin/sh\nfor each; do echo "$each"; done\n')
    java.chmod(0o755)
    jars = tmp_path / "lib"
    jars.mkdir()
    for name in ("a.jar", "b.jar"):
        (jars / name).touch()
    launch = msgspec.structs.replace(launch, java_home=str(java.parent.parent), jars=str(jars))
    templates.write_all(templates.render_all(layout, launch, "ann"))
    return layout.bin


def run(program: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments], env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("command", "main_class"),
    [
        ("hadoop fs", "org.apache.hadoop.fs.FsShell"),
        ("hadoop jar", "org.apache.hadoop.util.RunJar"),
        ("hdfs dfs", "org.apache.hadoop.fs.FsShell"),
        ("hdfs dfsadmin", "org.apache.hadoop.hdfs.tools.DFSAdmin"),
        ("hdfs oiv", "org.apache.hadoop.hdfs.tools.offlineImageViewer.OfflineImageViewerPB"),
        ("yarn node", "org.apache.hadoop.yarn.client.cli.NodeCLI"),
        ("yarn logs", "org.apache.hadoop.yarn.client.cli.LogsCLI"),
        ("yarn version", "org.apache.hadoop.util.VersionInfo"),
        ("mapred job", "org.apache.hadoop.mapred.JobClient"),
    ],
)
def test_a_command_runs_its_class_with_its_arguments(programs: Path, command: str, main_class: str) -> None:
    program, name = command.split()
    lines = run(programs / program, name, "-a", "two words").stdout.splitlines()
    assert lines[-3:] == [main_class, "-a", "two words"]


@pytest.mark.parametrize("name", ["application", "applicationattempt", "container"])
def test_yarns_application_commands_keep_their_name(programs: Path, name: str) -> None:
    lines = run(programs / "yarn", name, "-list").stdout.splitlines()
    assert lines[-3:] == ["org.apache.hadoop.yarn.client.cli.ApplicationCLI", name, "-list"]


def test_the_class_path_with_glob_names_every_jar_because_skein_reads_it(programs: Path, layout: Layout) -> None:
    found = run(programs / "yarn", "classpath", "--glob").stdout.strip().split(":")
    assert found[0] == str(layout.conf)
    assert [Path(jar).name for jar in found[1:]] == ["a.jar", "b.jar"]
    assert run(programs / "yarn", "classpath").stdout.strip().endswith("/lib/*")


def test_another_configuration_can_be_named(programs: Path) -> None:
    assert run(programs / "hdfs", "--config", "/other", "classpath").stdout.startswith("/other:")
    assert run(programs / "hdfs", "classpath", HADOOP_CONF_DIR="/env").stdout.startswith("/env:")


@pytest.mark.parametrize("arguments", [(), ("nonsense",)])
def test_an_unknown_command_is_a_usage_error(programs: Path, arguments: tuple[str, ...]) -> None:
    done = run(programs / "hdfs", *arguments)
    assert done.returncode == 2
    assert "usage: hdfs" in done.stderr
