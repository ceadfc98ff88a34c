"""Tells two spirals apart: a small network, PyTorch, Horovod; elastic where the application is.

Started by ``tony_py submit static.yaml`` or ``elastic.yaml`` in every process with Horovod's variables set. The
data is made here, the same in every process; in each epoch every process trains on its share of it.
"""

import argparse
import io
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import horovod.torch as hvd
import torch
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from hdfs_native.fsspec import HdfsFileSystem
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset

TRAIN_ROWS, TEST_ROWS = 4000, 2000
COMMIT_STEPS = 10
CHECKPOINT = "checkpoint.pt"


def spirals(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return points on two noisy spirals, and on which of them each one is."""
    generator = torch.Generator().manual_seed(seed)
    side = torch.randint(0, 2, (rows,), generator=generator).float()
    angle = 2 * torch.pi * torch.rand(rows, generator=generator).sqrt()
    turned = angle + torch.pi * side
    points = torch.stack([angle * turned.cos(), angle * turned.sin()], dim=1) / 2
    return points + 0.05 * torch.randn(rows, 2, generator=generator), side


def place(url: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system and the path of a folder, on HDFS or on this machine."""
    parts = urlsplit(url)
    return (HdfsFileSystem(parts.hostname, parts.port) if parts.scheme == "hdfs" else LocalFileSystem()), parts.path


def write(folder: str, name: str, data: bytes) -> None:
    """Write a file, whole or not at all."""
    filesystem, path = place(folder)
    filesystem.makedirs(path, exist_ok=True)
    filesystem.pipe_file(f"{path}/.{name}.tmp", data)
    if filesystem.exists(f"{path}/{name}"):
        filesystem.rm(f"{path}/{name}")
    filesystem.mv(f"{path}/.{name}.tmp", f"{path}/{name}")


def saved(value: dict[str, Any]) -> bytes:
    """Return tensors as a file's bytes."""
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def checkpoint() -> dict[str, Any] | None:
    """Return what the last epoch of an earlier start left, or None."""
    filesystem, path = place(os.environ["TONY_CHECKPOINT_DIR"])
    if not filesystem.exists(f"{path}/{CHECKPOINT}"):
        return None
    found: dict[str, Any] = torch.load(io.BytesIO(filesystem.cat_file(f"{path}/{CHECKPOINT}")))
    return found


def tell_progress(epoch: int, epochs: int, loss: float) -> None:
    """Show how far the run is to whoever follows the application."""
    target = Path(os.environ["TONY_PROGRESS_FILE"])
    fresh = target.with_suffix(f".{hvd.local_rank()}.tmp")
    message = f"epoch {epoch} of {epochs}: loss {loss:.4f}, {hvd.size()} processes"
    fresh.write_text(json.dumps({"step": epoch, "progress": epoch / epochs, "checkpoint": epoch, "message": message}))
    fresh.replace(target)


def main() -> None:
    """Train, and let the first process write the network and how well it does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    options = parser.parse_args()

    hvd.init()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = hvd.DistributedOptimizer(
        torch.optim.Adam(model.parameters(), lr=options.learning_rate), named_parameters=model.named_parameters()
    )
    dataset = TensorDataset(*spirals(TRAIN_ROWS, seed=1))
    sampler = hvd.elastic.ElasticSampler(dataset, shuffle=True, seed=1)
    loader = DataLoader(dataset, batch_size=options.batch_size, sampler=sampler)

    @hvd.elastic.run  # type: ignore[misc]  # Horovod has no types
    def train(state: Any) -> None:  # noqa: ANN401  # likewise
        while state.epoch < options.epochs:
            loss = torch.zeros(())
            for step, (points, side) in enumerate(loader):
                loss = binary_cross_entropy_with_logits(model(points).squeeze(1), side)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                state.sampler.record_batch(step, options.batch_size)
                if (step + 1) % COMMIT_STEPS == 0:
                    state.commit()
            state.epoch += 1
            state.sampler.set_epoch(state.epoch)
            if hvd.rank() == 0:
                kept = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": state.epoch}
                write(os.environ["TONY_CHECKPOINT_DIR"], CHECKPOINT, saved(kept))
            tell_progress(state.epoch, options.epochs, loss.item())
            state.commit()

    earlier = checkpoint()
    if earlier is not None:
        model.load_state_dict(earlier["model"])
        optimizer.load_state_dict(earlier["optimizer"])
    epoch = earlier["epoch"] if earlier is not None else 0
    train(hvd.elastic.TorchState(model=model, optimizer=optimizer, sampler=sampler, epoch=epoch))
    if hvd.rank() == 0:
        points, side = spirals(TEST_ROWS, seed=2)
        accuracy = ((model(points).squeeze(1) > 0) == (side > 0)).float().mean().item()
        metrics = {"test_accuracy": accuracy, "processes": hvd.size()}
        write(os.environ["TONY_OUTPUT"], "model.pt", saved(model.state_dict()))
        write(os.environ["TONY_OUTPUT"], "metrics.json", json.dumps(metrics).encode())


if __name__ == "__main__":
    main()
