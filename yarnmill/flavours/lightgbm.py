"""Boosted trees of LightGBM, from its own text format; one thread a prediction."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from yarnmill.bundle.manifest import Signature
from yarnmill.errors import BadDataError
from yarnmill.flavours.predictor import Column
from yarnmill.flavours.tabular import (
    Array,
    MatrixInputs,
    TabularPredictor,
    load_library,
    model_file,
    only_output,
    shaped,
)

_UNNAMED: Final = re.compile(r"Column_\d+")


class LightgbmPredictor(TabularPredictor):
    """A booster that agrees with its signature: one output, which is what ``Booster.predict`` gives.

    Parameters
    ----------
    folder
        Holds ``model.txt``.
    signature
        What the model takes and gives.

    Raises
    ------
    NotFoundError
        If there is no such file.
    BadDataError
        If it is no model of LightGBM, or takes or gives something else.
    ConfigurationError
        If LightGBM is not installed.
    """

    def __init__(self, folder: Path, signature: Signature) -> None:
        self._path = model_file(folder, "lightgbm")
        self._booster = _load(self._path)
        super().__init__(signature, self._booster)
        features = self._booster.feature_name()
        named = () if all(_UNNAMED.fullmatch(name) for name in features) else features
        self._inputs = MatrixInputs(signature, named, self._booster.num_feature(), self._path)
        self._output = only_output(signature, self._path)

    def predict(self, columns: Mapping[str, Column]) -> dict[str, Array]:
        """Return every output for a batch; see :class:`yarnmill.flavours.predictor.Predictor`."""
        values = self._booster.predict(self._inputs.matrix(columns, np.float64), num_threads=1)
        return {self._output.name: shaped(np.asarray(values), self._output, self._path)}


def _load(path: Path) -> Any:  # noqa: ANN401  # LightGBM ships no types for it
    lightgbm = load_library("lightgbm", "lightgbm")
    try:
        return lightgbm.Booster(model_file=path)
    except lightgbm.basic.LightGBMError as problem:
        raise BadDataError(
            f"{path}: LightGBM {lightgbm.__version__} cannot read it: {str(problem).splitlines()[0]}",
            expected="a file of Booster.save_model",
        ) from None
