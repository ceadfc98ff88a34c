"""What one request costs the serving tier: CPU time of a worker per request, whole tier, real HTTP.

CPU time is compared, since wall time on a shared machine is noise. One worker of each server, one client with
one connection, the access log written to a file.

    python benchmarks/serving_tier.py [--requests 5000]

Asked: one row at most 200 us under gunicorn and 60 under Granian, 100 x 100 numbers as JSON at most 450. Needs the
extras ``test`` and ``granian``.
"""

import argparse
import http.client
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from serving_data import FEATURES, Tier, publish, running


def cost_us(tier: Tier, path: str, body: bytes | None, requests: int) -> float:
    """Return the worker's CPU microseconds a request."""
    connection = http.client.HTTPConnection(tier.address)
    method = "GET" if body is None else "POST"

    def ask(times: int) -> None:
        for _ in range(times):
            connection.request(method, path, body)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise SystemExit(f"{path}: {answer.status}")

    ask(requests // 10)
    before = tier.cpu_s()
    ask(requests)
    spent = tier.cpu_s() - before
    connection.close()
    return spent / requests * 1e6


def main() -> None:
    """Run the benchmark in a folder that is gone afterwards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    requests = parser.parse_args().requests
    bodies = {
        f"one row of {FEATURES} features": (rows_of(1), requests),
        "100 such rows": (rows_of(100), requests // 5),
        "1,000 such rows": (rows_of(1000), requests // 20),
        "GET /healthz (Flask)": (None, requests),
    }
    print(f"CPU microseconds a request, one worker, load {os.getloadavg()[0]:.1f}")
    costs = {server: measured(server, bodies) for server in ("gunicorn", "granian")}
    print(f"{'':<28}" + "".join(f"{server:>12}" for server in costs))
    for name in bodies:
        print(f"{name:<28}" + "".join(f"{cost[name]:>12.0f}" for cost in costs.values()))


def rows_of(count: int) -> bytes:
    """Return a request for so many rows."""
    return json.dumps({"instances": [[0.5] * FEATURES] * count}).encode()


def measured(server: str, bodies: Mapping[str, tuple[bytes | None, int]]) -> dict[str, float]:
    """Return what each request costs under a server."""
    with tempfile.TemporaryDirectory() as folder:
        (model,) = publish(Path(folder), 1)
        with running(Path(folder), f"serving.server={server}") as tier:
            return {
                name: cost_us(tier, "/healthz" if body is None else f"/v1/models/{model}:predict", body, requests)
                for name, (body, requests) in bodies.items()
            }


if __name__ == "__main__":
    main()
