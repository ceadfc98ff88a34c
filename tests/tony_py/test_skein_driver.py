"""A driver that `skein driver start` left up is used, if it belongs to this cluster."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tony_py.local import make_certificates
from yarnmill.localcluster.cluster import ClusterState

ASK = """
import sys
from msgspec.structs import replace
from tony_py import client
from yarnmill import yarn
if sys.argv[1] == "another":
    nodes = [replace(node, node=f"another-{node.node}") for node in yarn.nodes()]
    yarn.nodes = lambda: nodes
print(client._running_driver(client.import_skein()))
"""


@pytest.fixture
def environment(cluster: ClusterState, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Yield the variables of a user of his own whose Skein driver runs."""
    assert str(cluster)
    make_certificates(tmp_path / "skein")
    variables = {**os.environ, "SKEIN_CONFIG": str(tmp_path / "skein")}
    skein = shutil.which("skein", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or "skein"
    subprocess.run([skein, "driver", "start"], env=variables, check=True, capture_output=True)
    yield variables
    subprocess.run([skein, "driver", "stop"], env=variables, check=True, capture_output=True)


def test_only_a_driver_of_this_cluster_is_used(environment: dict[str, str]) -> None:
    def ask(cluster: str) -> str:
        command = [sys.executable, "-W", "ignore", "-c", ASK, cluster]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()

    assert ask("this").startswith("Client<127.0.0.1:")
    assert ask("another") == "None"
    assert ask("this").startswith("Client<127.0.0.1:")  # nobody has closed it
