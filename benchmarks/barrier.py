"""How long a gang stands at the barrier after its last task has registered, and whether it ever hangs there.

    python benchmarks/barrier.py [--tasks 48] [--rounds 20] [--in-a-row 1000] [--skein]

The coordinator runs in a process of its own, the tasks are threads of this one, each with a connection of
its own over mutual TLS. A round is one generation: all register at once, and the time runs from the last
registration's answer to the moment when the last task holds its specification.

With --skein the same is done over Skein's key-value store as tf-yarn does it (each task puts its address and
waits for everybody else's), on the cluster of HADOOP_CONF_DIR. Its watches can hang when puts and waits
collide, so each wait has a limit, and waits that ran into it are counted.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tony_py.application import Application, TaskType, Timeouts
from tony_py.client import skein_client
from tony_py.driver.coordinator import Coordinator
from tony_py.driver.gang import Gang
from tony_py.executor.channel import Channel
from tony_py.local import make_certificates
from yarnmill.units import Seconds

TOKEN = "benchmark"  # noqa: S105  # of a coordinator that lives for seconds on loopback
WAIT_LIMIT_S = 10.0


def gang_of(tasks: int) -> Gang:
    """Return a gang whose containers have all been asked for."""
    application = Application(
        name="barrier",
        framework="torch",
        types={"worker": TaskType(command="true", instances=tasks)},
        output="",
        timeouts=Timeouts(heartbeat=Seconds(60.0)),
    )
    gang = Gang(application, {}, clock=time.monotonic, record=lambda *_: None)
    for task in gang.members():
        gang.request(task)
    return gang


def serve(tasks: int, rounds: int, certificates: Path, pipe: Connection) -> None:
    """Open the barrier whenever all stand at it, and start over when all have passed."""
    gang = gang_of(tasks)
    pair = {"certificate": certificates / "skein.crt", "key": certificates / "skein.pem"}
    with Coordinator(gang, TOKEN, host="127.0.0.1", **pair) as coordinator:
        pipe.send(coordinator.port)
        for _ in range(rounds):
            gang.wait(lambda: all(member.state == "registered" for member in gang.members().values()), 600.0)
            gang.release(gang.members())
            pipe.recv()
            gang.start_over(gang.members())
        gang.stop()
        pipe.recv()


class Round:
    """The moments of one round, over all tasks."""

    def __init__(self) -> None:
        self.registered: list[float] = []
        self.passed: list[float] = []

    @property
    def wait_s(self) -> float:
        """Time from the last registration to the last pass."""
        return max(self.passed) - max(self.registered)


def ours(tasks: int, rounds: int) -> list[float]:
    """Return the wait of each round."""
    with tempfile.TemporaryDirectory() as folder:
        certificates = make_certificates(Path(folder) / "pair")
        here, there = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(tasks, rounds, certificates, there))
        server.start()
        port = here.recv()
        found = [Round() for _ in range(rounds)]
        gate = threading.Barrier(tasks, action=lambda: here.send("passed"))

        def run(index: int) -> None:
            pair = str(certificates / "skein.crt"), str(certificates / "skein.pem")
            channel = Channel(f"127.0.0.1:{port}", TOKEN, *pair)
            me = {"task": f"worker:{index}", "attempt": 1}
            for each in found:
                place = {"host": "h", "port": 1, "container_id": str(index)}
                generation = channel.post("/v1/register", {**me, **place})["generation"]
                each.registered.append(time.monotonic())
                query = f"task=worker:{index}&attempt=1&generation={generation}&wait=20"
                while channel.get(f"/v1/specification?{query}") is None:
                    pass
                each.passed.append(time.monotonic())
                gate.wait()
                while (
                    channel.post("/v1/heartbeat", {**me, "generation": generation, "wait_s": 5})["order"] == "continue"
                ):
                    pass
            channel.close()

        with ThreadPoolExecutor(tasks) as pool:
            list(pool.map(run, range(tasks)))
        here.send("done")
        server.join()
    return [each.wait_s for each in found]


def over_skein(tasks: int, rounds: int) -> tuple[list[float], int]:
    """Return the wait of each round over Skein's key-value store, and how many waits ran into the limit."""
    with skein_client() as client:
        specification = {"name": "barrier", "master": {"script": "sleep 600"}, "services": {}}
        application = client.submit_and_connect(specification)
        try:
            clients = [client.connect(application.id) for _ in range(tasks)]
            found = [Round() for _ in range(rounds)]
            hung = [0]

            def run(index: int) -> None:
                for number, each in enumerate(found):
                    _retried(lambda key=f"{number}/{index}": clients[index].kv.__setitem__(key, b"h:1"))
                    each.registered.append(time.monotonic())
                    for other in range(tasks):
                        if not _waited(clients[index], f"{number}/{other}"):
                            hung[0] += 1
                    each.passed.append(time.monotonic())
                    gate.wait()

            gate = threading.Barrier(tasks)
            with ThreadPoolExecutor(tasks) as pool:
                list(pool.map(run, range(tasks)))
            return [each.wait_s for each in found], hung[0]
        finally:
            application.shutdown()


def _retried(put: Callable[[], None]) -> None:
    for _ in range(5):
        try:
            put()
        except Exception:  # noqa: BLE001, S110  # Skein raises an empty error though the value is stored
            pass
        else:
            return


def _waited(client: Any, key: str) -> bool:  # noqa: ANN401  # Skein has no types
    done = threading.Event()

    def wait() -> None:
        try:
            client.kv.wait(key)
        except Exception:  # noqa: BLE001  # counted as a hang by whoever waits
            return
        done.set()

    threading.Thread(target=wait, daemon=True).start()
    return done.wait(WAIT_LIMIT_S)


def render(name: str, waits: list[float]) -> str:
    """Return a line of the table: milliseconds."""
    ms = sorted(wait * 1000 for wait in waits)
    return f"{name:34} median {statistics.median(ms):8.1f} ms   worst {ms[-1]:8.1f} ms   {len(ms)} rounds"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--in-a-row", type=int, default=1000, help="rounds of eight tasks that must all end")
    parser.add_argument("--skein", action="store_true", help="Skein's key-value store beside it, on a real cluster")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    mine = ours(arguments.tasks, arguments.rounds)
    print(render(f"coordinator, {arguments.tasks} tasks", mine))
    if arguments.skein:
        theirs, hung = over_skein(arguments.tasks, arguments.rounds)
        print(render(f"Skein's KV, {arguments.tasks} tasks", theirs), f"  {hung} waits over {WAIT_LIMIT_S:.0f} s")
        print(f"ratio of the medians: {statistics.median(theirs) / statistics.median(mine):.1f}")
    if arguments.in_a_row:
        print(render("coordinator, 8 tasks, in a row", ours(8, arguments.in_a_row)))
    print(f"load {os.getloadavg()[0]:.1f}; asked: at most 150 ms for 48 executors, no hang in 1,000 rounds")


if __name__ == "__main__":
    main()
