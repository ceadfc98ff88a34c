from pathlib import Path

import pytest

from yarnmill import yarn
from yarnmill.errors import ClusterUnavailableError, ConfigurationError, NotFoundError
from yarnmill.localcluster.cluster import ClusterState


def conf(folder: Path, **settings: str) -> str:
    rows = "".join(f"<property><name>{n}</name><value>{v}</value></property>" for n, v in settings.items())
    (folder / "yarn-site.xml").write_text(f"<configuration>{rows}</configuration>")
    return str(folder)


def test_addresses_with_and_without_high_availability(tmp_path: Path) -> None:
    host = {"yarn.resourcemanager.hostname": "rm"}
    assert yarn.web_addresses(conf(tmp_path, **host)) == ["rm:8088"]
    host["yarn.resourcemanager.webapp.address"] = "${yarn.resourcemanager.hostname}:9"
    assert yarn.web_addresses(conf(tmp_path, **host)) == ["rm:9"]
    several = {"yarn.resourcemanager.ha.rm-ids": "a, b", "yarn.resourcemanager.hostname.a": "rm1"}
    several["yarn.resourcemanager.webapp.address.b"] = "rm2:80"
    assert yarn.web_addresses(conf(tmp_path, **several)) == ["rm1:8088", "rm2:80"]


def test_a_folder_without_a_cluster_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="yarn-site"):
        yarn.web_addresses(str(tmp_path))
    with pytest.raises(ConfigurationError, match="names no ResourceManager"):
        yarn.web_addresses(conf(tmp_path))


def test_a_cluster_that_is_down_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"yarn.resourcemanager.webapp.address": "127.0.0.1:1"}
    monkeypatch.setenv("HADOOP_CONF_DIR", conf(tmp_path, **settings))
    with pytest.raises(ClusterUnavailableError, match=r"127\.0\.0\.1:1") as error:
        yarn.nodes()
    assert "yarnmill cluster" in error.value.mend


def test_the_nodes_of_a_real_cluster(cluster: ClusterState) -> None:
    found = yarn.nodes()
    assert len(found) >= 2
    assert all(node.memory_mib > 0 and node.vcores > 0 and node.gpus == 2 for node in found)
    assert str(cluster)


def test_an_application_that_nobody_knows(cluster: ClusterState) -> None:
    assert str(cluster)
    with pytest.raises(NotFoundError, match="application_1_0001"):
        yarn.application("application_1_0001")
