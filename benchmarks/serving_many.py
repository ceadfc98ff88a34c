"""More models than memory: how long the first request of a cold one takes, and what a worker takes of memory.

    python benchmarks/serving_many.py [--models 5000] [--memory-mib 256] [--requests 1000]

Publishes and deploys so many ONNX models of ten features, starts the tier with one worker and room for some of them,
and asks them in a random order over one connection. A request is cold when `/v1/models` said before that the model was
not open; the first pass over a fresh cache fetches each bundle from the blob store too, a later one finds it on disk.
The limit asked for is 50 ms a cold request. Needs the extra ``test``.
"""

import argparse
import http.client
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from serving_data import FEATURES, Tier, publish, running

LIMIT_MS = 50.0


def main() -> None:
    """Run the benchmark in a folder that is gone afterwards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=5000)
    parser.add_argument("--memory-mib", type=int, default=256)
    parser.add_argument("--requests", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        names = publish(Path(folder), options.models)
        print(f"{len(names):,} models published and deployed in {time.perf_counter() - begun:.0f} s")
        for kind in ("from the blob store", "from this machine's cache"):
            with running(Path(folder), f"serving.memory={options.memory_mib}MiB") as tier:
                print(f"\n{kind}: serving after {tier.started_s:.1f} s with {tier.memory_mib():.0f} MiB in memory")
                measure(tier, names, options.requests)


def measure(tier: Tier, names: list[str], requests: int) -> None:
    """Print how long requests of open and of cold models took."""
    connection = http.client.HTTPConnection(tier.address)
    body = json.dumps({"instances": [[0.5] * FEATURES]}).encode()
    connection.request("GET", "/v1/models")
    listed = json.loads(connection.getresponse().read())["models"]
    was_open = {one["model"] for one in listed if one["open"]}
    rng = np.random.default_rng(1)

    def ask(name: str) -> float:
        begun = time.perf_counter()
        connection.request("POST", f"/v1/models/{name}:predict", body)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{name}: {answer.status} {content!r}")
        return (time.perf_counter() - begun) * 1e3

    cold = [ask(name) for name in rng.permutation(names)[:requests] if name not in was_open]
    hot = [ask(name) for name in [names[0]] * 200][1:]
    print(f"  {len(was_open):,} open at the start; {len(cold):,} cold requests; {tier.memory_mib():.0f} MiB in memory")
    print(f"  {'':<10}{'median ms':>12}{'99 % ms':>12}{'largest ms':>12}{'limit ms':>12}")
    for kind, times in (("cold", cold), ("open", hot)):
        if times:
            middle, late = np.percentile(times, [50, 99])
            print(f"  {kind:<10}{middle:>12.1f}{late:>12.1f}{max(times):>12.1f}{LIMIT_MS:>12.0f}")
    print(f"  load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
