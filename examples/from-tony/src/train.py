"""Fit a line with two workers: a program that was written for TonY, and reads what TonY gives a program."""

import argparse
import os

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

SLOPE, INTERCEPT = 2.0, -1.0


def main() -> None:
    """Train, and fail unless the line was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=200)
    steps = parser.parse_args().steps
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD"])
    distributed.init_process_group("gloo", init_method=os.environ["INIT_METHOD"], rank=rank, world_size=world)
    model = DistributedDataParallel(torch.nn.Linear(1, 1))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(rank)  # every worker has points of its own
    for step in range(steps):
        x = torch.rand(64, 1, generator=generator) * 2 - 1
        loss = torch.nn.functional.mse_loss(model(x), SLOPE * x + INTERCEPT)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if rank == 0 and step % 50 == 0:
            print(f"{os.environ['JOB_NAME']}:{os.environ['TASK_INDEX']} step {step} loss {loss.item():.4f}")
    slope, intercept = model.module.weight.item(), model.module.bias.item()
    distributed.destroy_process_group()
    if abs(slope - SLOPE) > 0.1 or abs(intercept - INTERCEPT) > 0.1:
        raise RuntimeError(f"found y = {slope:.2f} x + {intercept:.2f}")


if __name__ == "__main__":
    main()
