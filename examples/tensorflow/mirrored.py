"""Data-parallel training with TensorFlow (MultiWorkerMirroredStrategy) that survives the loss of a worker.

All workers train one small network on shares of one data set. The first saves every epoch; whatever happens to a
worker, all go on from the last epoch that was saved. Keras 3's ``fit`` does not run under this strategy; a loop of
one's own does. ``tony_task`` is in every container: nobody installs it.
"""

import argparse
import io
import json
import os
import time

import keras
import numpy as np
import tensorflow as tf
import tony_task
from numpy.typing import NDArray

Array = NDArray[np.float32]


def rows(count: int, seed: int) -> tuple[Array, Array]:
    """Return points and the surface over them that is to be learned."""
    x = np.random.default_rng(seed).uniform(-2, 2, (count, 2)).astype(np.float32)
    return x, np.sin(x[:, :1]) * np.cos(x[:, 1:])


def save(epoch: int, variables: list[keras.Variable]) -> None:
    """Save all that going on after this epoch needs."""
    stream = io.BytesIO()
    np.savez(stream, *(variable.numpy() for variable in variables))
    tony_task.save_checkpoint(epoch, stream.getvalue())


def resume(variables: list[keras.Variable]) -> int:
    """Take up the last epoch that was saved, if there is one, and return the number of the next."""
    saved = tony_task.latest_checkpoint()
    if saved is None:
        return 0
    arrays = np.load(io.BytesIO(saved.read()))
    for variable, name in zip(variables, arrays.files, strict=True):
        variable.assign(arrays[name])
    print(f"going on after epoch {saved.step}")
    return saved.step + 1


def main() -> None:
    """Train, and leave the model and its loss in the output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds after each epoch, to have time to watch")
    options = parser.parse_args()
    strategy = tf.distribute.MultiWorkerMirroredStrategy()  # reads TF_CONFIG; before anything else of TensorFlow
    rank, world = json.loads(os.environ["TF_CONFIG"])["task"]["index"], strategy.num_replicas_in_sync
    keras.utils.set_random_seed(1)  # every worker starts with the same weights
    with strategy.scope():
        model = keras.Sequential([keras.Input([2]), keras.layers.Dense(32, "tanh"), keras.layers.Dense(1)])
        optimiser = keras.optimizers.Adam(0.01)
        optimiser.build(model.trainable_variables)
    variables = [*model.variables, *optimiser.variables]
    first = resume(variables)

    def step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x, training=True) - y)) / world
        gradients = tape.gradient(loss, model.trainable_variables)
        optimiser.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    @tf.function
    def all_steps(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(step, args=(x, y)), axis=None)

    x, y = (each[rank::world] for each in rows(1536, seed=2))
    for epoch in range(first, options.epochs):
        for batch in range(0, len(x), 128):
            loss = all_steps(tf.constant(x[batch : batch + 128]), tf.constant(y[batch : batch + 128]))
        if rank == 0:
            save(epoch, variables)
        tony_task.report(
            step=epoch + 1, total=options.epochs, message=f"loss {loss:.4f}", metrics={"loss": float(loss)}
        )
        time.sleep(options.pause)

    if rank == 0:
        x, y = rows(1000, seed=3)
        metrics = {"test_loss": float(np.mean(np.square(model(x).numpy() - y))), "resumed_at": float(first)}
        stream = io.BytesIO()
        np.savez(stream, *model.get_weights())
        tony_task.save_output("weights.npz", stream.getvalue())
        tony_task.save_output("metrics.json", json.dumps(metrics).encode())
        print(metrics)


if __name__ == "__main__":
    main()
