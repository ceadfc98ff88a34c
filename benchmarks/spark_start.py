"""What the archive of Spark's classes saves: a session and a first small query, with it and without, taking turns.

    python benchmarks/spark_start.py [--times 5]

Each start is a program of its own, timed from its start to the end of all its processes. Prints the medians, their
ratio, and the machine's load. `yarnmill env spark-classes` makes the archive.
"""

import argparse
import os
import resource
import statistics
import sys
import time
from pathlib import Path

from spark_session import LOCAL, quiet_session, run_whole

from yarnmill.sparkclasses import class_sharing, ensure_archive


def main() -> None:
    """Print a line for each of the two; or be the program that is timed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--start", choices=("with", "without"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.start:
        start(with_archive=options.start == "with")
        return
    ensure_archive(print)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    took: dict[str, list[tuple[float, float]]] = {"without": [], "with": []}
    for _ in range(options.times):
        for name, each in took.items():
            each.append(timed(name))
    wall, cpu = ({name: statistics.median(one[i] for one in each) for name, each in took.items()} for i in (0, 1))
    for name in took:
        print(f"{name + ' the archive':<22}{wall[name]:>6.1f} s wall{cpu[name]:>8.1f} CPU-s")
    ratios = f"{wall['without'] / wall['with']:.1f} in wall time, {cpu['without'] / cpu['with']:.1f} in CPU time"
    print(f"without beside with: {ratios}")


def timed(name: str) -> tuple[float, float]:
    """Return wall and CPU seconds of one start."""
    wall, cpu = time.perf_counter(), cpu_of_children()
    run_whole([sys.executable, str(Path(__file__)), "--start", name])
    return time.perf_counter() - wall, cpu_of_children() - cpu


def cpu_of_children() -> float:
    """Return the CPU seconds of all ended children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def start(*, with_archive: bool) -> None:
    """Start a session and ask it something."""
    options = LOCAL["spark.driver.extraJavaOptions"]
    options = options if with_archive else options.replace(class_sharing(), "")
    spark = quiet_session("local[2]", {"spark.driver.extraJavaOptions": options})
    spark.range(1000).selectExpr("id % 7 AS part").groupBy("part").count().collect()
    spark.stop()


if __name__ == "__main__":
    main()
