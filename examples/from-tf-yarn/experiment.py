"""The user's part of a tf-yarn experiment, as it was: a model, its data, and the function that trains."""

import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

SLOPE, INTERCEPT = 2.0, -1.0


def make_model() -> torch.nn.Module:
    """Return the model to train."""
    return torch.nn.Linear(1, 1)


def make_dataset() -> Dataset[tuple[torch.Tensor, ...]]:
    """Return the points of a line."""
    x = torch.linspace(-1, 1, 2048).unsqueeze(1)
    return TensorDataset(x, SLOPE * x + INTERCEPT)


def main_fn(model: torch.nn.Module, trainloader: DataLoader, device: str, rank: int) -> float:
    """Train and return the last loss."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = torch.zeros(())
    for epoch in range(5):
        trainloader.sampler.set_epoch(epoch)
        for x, y in trainloader:
            loss = torch.nn.functional.mse_loss(model(x.to(device)), y.to(device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if rank == 0:
            print(f"epoch {epoch} loss {loss.item():.4f}")
    return loss.item()
