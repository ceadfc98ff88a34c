"""What one request costs the serving tier: CPU time of a worker per request, whole tier, real HTTP.

CPU time is compared, since wall time on a shared machine is noise. One worker of each server, Granian's with one thread
and with four, the access log written to a file; one connection, so that the worker sleeps between two requests and pays
for waking, and many, so that it never does.

    python benchmarks/serving_tier.py [--requests 5000] [--connections 16]

Asked: one row at most 200 us under gunicorn and 60 under Granian, 100 x 100 numbers as JSON at most 450. Needs the
extras ``test`` and ``granian``.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from closed_loop import cpu_us
from serving_data import FEATURES, publish, running

SERVERS = {
    "gunicorn": ("serving.server=gunicorn",),
    "granian": ("serving.server=granian",),
    "1 thread": ("serving.server=granian", "serving.threads=1"),
}


def main() -> None:
    """Run the benchmark in a folder that is gone afterwards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    bodies = {
        f"one row of {FEATURES} features": (rows_of(1), options.requests),
        "100 such rows": (rows_of(100), options.requests // 5),
        "1,000 such rows": (rows_of(1000), options.requests // 20),
        "GET /healthz (Flask)": (None, options.requests),
    }
    print(f"CPU microseconds a request, one worker, load {os.getloadavg()[0]:.1f}")
    print(f"{'':<28}{'connections':>12}" + "".join(f"{server:>12}" for server in SERVERS))
    loads = (1, options.connections)
    costs = {server: measured(settings, bodies, loads) for server, settings in SERVERS.items()}
    for name in bodies:
        for load in loads:
            print(f"{name:<28}{load:>12}" + "".join(f"{cost[name, load]:>12.0f}" for cost in costs.values()))


def rows_of(count: int) -> bytes:
    """Return a request for so many rows."""
    return json.dumps({"instances": [[0.5] * FEATURES] * count}).encode()


def measured(
    settings: tuple[str, ...], bodies: Mapping[str, tuple[bytes | None, int]], loads: tuple[int, ...]
) -> dict[tuple[str, int], float]:
    """Return what each request costs under a server, by the number of connections."""
    with tempfile.TemporaryDirectory() as folder:
        (model,) = publish(Path(folder), 1)
        with running(Path(folder), *settings) as tier:
            return {
                (name, load): cpu_us(
                    tier.address,
                    [tier.worker],
                    "/healthz" if body is None else f"/v1/models/{model}:predict",
                    body,
                    requests,
                    load,
                )
                for name, (body, requests) in bodies.items()
                for load in loads
            }


if __name__ == "__main__":
    main()
