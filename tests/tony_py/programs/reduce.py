"""A training program of the standard library alone: every step all workers add their numbers up over sockets.

Rank 0 saves each step and resumes from the last one, so that a run that was interrupted ends with the same
numbers as one that was not. Usage: reduce.py STEPS SECONDS_A_STEP.
"""

import json
import os
import socket
import struct
import sys
import time
from pathlib import Path

RANK, WORLD = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
ADDRESS = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
CHECKPOINT = Path(os.environ["TONY_CHECKPOINT_DIR"]) / "step.json"
OUTPUT = Path(os.environ["TONY_OUTPUT"])


def receive(peer: socket.socket) -> float:
    data = peer.recv(8, socket.MSG_WAITALL)
    if len(data) < 8:
        raise ConnectionError("Connection closed by peer")
    return float(struct.unpack("d", data)[0])


def connect() -> list[socket.socket]:
    if RANK == 0:
        server = socket.create_server(ADDRESS)
        return [server.accept()[0] for _ in range(WORLD - 1)]
    deadline = time.monotonic() + 30
    while True:
        try:
            return [socket.create_connection(ADDRESS)]
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def add_up(peers: list[socket.socket], mine: float) -> float:
    if RANK > 0:
        peers[0].sendall(struct.pack("d", mine))
        return receive(peers[0])
    total = mine + sum(receive(peer) for peer in peers)
    for peer in peers:
        peer.sendall(struct.pack("d", total))
    return total


def tell(step: int, steps: int) -> None:
    path = Path(os.environ["TONY_PROGRESS_FILE"])
    fresh = path.with_suffix(f".{os.getpid()}.tmp")
    fresh.write_text(json.dumps({"step": step, "progress": step / steps, "checkpoint": step}))
    fresh.replace(path)


def save(step: int, weight: float) -> None:
    fresh = CHECKPOINT.with_suffix(".tmp")
    fresh.write_text(json.dumps({"step": step, "weight": weight}))
    fresh.replace(CHECKPOINT)


def main() -> None:
    steps, pause_s = int(sys.argv[1]), float(sys.argv[2])
    peers = connect()
    saved = json.loads(CHECKPOINT.read_text()) if RANK == 0 and CHECKPOINT.exists() else {"step": 0, "weight": 1.0}
    first = int(add_up(peers, float(saved["step"]) if RANK == 0 else 0.0))
    weight = add_up(peers, float(saved["weight"]) if RANK == 0 else 0.0)
    with (OUTPUT / f"starts-{os.environ['TONY_TASK_INDEX']}").open("a") as log:
        log.write(f"{os.getpid()} {os.getppid()} {first} {WORLD}\n")
    for step in range(first + 1, steps + 1):
        weight += add_up(peers, weight * (RANK + 1) / step) / (WORLD * 100)
        time.sleep(pause_s)
        if RANK == 0:
            save(step, weight)
        tell(step, steps)
    if RANK == 0:
        (OUTPUT / "metrics.json").write_text(json.dumps({"weight": weight}))


main()
