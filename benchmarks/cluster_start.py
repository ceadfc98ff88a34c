"""How long a local cluster takes from nothing to "all NodeManagers RUNNING, HDFS writable", and what it weighs.

    python benchmarks/cluster_start.py [--starts N] [--home FOLDER]

Prints the start time (the first start formats HDFS), the daemons' resident memory a few seconds later,
the time of `down`, and the machine's load before: on a busy machine the figures mean little.
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

from yarnmill.config import load_config
from yarnmill.localcluster.cluster import LocalCluster

SETTLE_S = 5.0
"""Memory is read after the daemons' first heartbeats and block reports."""


def measure(cluster: LocalCluster) -> tuple[float, int, float]:
    """Return start time (s), resident memory (MiB) and stop time (s) of one start."""
    began = time.perf_counter()
    cluster.up()
    up_s = time.perf_counter() - began
    time.sleep(SETTLE_S)
    rss_mib = cluster.status().rss_mib
    began = time.perf_counter()
    cluster.down()
    return up_s, rss_mib, time.perf_counter() - began


def main() -> None:
    """Print one line a start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--home", type=Path, help="folder to use and keep; a fresh one by default")
    arguments = parser.parse_args()
    home = arguments.home or Path(tempfile.mkdtemp(prefix="yarnmill-benchmark-"))
    cluster = LocalCluster(home, load_config().cluster)
    print(f"{os.cpu_count()} cores, {cluster.settings.nodemanagers} NodeManagers")
    try:
        for number in range(1, arguments.starts + 1):
            load = os.getloadavg()[0]
            up_s, rss_mib, down_s = measure(cluster)
            print(f"start {number}: up {up_s:5.1f} s, {rss_mib} MiB, down {down_s:4.1f} s (load before: {load:.1f})")
    finally:
        cluster.down()
        if arguments.home is None:
            shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
