"""Examples of models that tests make: what a training run brings, answered by the model itself."""

from collections.abc import Mapping
from pathlib import Path

from yarnmill.bundle.example import write_example
from yarnmill.bundle.manifest import Flavour, Signature
from yarnmill.flavours.example import made_example
from yarnmill.flavours.open import open_model
from yarnmill.flavours.predictor import Column


def add_example(
    flavour: Flavour, folder: Path, signature: Signature, columns: Mapping[str, Column], *, allow_code: bool = False
) -> None:
    """Write the example of a model's folder that is to be packed."""
    model = open_model(flavour, folder, signature, allow_code=allow_code)
    write_example(folder, made_example(columns, model.predict(columns)))
