"""Hours in minutes: what a worker keeps of memory and descriptors under load, and whether a swap ever fails a request.

    python benchmarks/serving_soak.py [--minutes 20] [--rate 200] [--models 50] [--memory-mib 8] [--server gunicorn]

So many linear models, with room for about half of them, so that all the time some are closed and opened again; drift is
measured of one, requests of another are batched, and the prediction log is written. Eight clients ask one of them each
after the other, at a fixed rate altogether, and check every answer against the version that gave it. Every two seconds
one of the models is promoted to its second version, or rolled back to its first. Asked: no request fails, and neither
memory nor descriptors grow once caches are full; the slopes are of the second half, and of the first ten minutes they
say little more than that caches fill. Ends with status 1 if a request
failed. Needs the extras ``test`` and ``granian``.
"""

import argparse
import http.client
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from serving_data import FEATURES, SIGNATURE, Tier, graph_of, publish, publish_graph, registry_of, running

from yarnmill.registry import Rule

CLIENTS = 8
SWAP_S = 2.0
SAMPLES = 120
BODY = json.dumps({"instances": [[0.5] * FEATURES]}).encode()
SUM = 0.5 * FEATURES
SECOND = 1000.0
"""What the second version of a model adds to the answers of its first."""


@dataclass
class Soak:
    """What was seen so far: answers by version, failures, swaps, samples of ``(seconds, MiB, descriptors)``."""

    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    swaps: int = 0
    samples: list[tuple[float, float, float]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def ask(self, tier: Tier, models: list[str], seed: int, rate: float) -> None:
        """Ask models drawn at random, so many a second, until it stops."""
        rng = np.random.default_rng(seed)
        connection = http.client.HTTPConnection(tier.address)
        due = time.monotonic()
        while not self.stop.is_set():
            number = int(rng.integers(len(models)))
            try:
                connection.request("POST", f"/v1/models/{models[number]}:predict", BODY)
                answer = connection.getresponse()
                text, version = answer.read(), answer.headers["X-Model-Version"]
                expected = {"predictions": [SUM + number + (SECOND if version == "2" else 0.0)]}
                if answer.status == 200 and json.loads(text) == expected:
                    self.answers[version] += 1
                else:
                    self.failures.append(f"{models[number]}: {answer.status} {text!r}")
            except (OSError, http.client.HTTPException) as problem:
                self.failures.append(f"{models[number]}: {problem!r}")
                connection.close()
            due = max(due + 1.0 / rate, time.monotonic() - 1.0)
            self.stop.wait(max(0.0, due - time.monotonic()))
        connection.close()

    def swap(self, home: Path, models: list[str]) -> None:
        """Promote and roll back one model after the other until it stops."""
        endpoints = registry_of(home).endpoints
        while not self.stop.wait(SWAP_S):
            model = models[self.swaps // 2 % len(models)]
            if self.swaps % 2:
                endpoints.roll_back(model)
            else:
                endpoints.route(model, Rule.only(2))
            self.swaps += 1

    def watch(self, tier: Tier, seconds: float) -> None:
        """Sample the worker for so long."""
        begun = time.monotonic()
        for sample in range(SAMPLES + 1):
            self.stop.wait(max(0.0, begun + seconds * sample / SAMPLES - time.monotonic()))
            self.samples.append((time.monotonic() - begun, tier.memory_mib(), tier.descriptors()))

    def report(self, minutes: float) -> None:
        """Print what was seen."""
        seconds, memory, descriptors = np.array(self.samples).T
        late = seconds >= seconds[-1] / 2
        print(f"{sum(self.answers.values()):,} requests answered in {minutes:g} minutes, {len(self.failures)} failed")
        print(f"{self.swaps} swaps; answered by version {dict(sorted(self.answers.items()))}")
        print(f"{'':<12}{'begin':>10}{'middle':>10}{'end':>10}{'most':>10}{'an hour':>12}")
        for name, values in (("memory MiB", memory), ("descriptors", descriptors)):
            slope = np.polyfit(seconds[late], values[late], 1)[0] * 3600
            ends = values[0], values[late][0], values[-1], values.max()
            print(f"{name:<12}{''.join(f'{value:>10.1f}' for value in ends)}{slope:>+12.1f}")
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for failure, count in Counter(self.failures).most_common(5):
            print(f"{count} x {failure}")


def main() -> None:
    """Run the benchmark in a folder that is gone afterwards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--memory-mib", type=int, default=8)
    parser.add_argument("--server", choices=["gunicorn", "granian"], default="gunicorn")
    options = parser.parse_args()
    soak = Soak()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        models = publish(home, options.models, watched=1)
        for number, model in enumerate(models):
            publish_graph(home, model, graph_of(number + SECOND), SIGNATURE)
            registry_of(home).endpoints.route(model, Rule.only(1))
        settings = (
            "serving.poll=0.2",
            f"serving.server={options.server}",
            f"serving.memory={options.memory_mib}MiB",
            f"serving.threads={CLIENTS}",
            f"serving.batching={{{models[0]}: {{rows: {CLIENTS}, wait: 2 ms}}}}",
            f"serving.log.url={home}/log",
            "serving.log.flush=5 s",
        )
        with running(home, *settings) as tier:
            rate = options.rate / CLIENTS
            threads = [threading.Thread(target=soak.ask, args=(tier, models, seed, rate)) for seed in range(CLIENTS)]
            threads.append(threading.Thread(target=soak.swap, args=(home, models)))
            for thread in threads:
                thread.start()
            try:
                soak.watch(tier, options.minutes * 60)
            finally:
                soak.stop.set()
                for thread in threads:
                    thread.join()
    soak.report(options.minutes)
    sys.exit(1 if soak.failures else 0)


if __name__ == "__main__":
    main()
