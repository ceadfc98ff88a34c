import ssl
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

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
    assert yarn.web_urls(conf(tmp_path, **host)) == ["http://rm:8088"]
    host["yarn.resourcemanager.webapp.address"] = "${yarn.resourcemanager.hostname}:9"
    assert yarn.web_urls(conf(tmp_path, **host)) == ["http://rm:9"]
    several = {"yarn.resourcemanager.ha.rm-ids": "a, b", "yarn.resourcemanager.hostname.a": "rm1"}
    several["yarn.resourcemanager.webapp.address.b"] = "rm2:80"
    assert yarn.web_urls(conf(tmp_path, **several)) == ["http://rm1:8088", "http://rm2:80"]
    several |= {"yarn.http.policy": "HTTPS_ONLY", "yarn.resourcemanager.webapp.https.address.b": "rm2:443"}
    assert yarn.web_urls(conf(tmp_path, **several)) == ["https://rm1:8090", "https://rm2:443"]


class Secured(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"nodes": null}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.mark.programs
def test_a_cluster_of_https_is_asked_by_it_and_must_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = [str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem")]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1", "-nodes"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", *subject, "-out", pair[0], "-keyout", pair[1]]
    subprocess.run(make, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    with HTTPServer(("127.0.0.1", 0), Secured) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        address = {"yarn.resourcemanager.webapp.https.address": f"localhost:{server.server_port}"}
        monkeypatch.setenv("HADOOP_CONF_DIR", conf(tmp_path, **address, **{"yarn.http.policy": "HTTPS_ONLY"}))
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        with pytest.raises(ConfigurationError, match="is not trusted") as error:
            yarn.nodes()
        assert "REQUESTS_CA_BUNDLE" in error.value.mend
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", pair[0])
        assert yarn.nodes() == []
        assert yarn.node_url("node:8044") == "https://node:8044"
        server.shutdown()
        thread.join()


def test_a_folder_without_a_cluster_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="yarn-site"):
        yarn.web_urls(str(tmp_path))
    with pytest.raises(ConfigurationError, match="names no ResourceManager"):
        yarn.web_urls(conf(tmp_path))


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
