"""A wide-and-deep, two-tower rater of films: TensorFlow, MultiWorkerMirroredStrategy, a training loop of its own.

Started by ``tony_py submit tensorflow.yaml`` in every worker with TF_CONFIG set. Keras 3's ``fit`` does not run
under this strategy; a loop does.
"""

import argparse
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import tf2onnx
import tony_task
from evaluation import log_loss_sum
from numpy.typing import NDArray
from ratings import Rows, read_dimension, read_known_ids, read_rows
from run_files import finish, parse_options

Array = NDArray[np.float32]
Ids = NDArray[np.int64]
Weights = list[Array]


class Rater(keras.Model):
    """Logit = wide(x) + bias of user and film + <user, film + film tower(x)> + deep(user, film, x)."""

    def __init__(self, users: int, films: int, width: int) -> None:
        super().__init__()
        self.user = keras.layers.Embedding(
            users, width, embeddings_initializer=keras.initializers.RandomNormal(0, 0.02)
        )
        self.film = keras.layers.Embedding(
            films, width, embeddings_initializer=keras.initializers.RandomNormal(0, 0.02)
        )
        self.user_bias = keras.layers.Embedding(users, 1, embeddings_initializer="zeros")
        self.film_bias = keras.layers.Embedding(films, 1, embeddings_initializer="zeros")
        self.wide = keras.layers.Dense(1)
        self.film_tower = keras.layers.Dense(width)
        self.hidden = keras.layers.Dense(2 * width, activation="relu")
        self.dropout = keras.layers.Dropout(0.1)
        self.deep = keras.layers.Dense(1)

    def call(self, user: tf.Tensor, film: tf.Tensor, x: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        """Return logits of rows whose ids have been looked up and whose features have been standardised."""
        u, f = self.user(user), self.film(film)
        deep = self.deep(self.dropout(self.hidden(tf.concat([u, f, x], axis=1)), training=training))
        wide = self.wide(x) + self.user_bias(user) + self.film_bias(film) + deep
        return wide[:, 0] + tf.reduce_sum(u * (f + self.film_tower(x)), axis=1)

    def penalty(self, user: tf.Tensor, film: tf.Tensor) -> tf.Tensor:
        """Return the L2 penalty of what a batch used."""

        def per_row(layer: keras.layers.Embedding, rows: tf.Tensor) -> tf.Tensor:
            return tf.reduce_mean(tf.reduce_sum(tf.square(layer(rows)), axis=1))

        towers = per_row(self.user, user) + per_row(self.film, film)
        biases = per_row(self.user_bias, user) + per_row(self.film_bias, film)
        deep = sum(tf.reduce_sum(tf.square(layer.kernel)) for layer in (self.hidden, self.deep))
        return 0.1 * towers + 0.03 * biases + 1e-3 * deep


class Scorer(tf.Module):
    """What is exported: raw ids and features in, probability out.

    Ids that training never saw take row 0. The lookup is a binary search made of plain gathers.
    """

    def __init__(self, rater: Rater, known: tuple[Ids, Ids], mean: Array, scale: Array) -> None:
        super().__init__()
        self.rater = rater
        # Arrays, not tensors: a tensor from outside would become one more input of the exported graph.
        self._tables = [_padded(ids) for ids in known]
        self._mean, self._scale = mean, scale

    def rows(self, user_id: tf.Tensor, film_id: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the embeddings' rows of ids."""
        return _look_up(self._tables[0], user_id), _look_up(self._tables[1], film_id)

    def standardised(self, features: tf.Tensor) -> tf.Tensor:
        """Return features of mean 0 and variance 1."""
        return (features - self._mean) / self._scale

    def __call__(self, user_id: tf.Tensor, film_id: tf.Tensor, features: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return one probability a row."""
        user, film = self.rows(user_id, film_id)
        return {"probability": tf.sigmoid(self.rater(user, film, self.standardised(features)))}


def _padded(known: Ids) -> Ids:
    table = np.full(2 ** max(1, int(np.ceil(np.log2(len(known) + 1)))), np.iinfo(np.int64).max)
    table[: len(known)] = known
    return table


def _look_up(table: Ids, ids: tf.Tensor) -> tf.Tensor:
    at = tf.zeros_like(ids)
    for step in reversed(range(len(table).bit_length() - 1)):
        probe = at + 2**step
        at = tf.where(tf.gather(table, probe) <= ids, probe, at)
    return tf.where(tf.gather(table, at) == ids, at + 1, tf.zeros_like(ids))


@dataclass
class Best:
    """The best model so far by validation, and how many epochs ago that was."""

    log_loss: float = float("inf")
    age: int = 0
    weights: Weights = field(default_factory=list)


class Workers:
    """All workers together: sums over them, and a training step that they take at once."""

    def __init__(self) -> None:
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        self.rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
        self.count = self.strategy.num_replicas_in_sync

    def sum(self, values: list[float] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum over all workers."""
        mine = tf.constant(np.asarray(values, dtype=np.float64))
        everywhere = self.strategy.run(tf.function(lambda: tf.identity(mine)))
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, everywhere, axis=None).numpy()

    def training_step(self, rater: Rater, optimiser: keras.optimizers.Optimizer) -> Callable[..., None]:
        """Return the function that takes one batch of this worker and updates the weights of all."""
        share = 1.0 / self.count  # the optimiser adds the workers' gradients up

        def step(user: tf.Tensor, film: tf.Tensor, x: tf.Tensor, response: tf.Tensor, weight: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                losses = tf.nn.sigmoid_cross_entropy_with_logits(response, rater(user, film, x, training=True))
                loss = (tf.reduce_mean(weight * losses) + rater.penalty(user, film)) * share
            variables = rater.trainable_variables
            gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)]
            optimiser.apply_gradients(zip(gradients, variables, strict=True))

        return tf.function(lambda *batch: self.strategy.run(step, args=batch))


def mean_and_scale(workers: Workers, features: NDArray[np.float32]) -> tuple[Array, Array]:
    """Return mean and spread of the features over all workers' rows; a constant one is left as it is."""
    x = features.astype(np.float64)
    sums = workers.sum(np.concatenate([[len(x)], x.sum(axis=0), np.square(x).sum(axis=0)]))
    mean, square = np.split(sums[1:] / sums[0], 2)
    spread = np.sqrt(np.maximum(square - np.square(mean), 0))
    constant = spread < 1e-6
    return np.where(constant, 0, mean).astype(np.float32), np.where(constant, 1, spread).astype(np.float32)


def batches(rows: Rows, size: int, steps: int, seed: tuple[int, ...]) -> Iterator[Rows]:
    """Yield ``steps`` batches of shuffled rows, starting over when they run out."""
    generator = np.random.default_rng(seed)
    order = np.concatenate([generator.permutation(len(rows)) for _ in range(-(-steps * size // len(rows)))])
    for step in range(steps):
        chosen = order[step * size : (step + 1) * size]
        batch = Rows(**{name: column[chosen] for name, column in vars(rows).items()})
        # Some ids become the unknown one, so that it learns to stand for ids not seen.
        batch.user_id[generator.random(size) < 0.05] = 0
        batch.film_id[generator.random(size) < 0.1] = 0
        yield batch


def save(epoch: int, rater: Rater, optimiser: keras.optimizers.Optimizer, best: Best) -> None:
    """Write everything that resuming needs."""
    groups = {"rater": rater.get_weights(), "optimiser": [v.numpy() for v in optimiser.variables], "best": best.weights}
    arrays = {f"{name}-{at:03d}": value for name, group in groups.items() for at, value in enumerate(group)}
    stream = io.BytesIO()
    np.savez(stream, state=np.array([epoch, best.log_loss, best.age]), **arrays)
    tony_task.save_checkpoint(epoch, stream.getvalue())


def restore(rater: Rater, optimiser: keras.optimizers.Optimizer) -> tuple[int, Best]:
    """Return the last epoch that was saved (-1: none) and the best model, and set the weights to that epoch's."""
    saved = tony_task.load_checkpoint()
    if saved is None:
        return -1, Best()
    arrays = np.load(io.BytesIO(saved))

    def group(name: str) -> Weights:
        return [arrays[key] for key in sorted(arrays.files) if key.startswith(f"{name}-")]

    rater.set_weights(group("rater"))
    for variable, value in zip(optimiser.variables, group("optimiser"), strict=True):
        variable.assign(value)
    epoch, log_loss, age = arrays["state"]
    print(f"resumed after epoch {epoch:.0f}")
    return int(epoch), Best(float(log_loss), int(age), group("best"))


def train(
    workers: Workers, scorer: Scorer, rows: Rows, validation: Rows, options: argparse.Namespace
) -> tuple[int, Best]:
    """Train until validation stops improving; return the number of epochs and the best model."""
    rater = scorer.rater
    with workers.strategy.scope():
        optimiser = keras.optimizers.Adam(options.learning_rate)
        optimiser.build(rater.trainable_variables)
    last, best = restore(rater, optimiser)
    step = workers.training_step(rater, optimiser)
    # Every worker takes as many steps, whatever its share.
    steps = int(workers.sum([len(rows)])[0]) // (options.batch_size * workers.count)
    score = tf.function(scorer)
    for epoch in range(last + 1, options.epochs):
        if best.age >= options.patience:
            break
        last = epoch
        optimiser.learning_rate.assign(options.learning_rate * 0.7**epoch)
        for batch in batches(rows, options.batch_size, steps, (options.seed, epoch, workers.rank)):
            step(*(tf.constant(column) for column in vars(batch).values()))
        probability = score(validation.user_id, validation.film_id, validation.features)["probability"].numpy()
        mine = log_loss_sum(validation.response, probability, validation.weight)
        total, weight = workers.sum([mine, float(validation.weight.sum())])
        log_loss = float(total / weight)
        message = f"epoch {epoch}: validation log loss {log_loss:.4f}"
        print(message)
        tony_task.report(
            step=epoch + 1, total=options.epochs, message=message, metrics={"validation_log_loss": log_loss}
        )
        if log_loss < best.log_loss:
            best = Best(log_loss, 0, rater.get_weights())
        else:
            best.age += 1
        if workers.rank == 0:
            save(epoch, rater, optimiser, best)
    return last + 1, best


def export(scorer: Scorer, folder: Path, dimension: int) -> None:
    """Write ``model.onnx`` and the SavedModel, both taking any number of rows."""

    def specifications(features: str) -> list[tf.TensorSpec]:
        ids = [tf.TensorSpec([None], tf.int64, name) for name in ("user_id", "film_id")]
        return [*ids, tf.TensorSpec([None, dimension], tf.float32, features)]

    asked = specifications("global")
    as_onnx = tf.function(scorer.__call__, input_signature=asked)
    tf2onnx.convert.from_function(as_onnx, asked, opset=18, output_path=str(folder / "model.onnx"))
    archive = keras.export.ExportArchive()
    archive.track(scorer.rater)
    # A SavedModel's inputs are arguments in Python, where `global` is a word of the language.
    archive.add_endpoint("serve", scorer.__call__, input_signature=specifications("features"))
    archive.write_out(str(folder / "native"), verbose=False)


def main() -> None:
    """Train on all workers; evaluate and export on the first."""
    options = parse_options(__doc__)
    workers = Workers()  # before anything else touches TensorFlow
    dimension, known = read_dimension(options.training_set), read_known_ids(options.training_set)
    rows, validation = (
        read_rows(options.training_set, split, dimension, share=workers.rank, shares=workers.count)
        for split in ("train", "validation")
    )
    mean, scale = mean_and_scale(workers, rows.features)
    keras.utils.set_random_seed(options.seed)

    def build() -> Scorer:
        rater = Rater(len(known[0]) + 1, len(known[1]) + 1, options.width)
        scorer = Scorer(rater, known, mean, scale)
        scorer(validation.user_id[:2], validation.film_id[:2], validation.features[:2])  # makes the variables
        return scorer

    with workers.strategy.scope():
        scorer = build()
    ready = (*scorer.rows(rows.user_id, rows.film_id), scorer.standardised(rows.features))
    looked_up = Rows(*(np.array(column) for column in ready), rows.response, rows.weight)
    epochs, best = train(workers, scorer, looked_up, validation, options)
    if workers.rank == 0:
        alone = build()  # outside the strategy: a graph of plain variables
        alone.rater.set_weights(best.weights)

        def predict(rows: Rows) -> NDArray[np.float32]:
            return alone(rows.user_id, rows.film_id, rows.features)["probability"].numpy()

        finish(options, dimension, epochs, predict, lambda to: export(alone, to, dimension))


if __name__ == "__main__":
    main()
