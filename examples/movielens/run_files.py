"""How a training run begins and ends, whatever the framework: its options, its measured and exported model."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tony_task
from evaluation import evaluate
from numpy.typing import NDArray
from ratings import Rows, read_rows

EXAMPLE_ROWS = 8


def parse_options(description: str | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--training-set", required=True)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--patience", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def finish(
    options: argparse.Namespace,
    dimension: int,
    epochs: int,
    predict: Callable[[Rows], NDArray[np.float32]],
    export: Callable[[Path], None],
) -> None:
    """Measure a model on the test split and put it into the output.

    Parameters
    ----------
    options
        The run's.
    dimension
        Columns of the dense features.
    epochs
        How many were trained.
    predict
        Returns one probability a row.
    export
        Writes ``model.onnx`` and ``native/`` into a folder.
    """
    test = read_rows(options.training_set, "test", dimension)
    metrics = evaluate("test", test.response, predict(test), test.weight) | {"epochs": float(epochs)}
    print(metrics)
    with TemporaryDirectory() as name:
        folder = Path(name)
        export(folder)
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=2, sort_keys=True))
        (folder / "signature.json").write_text(json.dumps(_signature(dimension), indent=2))
        (folder / "example.json").write_text(json.dumps(_example(test, predict)))
        for path in folder.iterdir():
            tony_task.save_output(path.name, path)


def _example(test: Rows, predict: Callable[[Rows], NDArray[np.float32]]) -> dict[str, dict[str, list[object]]]:
    """Return a few rows with what the trained model itself answers: whoever packs ``model.onnx`` compares."""
    few = Rows(**{name: column[:EXAMPLE_ROWS] for name, column in vars(test).items()})
    return {
        "inputs": {
            "user_id": few.user_id.tolist(),
            "film_id": few.film_id.tolist(),
            "global": few.features.tolist(),
        },
        "outputs": {"probability": predict(few).tolist()},
    }


def _signature(dimension: int) -> dict[str, object]:
    return {
        "inputs": [
            {"name": "user_id", "dtype": "int64"},
            {"name": "film_id", "dtype": "int64"},
            {"name": "global", "dtype": "float32", "shape": [dimension]},
        ],
        "outputs": [{"name": "probability", "dtype": "float32"}],
    }
