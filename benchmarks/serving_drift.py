"""What watching for drift costs: CPU time of a worker per request, of a model with a reference and of one without.

All threads are counted: what a request leaves behind is counted by another one. One worker, one client with one
connection, both models in turn.

    python benchmarks/serving_drift.py [--requests 5000] [--rounds 5]

Asked: one row of ten features (eleven series) at most a twentieth more. Needs the extra ``test``.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from closed_loop import cpu_us
from serving_data import FEATURES, publish, running
from serving_tier import rows_of


def main() -> None:
    """Run the benchmark in a folder that is gone afterwards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"CPU microseconds a request, one worker, load {os.getloadavg()[0]:.1f}")
    print(f"{'':<28}{'without':>12}{'with':>12}{'more':>12}")
    with tempfile.TemporaryDirectory() as folder:
        plain, watched = publish(Path(folder), 2, watched=1)
        with running(Path(folder)) as tier:
            for rows, requests in ((1, options.requests), (100, options.requests // 5)):
                costs: dict[str, list[float]] = {plain: [], watched: []}
                for _ in range(options.rounds):
                    for model, seen in costs.items():
                        seen.append(
                            cpu_us(tier.address, [tier.worker], f"/v1/models/{model}:predict", rows_of(rows), requests)
                        )
                without, with_it = (statistics.median(seen) for seen in costs.values())
                name = f"{rows} x {FEATURES} features"
                print(f"{name:<28}{without:>12.0f}{with_it:>12.0f}{with_it - without:>12.0f}")


if __name__ == "__main__":
    main()
