"""What batching is worth: requests a second of one worker with and without it, of a net and of a small model.

    python benchmarks/serving_batching.py [--seconds 4] [--clients 16] [--server gunicorn]

So many clients, and then one alone, ask one row each, over a connection each, as soon as they have an answer. The net
is three dense layers (512, 4,096, 4,096, 1; 72 MiB of weights, which one row and sixteen read alike), the small model a
sum of ten numbers. A call has at most as many rows as there are clients and waits 20 ms. Clients and worker share this
machine's cores, so ratios are what counts: over 1 of requests a second, below 1 of CPU a request, batching is worth it.
Needs the extras ``test`` and ``granian``.
"""

import argparse
import http.client
import json
import os
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
from serving_data import FEATURES, Tier, publish, publish_graph, running

from yarnmill.bundle.manifest import Field, Signature

WIDTHS = (512, 4096, 4096, 1)
NET_SIGNATURE = Signature(
    inputs=(Field(name="x", dtype="float32", shape=(WIDTHS[0],)),),
    outputs=(Field(name="y", dtype="float32", shape=(1,)),),
)


def net() -> onnx.ModelProto:
    """Return a net of dense layers with weights drawn at random."""
    rng, nodes, weights, name = np.random.default_rng(1), [], [], "x"
    for layer, (rows, columns) in enumerate(pairwise(WIDTHS)):
        values = (rng.normal(size=(rows, columns)) / np.sqrt(rows)).astype(np.float32)
        weights.append(onnx.numpy_helper.from_array(values, f"w{layer}"))
        is_last = layer == len(WIDTHS) - 2
        nodes.append(onnx.helper.make_node("MatMul", [name, f"w{layer}"], ["y" if is_last else f"sum{layer}"]))
        if not is_last:
            nodes.append(onnx.helper.make_node("Relu", [f"sum{layer}"], [name := f"layer{layer}"]))
    ends = [
        onnx.helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, ["N", width])
        for end, width in (("x", WIDTHS[0]), ("y", 1))
    ]
    graph = onnx.helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9)


def rate(tier: Tier, model: str, features: int, clients: int, seconds: float) -> tuple[float, float]:
    """Return requests a second and CPU microseconds a request of the worker."""
    body = json.dumps({"instances": [[0.5] * features]}).encode()
    counts, failures = [0] * clients, list[str]()
    measuring, stop = threading.Event(), threading.Event()

    def ask(client: int) -> None:
        connection = http.client.HTTPConnection(tier.address)
        while not stop.is_set():
            connection.request("POST", f"/v1/models/{model}:predict", body)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                failures.append(f"{model}: {answer.status} {text!r}")
                return
            counts[client] += measuring.is_set()
        connection.close()

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 4)
    begun, before = time.perf_counter(), tier.cpu_s()
    measuring.set()
    time.sleep(seconds)
    asked, took_s, spent_s = sum(counts), time.perf_counter() - begun, tier.cpu_s() - before
    stop.set()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(failures[0])
    return asked / took_s, spent_s / asked * 1e6


def main() -> None:
    """Run the benchmark in a folder that is gone afterwards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--server", choices=["gunicorn", "granian"], default="gunicorn")
    options = parser.parse_args()
    print(f"one worker of {options.server} with {options.clients} threads; microseconds are of its CPU a request")
    print(
        f"{'':<20}{'clients':>8}{'alone/s':>9}{'batched/s':>11}{'ratio':>7}{'alone us':>10}{'batched':>9}{'ratio':>7}"
    )
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        publish_graph(home, "net", net(), NET_SIGNATURE)
        (small,) = publish(home, 1)
        for name, model, features in (("three dense layers", "net", WIDTHS[0]), ("sum of ten", small, FEATURES)):
            found: dict[int, list[tuple[float, float]]] = {options.clients: [], 1: []}
            for batching in ("{}", f"{{{model}: {{rows: {options.clients}, wait: 20 ms}}}}"):
                settings = (f"serving.server={options.server}", f"serving.threads={options.clients}")
                with running(home, *settings, f"serving.batching={batching}") as tier:
                    for clients, rates in found.items():
                        rates.append(rate(tier, model, features, clients, options.seconds))
            for clients, ((alone, alone_us), (together, together_us)) in found.items():
                print(
                    f"{name:<20}{clients:>8}{alone:>9.0f}{together:>11.0f}{together / alone:>7.2f}"
                    f"{alone_us:>10.0f}{together_us:>9.0f}{together_us / alone_us:>7.2f}"
                )
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
