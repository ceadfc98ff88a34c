"""What one request costs the serving tier: CPU time of a worker per request, whole tier, real HTTP.

CPU time is compared, since wall time on a shared machine is noise. One gunicorn worker, one client with
one connection. Run: ``python benchmarks/serving_tier.py [--requests 5000]``; needs the extras ``test``.
"""

import argparse
import http.client
import json
import os
import tempfile
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
    one = json.dumps({"instances": [[0.5] * FEATURES]}).encode()
    many = json.dumps({"instances": [[0.5] * FEATURES] * 1000}).encode()
    with tempfile.TemporaryDirectory() as folder:
        (model,) = publish(Path(folder), 1)
        with running(Path(folder)) as tier:
            predict = f"/v1/models/{model}:predict"
            print(f"CPU microseconds a request, one gunicorn worker, load {os.getloadavg()[0]:.1f}")
            print(f"  one row of {FEATURES} features   {cost_us(tier, predict, one, requests):8.0f}")
            print(f"  1,000 such rows         {cost_us(tier, predict, many, requests // 20):8.0f}")
            print(f"  GET /healthz (Flask)    {cost_us(tier, '/healthz', None, requests):8.0f}")


if __name__ == "__main__":
    main()
