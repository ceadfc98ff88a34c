"""What a native form costs beside ONNX: CPU and wall time of a request, seconds until it answers, memory.

The same net, ten features to 64 to one, is saved by TensorFlow and by PyTorch, and as ONNX by both. ONNX is asked in
this process, a native form in its own: both processes' CPU is counted. Beside it stands what the library itself takes,
asked in its process without anybody between.

    python benchmarks/serving_native.py [--requests 2000]

Asked: nothing; the guide to serving says what came of it. Needs `yarnmill env build training`.
"""

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from closed_loop import cpu_s

from yarnmill import environments
from yarnmill.building import run_tool
from yarnmill.bundle.manifest import Field, Flavour, Signature
from yarnmill.flavours import programs
from yarnmill.flavours.native import NativePredictor, NativeProgram
from yarnmill.flavours.onnx import OnnxPredictor
from yarnmill.units import render_bytes

SIGNATURE: Final = Signature(
    inputs=(Field(name="x", dtype="float32", shape=(10,)),), outputs=(Field(name="y", dtype="float32"),)
)
SAVE: Final[Mapping[str, str]] = {
    "tensorflow": """
import sys, pathlib, numpy as np, keras, tensorflow as tf, tf2onnx
folder = pathlib.Path(sys.argv[1])
net = keras.Sequential([keras.layers.Dense(64, activation="relu"), keras.layers.Dense(1, activation="sigmoid")])
asked = [tf.TensorSpec([None, 10], tf.float32, "x")]
call = tf.function(lambda x: {"y": net(x)[:, 0]}, input_signature=asked)
net(np.zeros((1, 10), np.float32))
module = tf.Module()
module.net, module.call = net, call
tf.saved_model.save(module, str(folder / "SavedModel" / "native"), {"serving_default": call})
tf2onnx.convert.from_function(call, asked, opset=18, output_path=str(folder / "tensorflow.onnx"))
""",
    "torch": """
import sys, pathlib, torch
folder = pathlib.Path(sys.argv[1])
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(10, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    def forward(self, x: torch.Tensor):
        return {"y": torch.sigmoid(self.layers(x))[:, 0]}
net = Net().eval()
for name in ("TorchScript", "torch.export"):
    (folder / name / "native").mkdir(parents=True)
torch.jit.script(net).save(str(folder / "TorchScript" / "native" / "model.pt"))
shapes = ({0: torch.export.Dim("rows")},)
program = torch.export.export(net, (torch.zeros(2, 10),), dynamic_shapes=shapes)
torch.export.save(program, folder / "torch.export" / "native" / "model.pt2")
torch.onnx.export(program, (), folder / "torch.onnx", input_names=["x"], output_names=["y"], dynamo=True, verbose=False)
""",
}
FORMS: Final[tuple[tuple[str, Flavour, str], ...]] = (
    ("SavedModel", "tensorflow", "savedmodel:SavedModel"),
    ("TorchScript", "torch", "torchprogram:TorchProgram"),
    ("torch.export", "torch", "torchprogram:TorchProgram"),
)
ALONE: Final = """
import sys, time, importlib, numpy as np
code, entry, folder, requests = sys.argv[1:]
sys.path.insert(0, code)
module, _, name = entry.partition(":")
model = getattr(importlib.import_module(module), name)(folder)
x = {"x": np.full((1, 10), 0.5, np.float32)}
for _ in range(200):
    model.predict(x)
wall, cpu = time.perf_counter(), time.process_time()
for _ in range(int(requests)):
    model.predict(x)
print((time.process_time() - cpu) / int(requests) * 1e6, (time.perf_counter() - wall) / int(requests) * 1e6)
"""


def cost_us(predict: Callable[[Any], object], pids: list[int], requests: int) -> tuple[float, float]:
    """Return CPU, of all processes, and wall microseconds of a request for one row."""
    row = {"x": np.full((1, 10), 0.5, np.float32)}
    for _ in range(200):
        predict(row)
    spent, began = cpu_s(pids), time.perf_counter()
    for _ in range(requests):
        predict(row)
    return (cpu_s(pids) - spent) / requests * 1e6, (time.perf_counter() - began) / requests * 1e6


def child() -> int:
    """Return the only process that this one has started."""
    (pid,) = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return int(pid)


def own_bytes(pid: int) -> int:
    """Return what a process has in memory that no other shares."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) << 10


def main() -> None:
    """Print one line a form, in a folder that is gone afterwards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    options = parser.parse_args()
    python = str(environments.python_of("training"))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; microseconds for one row of ten features")
    print(f"{'':<20}{'CPU':>8}{'wall':>8}{'library: CPU':>15}{'wall':>8}{'up after':>11}{'memory':>10}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for library, program in SAVE.items():
            (folder / f"save_{library}.py").write_text(program)  # TorchScript reads the source
            run_tool([python, str(folder / f"save_{library}.py"), name], mend="yarnmill env build training")
        for library in SAVE:
            graph = OnnxPredictor(folder / f"{library}.onnx", SIGNATURE)
            cpu, wall = cost_us(graph.predict, [os.getpid()], options.requests * 10)
            print(f"{f'ONNX of {library}':<20}{cpu:>8.0f}{wall:>8.0f}")
        for form, flavour, entry in FORMS:
            began = time.perf_counter()
            model = NativePredictor(
                NativeProgram(flavour, folder / form, allow_code=True, training_python=python), SIGNATURE
            )
            up_s = time.perf_counter() - began
            cpu, wall = cost_us(model.predict, [os.getpid(), child()], options.requests)
            memory = render_bytes(own_bytes(child()))
            del model
            words = [str(Path(programs.__file__).parent), entry, str(folder / form), str(options.requests)]
            done = subprocess.run([python, "-c", ALONE, *words], check=True, capture_output=True, text=True)
            alone = [float(one) for one in done.stdout.split()]
            print(f"{form:<20}{cpu:>8.0f}{wall:>8.0f}{alone[0]:>15.0f}{alone[1]:>8.0f}{up_s:>9.1f} s{memory:>10}")


if __name__ == "__main__":
    main()
