"""Asynchronous training with TensorFlow's parameter servers (ParameterServerStrategy).

The chief runs the loop and hands steps out to the workers; the servers keep the weights. Workers and servers only
serve, for ever: tony_py ends them when the chief has ended well. Keras 3's ``fit`` does not run under this strategy; a
loop of one's own does. ``tony_task`` is in every container: nobody installs it.
"""

import argparse
import io
import json
import os

import numpy as np
import tensorflow as tf
import tony_task
from numpy.typing import NDArray

BATCH = 128


def rows(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return points and the surface over them that is to be learned."""
    x = np.random.default_rng(seed).uniform(-2, 2, (count, 2)).astype(np.float32)
    return x, np.sin(x[:, :1]) * np.cos(x[:, 1:])


class Network(tf.Module):
    """Two layers, whose weights the strategy spreads over the servers, and what Adagrad remembers of each.

    Workers do not wait for each other, so a gradient may be of somewhat older weights: Adagrad bears that,
    where momentum would blow it up.
    """

    def __init__(self) -> None:
        super().__init__()
        generator = np.random.default_rng(1)
        shapes = [(2, 32), (32,), (32, 1), (1,)]
        self.weights = [tf.Variable(generator.normal(0, 0.5, shape).astype(np.float32)) for shape in shapes]
        self.squares = [tf.Variable(np.zeros(shape, dtype=np.float32)) for shape in shapes]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Return the surface at points."""
        first, second, third, fourth = self.weights
        return tf.tanh(x @ first + second) @ third + fourth

    def step(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Take one step down the gradient, and return the loss before it."""
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x) - y))
        gradients = tape.gradient(loss, self.weights)
        for weight, squares, gradient in zip(self.weights, self.squares, gradients, strict=True):
            squares.assign_add(tf.square(gradient))
            weight.assign_sub(0.1 * gradient / (tf.sqrt(squares) + 1e-7))
        return loss


def serve(cluster: tf.train.ClusterSpec, task: dict[str, str]) -> None:
    """Be a worker or a server, for ever."""
    server = tf.distribute.Server(cluster, job_name=task["type"], task_index=int(task["index"]), protocol="grpc")
    server.join()


def main() -> None:
    """Be what TF_CONFIG says; the chief trains and leaves the model and its loss in the output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    config = json.loads(os.environ["TF_CONFIG"])
    if config["task"]["type"] != "chief":
        serve(tf.train.ClusterSpec(config["cluster"]), config["task"])
        return
    strategy = tf.distribute.ParameterServerStrategy(tf.distribute.cluster_resolver.TFConfigClusterResolver())
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    with strategy.scope():
        network = Network()
    variables = [*network.weights, *network.squares]
    saved = tony_task.latest_checkpoint()
    if saved is not None:
        arrays = np.load(io.BytesIO(saved.read()))
        for variable, name in zip(variables, arrays.files, strict=True):
            variable.assign(arrays[name])
    first = saved.step + 1 if saved else 0

    @tf.function
    def step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return strategy.run(network.step, args=(x, y))

    x, y = rows(2048, seed=2)
    for epoch in range(first, options.epochs):
        losses = [
            coordinator.schedule(step, args=(tf.constant(x[at : at + BATCH]), tf.constant(y[at : at + BATCH])))
            for at in range(0, len(x), BATCH)
        ]
        coordinator.join()  # every step has been taken, by whichever worker
        loss = float(np.mean([each.fetch() for each in losses]))
        stream = io.BytesIO()
        np.savez(stream, *(variable.numpy() for variable in variables))
        tony_task.save_checkpoint(epoch, stream.getvalue())
        tony_task.report(step=epoch + 1, total=options.epochs, message=f"loss {loss:.4f}", metrics={"loss": loss})

    x, y = rows(1000, seed=3)
    loss = float(np.mean(np.square(network(tf.constant(x)).numpy() - y)))
    metrics = {"test_loss": loss, "resumed_at": float(first)}
    stream = io.BytesIO()
    np.savez(stream, *(weight.numpy() for weight in network.weights))
    tony_task.save_output("weights.npz", stream.getvalue())
    tony_task.save_output("metrics.json", json.dumps(metrics).encode())
    print(metrics)


if __name__ == "__main__":
    main()
