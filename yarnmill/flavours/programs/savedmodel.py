"""A SavedModel of TensorFlow, asked by its one signature; see the package's docstring."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_CALLS = ("serve", "serving_default")
"""What Keras and TensorFlow call the signature that is to be served."""


class SavedModel:
    """The SavedModel below ``native/`` of a bundle's folder."""

    def __init__(self, folder: str) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported
        try:
            import tensorflow as tf  # noqa: PLC0415  # where it is not, that is to be said
        except ModuleNotFoundError as problem:
            self.native_description: dict[str, Any] = {"missing": problem.name}
            return
        # The tier's parallelism is its requests.
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self._tf = tf
        try:
            self._kept = tf.saved_model.load(str(Path(folder, "native")))  # its variables live as long as it does
        except Exception as problem:  # noqa: BLE001  # whatever TensorFlow makes of a damaged file
            self.native_description = {"unreadable": f"{type(problem).__name__}: {problem}"}
            return
        known = self._kept.signatures
        name = next((call for call in (*_CALLS, *list(known)[:1]) if call in known), None)
        if name is None:
            self.native_description = {
                "unreadable": "it has no signature: save it with signatures=…, or export it from Keras"
            }
            return
        self._function = known[name]
        self.native_description = {
            "library": tf.__version__,
            "inputs": _described(self._function.structured_input_signature[1]),
            "outputs": _described(self._function.structured_outputs),
        }

    def predict(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Return every output; the columns have the names and types of the signature's inputs."""
        tf = self._tf
        # NumPy's own texts have a fixed width; TensorFlow takes objects.
        asked = {
            name: tf.constant(values.astype(object) if values.dtype.kind == "U" else values)
            for name, values in columns.items()
        }
        try:
            answered = self._function(**asked)
        except tf.errors.OpError as problem:
            # Traces of a graph that the reader does not have stand around the one line that says what is wrong.
            raise ValueError(_said(problem.message)) from None
        return {name: _plain(values.numpy()) for name, values in answered.items()}


def _described(tensors: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "dtype": one.dtype.name,
            "shape": None if one.shape.rank is None else one.shape.as_list(),
        }
        for name, one in sorted(tensors.items())
    ]


def _plain(values: Any) -> Any:  # noqa: ANN401  # an array
    if values.dtype.kind != "O":
        return values
    return np.array([text.decode(errors="replace") for text in values.ravel()], np.str_).reshape(values.shape)


def _said(message: str) -> str:
    lines = [line.strip() for line in message.splitlines()]
    told = [line for line in lines if line and not line.startswith(("Graph execution error", "Detected at", "<stack"))]
    return " ".join(line for line in told if not line.startswith("[[{{node")) or message
