"""The program that makes LiteRT (once TFLite) of a SavedModel, and asks it some rows; runs where TensorFlow is.

YarnMill is not installed there: the standard library, NumPy and TensorFlow are all it may import.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Arrays = Mapping[str, Any]


def named_as_asked(details: Mapping[str, Any], asked: Arrays) -> dict[str, Any]:
    """Return the rows by the names of the model's own inputs.

    They are the signature's where Python can write those as arguments; one that it cannot (``global``) goes to the
    only input left of its type and shape.
    """
    found = {name: asked[name] for name in details if name in asked}
    left = {name: values for name, values in asked.items() if name not in found}
    for name, detail in details.items():
        if name in found:
            continue
        fitting = [
            other
            for other, values in left.items()
            if values.dtype == detail["dtype"] and list(values.shape[1:]) == list(detail["shape"][1:])
        ]
        if len(fitting) != 1:
            raise SystemExit(f"input {name!r} of the SavedModel is none of {', '.join(left)}, or more than one of them")
        found[name] = left.pop(fitting[0])
    if left:
        raise SystemExit(f"the SavedModel has no input {', '.join(left)}")
    return found


def main(saved_model: str, target: str, asked_path: str, answered_path: str) -> None:
    """Convert ``saved_model``, write ``target``, and answer the arrays of one file into another."""
    import numpy as np  # noqa: PLC0415  # this module is also named by those who have no TensorFlow
    import tensorflow as tf  # noqa: PLC0415

    known = list(tf.saved_model.load(saved_model).signatures)
    key = "serve" if "serve" in known else "serving_default"
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model, signature_keys=[key])
    model = converter.convert()
    Path(target).write_bytes(model)
    runner = tf.lite.Interpreter(model_content=model).get_signature_runner(key)
    with np.load(asked_path, allow_pickle=False) as asked:
        rows = named_as_asked(runner.get_input_details(), dict(asked))
    np.savez(answered_path, **runner(**rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
