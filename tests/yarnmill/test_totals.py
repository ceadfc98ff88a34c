"""Series of several processes as numbers: the same as Prometheus is told, a worker that ended included."""

import json
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from yarnmill.httpserver.totals import Totals

NAMES = ("asked_total", "seconds_bucket", "worst")
PROGRAM = """
import json, os, sys
from yarnmill.httpserver.series import render_series, shared_series

def worker(number):
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
    registry = CollectorRegistry()
    Counter("asked", "-", ["model"], registry=registry).labels("rater").inc(number)
    Histogram("seconds", "-", buckets=(1, 2), registry=registry).observe(number)
    Gauge("worst", "-", registry=registry, multiprocess_mode="livemax").set(-number)
    Counter("other", "-", registry=registry).inc()
    return registry

with shared_series():
    for number in (1, 2):
        if (child := os.fork()) == 0:
            worker(number)
            os._exit(0)
        os.waitpid(child, 0)
    registry = worker(5)
    from yarnmill.httpserver.totals import Totals
    totals = Totals(registry, ("asked_total", "seconds_bucket", "worst"))
    first = totals.read()
    assert totals.read() == first
    print(json.dumps([[name, dict(labels), value] for (name, labels), value in sorted(first.items())]))
    sys.stderr.write(render_series(registry).decode())
"""


def test_one_process_alone_has_its_own() -> None:
    registry = CollectorRegistry()
    Counter("asked", "-", ["model"], registry=registry).labels("rater").inc(2)
    seconds = Histogram("seconds", "-", ["model"], buckets=(1, 2), registry=registry)
    for model, value in (("rater", 0.5), ("rater", 1.5), ("other", 9), ("other", 0)):
        seconds.labels(model).observe(value)
    Gauge("worst", "-", registry=registry).set(-1)
    Gauge("unwanted", "-", registry=registry).set(1)
    found = {
        (name, *(value for _, value in labels)): value
        for (name, labels), value in Totals(registry, NAMES).read().items()
    }
    assert found == {
        ("asked_total", "rater"): 2,
        ("seconds_bucket", "1.0", "rater"): 1,
        ("seconds_bucket", "2.0", "rater"): 1,
        ("seconds_bucket", "+Inf", "rater"): 0,
        ("seconds_bucket", "1.0", "other"): 1,
        ("seconds_bucket", "2.0", "other"): 0,
        ("seconds_bucket", "+Inf", "other"): 1,
        ("worst",): -1,
    }


@pytest.mark.programs
def test_workers_are_added_up() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        ["asked_total", {"model": "rater"}, 8],
        ["seconds_bucket", {"le": "+Inf"}, 1],
        ["seconds_bucket", {"le": "1.0"}, 1],
        ["seconds_bucket", {"le": "2.0"}, 1],
        ["worst", {}, -1],
    ]
    assert 'asked_total{model="rater"} 8.0' in done.stderr
    assert 'seconds_bucket{le="+Inf"} 3.0' in done.stderr
