"""Trains a line by elastic Horovod: a step takes 50 ms, every fifth is committed; says who trains from which step on.

usage: horovod_elastic.py STEPS
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import horovod.torch as hvd
import torch

steps = int(sys.argv[1])
output = Path(os.environ["TONY_OUTPUT"])
me = f"{os.environ['TONY_JOB_TYPE']}:{os.environ['TONY_TASK_INDEX']}"

hvd.init()
model = torch.nn.Linear(2, 1)
optimizer = hvd.DistributedOptimizer(
    torch.optim.SGD(model.parameters(), lr=0.05), named_parameters=model.named_parameters()
)


@hvd.elastic.run
def train(state: Any) -> None:
    line = {"task": me, "pid": os.getpid(), "step": state.step, "rank": hvd.rank(), "size": hvd.size()}
    with (output / f"trains-{os.environ['TONY_TASK_INDEX']}-{hvd.local_rank()}").open("a") as stream:
        stream.write(json.dumps(line) + "\n")
    while state.step < steps:
        rows = torch.randn(16, 2)
        loss = ((model(rows) - rows.sum(1, keepdim=True) - 0.5) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        state.step += 1
        Path(os.environ["TONY_PROGRESS_FILE"]).write_text(json.dumps({"step": state.step}))
        time.sleep(0.05)
        if state.step % 5 == 0:
            state.commit()


train(hvd.elastic.TorchState(model=model, optimizer=optimizer, step=0))
if hvd.rank() == 0:
    weights = dict(zip(("first", "second", "bias"), [*model.weight.flatten().tolist(), model.bias.item()], strict=True))
    (output / "metrics.json").write_text(json.dumps({**weights, "size": hvd.size()}))
