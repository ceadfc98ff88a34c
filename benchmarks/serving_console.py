"""What the console costs a tier: of the worker's time while nobody looks, of a request, and of a page.

Two tiers of the same hundred models, one with the control API and its console, one without; each model was asked, so
that all series are there. While nobody looks, the console takes a sample of the counters every five seconds.

    python benchmarks/serving_console.py [--models 100] [--requests 2000] [--idle 30]

Asked: a request costs the same with and without. Needs the extra ``test``.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from serving_data import Tier, publish, running
from serving_tier import cost_us, rows_of

ROUNDS = 8
PAGES = ("/console/", "/console/models/linear-1", "/console/models/linear-1/endpoints/production", "/console/audit")


def main() -> None:
    """Run the benchmark in a folder that is gone afterwards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--idle", type=float, default=30.0)
    options = parser.parse_args()
    print(f"CPU of one worker, {options.models} models, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        names = publish(home, options.models)
        with running(home) as plain, running(home, "serving.control=true") as with_pages:
            tiers = (plain, with_pages)
            for name in names:
                for tier in tiers:
                    cost_us(tier, _predict(name), rows_of(1), 10)
            idle = [idle_ms(tier, options.idle) for tier in tiers]
            rounds = []
            for number in range(ROUNDS):
                costs = {}
                for tier in tiers if number % 2 else tiers[::-1]:  # neither is always the second
                    costs[tier] = cost_us(tier, _predict(names[0]), rows_of(1), options.requests)
                rounds.append([costs[tier] for tier in tiers])
            pages = {page: cost_us(with_pages, page, None, 40) / 1000 for page in PAGES}
    requests = [statistics.median(seen) for seen in zip(*rounds, strict=True)]
    print(f"{'':<66}{'without':>9}{'with':>9}")
    print(f"{'milliseconds a second while nobody asks or looks':<66}{idle[0]:>9.2f}{idle[1]:>9.2f}")
    print(f"{'microseconds a request':<66}{requests[0]:>9.0f}{requests[1]:>9.0f}")
    for page, cost in pages.items():
        print(f"{f'milliseconds of {page}':<66}{'':>9}{cost:>9.1f}")


def _predict(model: str) -> str:
    return f"/v1/models/{model}:predict"


def idle_ms(tier: Tier, seconds: float) -> float:
    """Return the worker's CPU milliseconds a second while nothing is asked of it."""
    before = tier.cpu_s()
    time.sleep(seconds)
    return (tier.cpu_s() - before) / seconds * 1000


if __name__ == "__main__":
    main()
