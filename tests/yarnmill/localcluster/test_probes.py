"""What the probes make of answers that a healthy cluster seldom gives; the usual ones come from a real cluster."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from yarnmill.localcluster import ports, probes

Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that serves one body for every path and returns the server's address."""
    servers = []

    def start(body: str, status: int = 200) -> str:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_daemon_that_does_not_listen_is_silent() -> None:
    web = f"http://127.0.0.1:{ports.choose(['x'], {}, seed='probes')['x']}"
    assert probes.hdfs_state(web, "hdfs://x") is None
    assert probes.node_states(web) == ()
    assert probes.queue_states(web) == ()


@pytest.mark.parametrize(
    ("body", "status"), [("<html>starting</html>", 200), ("{}", 503), ("{", 200), ('{"a": 1}', 200)]
)
def test_a_daemon_that_is_still_starting_is_silent(serve: Serve, body: str, status: int) -> None:
    web = serve(body, status)
    assert probes.hdfs_state(web, "hdfs://x") is None
    assert probes.node_states(web) == ()
    assert probes.queue_states(web) == ()


def test_a_namenode_without_its_bean_and_a_resourcemanager_without_nodes(serve: Serve) -> None:
    assert probes.hdfs_state(serve('{"beans": []}'), "hdfs://x") is None
    assert probes.node_states(serve('{"nodes": null}')) == ()


def test_safe_mode_and_datanodes_are_read(serve: Serve) -> None:
    bean = '{"Safemode": "Safe mode is ON.", "Total": 3, "Used": 1, "Free": 2, "LiveNodes": "{\\"a:1\\": {}}"}'
    state = probes.hdfs_state(serve(f'{{"beans": [{bean}]}}'), "hdfs://x")
    assert state is not None
    assert (state.safe_mode, state.live_datanodes) == (True, 1)
    assert (state.capacity_bytes, state.used_bytes, state.remaining_bytes) == (3, 1, 2)


def test_gpus_in_use_are_counted_and_nodes_are_in_order(serve: Serve) -> None:
    def node(name: str) -> str:
        def resources(gpus: int) -> str:
            return (
                f'{{"resourceInformations": {{"resourceInformation": [{{"name": "yarn.io/gpu", "value": {gpus}}}]}}}}'
            )

        return (
            f'{{"id": "{name}", "state": "RUNNING", "numContainers": 1, "usedMemoryMB": 10, "availMemoryMB": 90, '
            f'"usedVirtualCores": 1, "availableVirtualCores": 3, "usedResource": {resources(1)}, '
            f'"totalResource": {resources(2)}}}'
        )

    first, second = probes.node_states(serve(f'{{"nodes": {{"node": [{node("b:1")}, {node("a:1")}]}}}}'))
    assert (first.id, second.id) == ("a:1", "b:1")
    assert (first.gpus_used, first.gpus, first.memory_mib, first.vcores) == (1, 2, 100, 4)


def test_queues_below_queues_follow_their_parent(serve: Serve) -> None:
    def queue(name: str, below: str = "") -> str:
        inner = f', "queues": {{"queue": [{below}]}}' if below else ""
        return (
            f'{{"queueName": "{name}", "state": "RUNNING", "absoluteCapacity": 50, "absoluteUsedCapacity": 5{inner}}}'
        )

    queues = f"{queue('a', queue('a1'))}, {queue('b')}"
    web = serve(f'{{"scheduler": {{"schedulerInfo": {{"queues": {{"queue": [{queues}]}}}}}}}}')
    assert [each.name for each in probes.queue_states(web)] == ["a", "a1", "b"]
