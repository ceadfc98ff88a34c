"""A wide-and-deep, two-tower rater of films: PyTorch, DistributedDataParallel on gloo.

Started by ``tony_py submit torch.yaml`` in every worker with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set.
"""

import argparse
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tony_task
import torch
import torch.distributed as dist
from evaluation import log_loss_sum
from numpy.typing import NDArray
from ratings import Rows, read_dimension, read_known_ids, read_rows
from run_files import finish, parse_options
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.parallel import DistributedDataParallel


class IdLookup(nn.Module):
    """Rows of an embedding by id: 0 for an id that training never saw. A binary search made of plain gathers."""

    def __init__(self, known: NDArray[np.int64]) -> None:
        super().__init__()
        self.size = len(known) + 1
        self.steps = max(1, int(np.ceil(np.log2(len(known) + 1))))
        table = np.full(2**self.steps, np.iinfo(np.int64).max)
        table[: len(known)] = known
        self.register_buffer("table", torch.from_numpy(table))

    def forward(self, ids: Tensor) -> Tensor:
        """Return one row number an id."""
        at = torch.zeros_like(ids)
        for step in reversed(range(self.steps)):
            probe = at + 2**step
            at = torch.where(self.table[probe] <= ids, probe, at)
        return torch.where(self.table[at] == ids, at + 1, 0)


class Rater(nn.Module):
    """Logit = wide(x) + bias of user and film + <user, film + film tower(x)> + deep(user, film, x)."""

    def __init__(self, users: NDArray[np.int64], films: NDArray[np.int64], dimension: int, width: int) -> None:
        super().__init__()
        self.user_rows, self.film_rows = IdLookup(users), IdLookup(films)
        self.user, self.film = nn.Embedding(self.user_rows.size, width), nn.Embedding(self.film_rows.size, width)
        self.user_bias, self.film_bias = nn.Embedding(self.user_rows.size, 1), nn.Embedding(self.film_rows.size, 1)
        for embedding, spread in ((self.user, 0.02), (self.film, 0.02), (self.user_bias, 0.0), (self.film_bias, 0.0)):
            nn.init.normal_(embedding.weight, std=spread)
        self.wide = nn.Linear(dimension, 1)
        self.film_tower = nn.Linear(dimension, width)
        self.deep = nn.Sequential(
            nn.Linear(2 * width + dimension, 2 * width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(2 * width, 1)
        )
        self.register_buffer("mean", torch.zeros(dimension))
        self.register_buffer("scale", torch.ones(dimension))

    def logit(self, user: Tensor, film: Tensor, features: Tensor) -> Tensor:
        """Return logits of rows whose ids have been looked up."""
        x = (features - self.mean) / self.scale
        u, f = self.user(user), self.film(film)
        wide = self.wide(x) + self.user_bias(user) + self.film_bias(film) + self.deep(torch.cat([u, f, x], dim=1))
        return wide[:, 0] + (u * (f + self.film_tower(x))).sum(dim=1)

    def penalty(self, user: Tensor, film: Tensor) -> Tensor:
        """Return the L2 penalty of what a batch used."""
        towers = self.user(user).square().sum(1).mean() + self.film(film).square().sum(1).mean()
        biases = self.user_bias(user).square().mean() + self.film_bias(film).square().mean()
        deep = sum(layer.weight.square().sum() for layer in self.deep if isinstance(layer, nn.Linear))
        return 0.1 * towers + 0.03 * biases + 1e-3 * deep

    def forward(self, user: Tensor, film: Tensor, features: Tensor, response: Tensor, weight: Tensor) -> Tensor:
        """Return the loss of a batch."""
        data = binary_cross_entropy_with_logits(self.logit(user, film, features), response, weight)
        return data + self.penalty(user, film)


class Scorer(nn.Module):
    """What is exported: raw ids and features in, probability out."""

    def __init__(self, rater: Rater) -> None:
        super().__init__()
        self.rater = rater

    def forward(self, user_id: Tensor, film_id: Tensor, features: Tensor) -> Tensor:
        """Return one probability a row."""
        rater = self.rater
        return torch.sigmoid(rater.logit(rater.user_rows(user_id), rater.film_rows(film_id), features))


@dataclass
class Best:
    """The best model so far by validation, and how many epochs ago that was."""

    log_loss: float
    age: int
    state: dict[str, Tensor]


def tensors(rows: Rows) -> tuple[Tensor, ...]:
    """Return the columns of rows as tensors."""
    return tuple(map(torch.from_numpy, (rows.user_id, rows.film_id, rows.features, rows.response, rows.weight)))


def batches(count: int, size: int, steps: int, seed: tuple[int, ...]) -> Iterator[Tensor]:
    """Yield ``steps`` batches of shuffled row numbers, starting over when they run out."""
    generator = np.random.default_rng(seed)
    order = np.concatenate([generator.permutation(count) for _ in range(-(-steps * size // count))])
    for step in range(steps):
        yield torch.from_numpy(order[step * size : (step + 1) * size])


def forget(rows: Tensor, share: float) -> Tensor:
    """Replace some ids by the unknown one, so that it learns to stand for ids not seen."""
    return torch.where(torch.rand(rows.shape) < share, 0, rows)


def standardise(rater: Rater, features: Tensor) -> None:
    """Set mean and scale of the features from all workers' rows."""
    x = features.double()
    sums = torch.cat([torch.tensor([float(len(x))], dtype=torch.float64), x.sum(0), x.square().sum(0)])
    dist.all_reduce(sums)
    mean, square = (sums[1:] / sums[0]).chunk(2)
    spread = (square - mean.square()).clamp(min=0).sqrt()
    constant = spread < 1e-6  # the intercept: leave it as it is
    rater.mean.copy_(torch.where(constant, 0, mean))
    rater.scale.copy_(torch.where(constant, 1, spread))


@torch.no_grad()
def predict(scorer: Scorer, rows: Rows) -> NDArray[np.float32]:
    """Return one probability a row."""
    scorer.eval()
    return scorer(*tensors(rows)[:3]).numpy()


def validate(scorer: Scorer, rows: Rows) -> float:
    """Return the log loss over all workers' validation rows."""
    probability = predict(scorer, rows)
    sums = torch.tensor([log_loss_sum(rows.response, probability, rows.weight), float(rows.weight.sum())]).double()
    dist.all_reduce(sums)
    return float(sums[0] / sums[1])


def train(rater: Rater, options: argparse.Namespace, dimension: int) -> int:
    """Train until validation stops improving; leave the best weights in the model and return the epochs."""
    rank, world = dist.get_rank(), dist.get_world_size()
    columns = tensors(read_rows(options.training_set, "train", dimension, share=rank, shares=world))
    validation = read_rows(options.training_set, "validation", dimension, share=rank, shares=world)
    standardise(rater, columns[2])
    parallel, scorer = DistributedDataParallel(rater), Scorer(rater)
    optimiser = torch.optim.Adam(rater.parameters(), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, gamma=0.7)
    steps = torch.tensor(len(columns[0]) // options.batch_size)
    dist.all_reduce(steps, dist.ReduceOp.MIN)  # every worker takes as many steps, whatever its share
    users, films = rater.user_rows(columns[0]), rater.film_rows(columns[1])
    first, last, best = 0, -1, Best(float("inf"), 0, {})
    if (saved := tony_task.load_checkpoint()) is not None:
        state = torch.load(io.BytesIO(saved), weights_only=True)
        rater.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        last, best = state["epoch"], Best(**state["best"])
        first = last + 1
        print(f"resumed after epoch {state['epoch']}")
    for epoch in range(first, options.epochs):
        if best.age >= options.patience:
            break
        last = epoch
        torch.manual_seed(options.seed + 1000 * epoch + rank)
        rater.train()
        for chosen in batches(len(users), options.batch_size, int(steps), (options.seed, epoch, rank)):
            user, film = forget(users[chosen], 0.05), forget(films[chosen], 0.1)
            loss = parallel(user, film, *(column[chosen] for column in columns[2:]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
        log_loss = validate(scorer, validation)
        message = f"epoch {epoch}: validation log loss {log_loss:.4f}"
        print(message)
        tony_task.report(
            step=epoch + 1, total=options.epochs, message=message, metrics={"validation_log_loss": log_loss}
        )
        if log_loss < best.log_loss:
            best = Best(log_loss, 0, {name: value.clone() for name, value in rater.state_dict().items()})
        else:
            best.age += 1
        if rank == 0:
            stream = io.BytesIO()
            torch.save(
                {
                    "epoch": epoch,
                    "model": rater.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "schedule": schedule.state_dict(),
                    "best": vars(best),
                },
                stream,
            )
            tony_task.save_checkpoint(epoch, stream.getvalue())
    rater.load_state_dict(best.state)
    return last + 1


def export(scorer: Scorer, folder: Path, dimension: int) -> None:
    """Write ``model.onnx`` and the native form, both taking any number of rows."""
    scorer.eval()
    example = (torch.tensor([1, 2]), torch.tensor([1, 2]), torch.zeros(2, dimension))
    rows = torch.export.Dim("rows")
    shapes = ({0: rows}, {0: rows}, {0: rows})
    program = torch.export.export(scorer, example, dynamic_shapes=shapes)
    (folder / "native").mkdir()
    torch.export.save(program, folder / "native" / "model.pt2")
    torch.onnx.export(
        program,
        example,
        folder / "model.onnx",
        input_names=["user_id", "film_id", "global"],
        output_names=["probability"],
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def main() -> None:
    """Train on all workers; evaluate and export on the first."""
    options = parse_options(__doc__)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ["WORLD_SIZE"])))
    dist.init_process_group("gloo")
    dimension = read_dimension(options.training_set)
    torch.manual_seed(options.seed)
    rater = Rater(*read_known_ids(options.training_set), dimension, options.width)
    epochs = train(rater, options, dimension)
    if dist.get_rank() == 0:
        scorer = Scorer(rater)
        finish(options, dimension, epochs, lambda rows: predict(scorer, rows), lambda to: export(scorer, to, dimension))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
