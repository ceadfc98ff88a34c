"""Data-parallel training with PyTorch that survives the loss of a worker.

All workers train one small network on shares of one data set (DistributedDataParallel on gloo; on GPUs, nccl).
The first saves every epoch; whatever happens to a worker, all go on from the last epoch that was saved.
``tony_task`` is in every container: nobody installs it.
"""

import argparse
import io
import json
import time

import tony_task
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def rows(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return points and the surface over them that is to be learned."""
    x = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) * 4 - 2
    return x, (torch.sin(x[:, :1]) * torch.cos(x[:, 1:])).contiguous()


def save(epoch: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Save all that going on after this epoch needs."""
    stream = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict()}, stream)
    tony_task.save_checkpoint(epoch, stream.getvalue())


def resume(model: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Take up the last epoch that was saved, if there is one, and return the number of the next."""
    saved = tony_task.latest_checkpoint()
    if saved is None:
        return 0
    state = torch.load(io.BytesIO(saved.read()), weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    print(f"going on after epoch {saved.step}")
    return saved.step + 1


def main() -> None:
    """Train, and leave the model and its loss in the output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds after each epoch, to have time to watch")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)  # every worker starts with the same weights
    dist.init_process_group("gloo")  # RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT are set by tony_py
    rank, world = dist.get_rank(), dist.get_world_size()

    model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    first = resume(model, optimiser)
    parallel = DistributedDataParallel(model)
    x, y = (each[rank::world] for each in rows(1536, seed=2))
    for epoch in range(first, options.epochs):
        for batch in range(0, len(x), 128):
            loss = nn.functional.mse_loss(parallel(x[batch : batch + 128]), y[batch : batch + 128])
            optimiser.zero_grad()
            loss.backward()  # the workers' gradients are averaged here
            optimiser.step()
        if rank == 0:
            save(epoch, model, optimiser)
        tony_task.report(
            step=epoch + 1, total=options.epochs, message=f"loss {loss.item():.4f}", metrics={"loss": loss.item()}
        )
        time.sleep(options.pause)

    if rank == 0:
        x, y = rows(1000, seed=3)
        with torch.no_grad():
            metrics = {"test_loss": nn.functional.mse_loss(model(x), y).item(), "resumed_at": float(first)}
        stream = io.BytesIO()
        torch.save(model.state_dict(), stream)
        tony_task.save_output("model.pt", stream.getvalue())
        tony_task.save_output("metrics.json", json.dumps(metrics).encode())
        print(metrics)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
