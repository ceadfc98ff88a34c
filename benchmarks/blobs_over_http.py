"""The blob store over HTTP: how long a small read takes, and what many readers at once cost in memory.

    python benchmarks/blobs_over_http.py [--readers 200] [--large-mib 64]
    python benchmarks/blobs_over_http.py --readers 1 --large-mib 10240

A server of its own on a free loopback port and a temporary folder, with one worker. Small reads are of 10 KiB, one
after the other on a connection that stays open, beside `/healthCheck`, which reads nothing. Then ever more readers of
one large blob at once: the memory of the worker is its peak after each round (VmHWM), and so can only rise.
"""

import argparse
import os
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

SMALL_BYTES, SMALL_READS = 10 << 10, 1000
LIMIT_MS = 5.0


def main() -> None:
    """Start a server, ask it, print what was seen, stop it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--large-mib", type=int, default=64)
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).with_name("yarnmill")), "blobs", "serve", "--root", f"file://{folder}"]
        command += ["--port", "0", "--open", "--access-log", os.devnull]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                said = server.stdout.readline() if server.stdout else ""
                url = said.split()[-1]
                small_reads(url)
                many_readers(url, server.pid, options.readers, options.large_mib)
            finally:
                server.send_signal(signal.SIGTERM)


def put(url: str, content: bytes | Iterator[bytes]) -> str:
    """Put a blob and return its URL."""
    headers = {"x-ambry-service-id": "benchmark", "x-ambry-content-type": "application/octet-stream"}
    answer = requests.post(url, data=content, headers=headers, timeout=600)
    answer.raise_for_status()
    return url + answer.headers["Location"]


def small_reads(url: str) -> None:
    """Print how long one of many small reads takes."""
    blobs = [put(url, secrets.token_bytes(SMALL_BYTES)) for _ in range(50)]
    with requests.Session() as session:
        for what, asked in (("/healthCheck", [f"{url}/healthCheck"]), ("read 10 KiB", blobs)):
            took = []
            for number in range(SMALL_READS):
                begun = time.perf_counter()
                session.get(asked[number % len(asked)], timeout=60).raise_for_status()
                took.append((time.perf_counter() - begun) * 1e3)
            took.sort()
            middle, late = statistics.median(took), took[int(len(took) * 0.99)]
            print(f"{what:<14} median {middle:.2f} ms, 99 of 100 within {late:.2f} ms (asked {LIMIT_MS:.0f} ms)")


def many_readers(url: str, pid: int, most: int, large_mib: int) -> None:
    """Print the worker's peak of memory after reads of a large blob by ever more readers at once."""
    piece = secrets.token_bytes(1 << 20)
    large = put(url, (piece for _ in range(large_mib)))
    print(f"  put of {large_mib} MiB in pieces: peak {peak_mib(pid):.0f} MiB")

    def read(_: int) -> int:
        with requests.get(large, stream=True, timeout=600) as answer:
            return sum(len(part) for part in answer.iter_content(1 << 20))

    for readers in sorted({1, max(1, most // 10), max(1, most // 2), most}):
        begun = time.perf_counter()
        with ThreadPoolExecutor(readers) as pool:
            if set(pool.map(read, range(readers))) != {large_mib << 20}:
                raise SystemExit("a reader got fewer bytes than were put")
        took = time.perf_counter() - begun
        rate = readers * large_mib / took
        print(f"{readers:>4} readers of {large_mib} MiB: {rate:.0f} MiB/s together, peak {peak_mib(pid):.0f} MiB")


def peak_mib(pid: int) -> float:
    """Return the most memory that the server's one worker had."""
    (worker,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = Path(f"/proc/{worker}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


if __name__ == "__main__":
    main()
