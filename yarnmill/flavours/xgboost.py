"""Boosted trees of XGBoost, from its own file formats; one thread a prediction."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


class XgboostPredictor(TabularPredictor):
    """A booster that agrees with its signature: one output, which is what ``Booster.predict`` gives.

    A model that was stopped early answers with its best iteration, as XGBoost's own estimators do.

    Parameters
    ----------
    folder
        Holds ``model.ubj`` or ``model.json``.
    signature
        What the model takes and gives.

    Raises
    ------
    NotFoundError
        If there is no such file.
    BadDataError
        If it is no model of XGBoost, or takes or gives something else.
    ConfigurationError
        If XGBoost is not installed.
    """

    def __init__(self, folder: Path, signature: Signature) -> None:
        self._path = model_file(folder, "xgboost")
        self._booster = _load(self._path)
        super().__init__(signature, self._booster)
        features = self._booster.feature_names or ()
        self._inputs = MatrixInputs(signature, features, self._booster.num_features(), self._path)
        self._output = only_output(signature, self._path)
        best = self._booster.attr("best_iteration")
        self._iterations = (0, 0) if best is None else (0, int(best) + 1)

    def predict(self, columns: Mapping[str, Column]) -> dict[str, Array]:
        """Return every output for a batch; see :class:`yarnmill.flavours.predictor.Predictor`."""
        # In place: XGBoost's one call that many threads may make at once. The columns are in its order already.
        values = self._booster.inplace_predict(
            self._inputs.matrix(columns, np.float32), iteration_range=self._iterations, validate_features=False
        )
        return {self._output.name: shaped(np.asarray(values), self._output, self._path)}


def _load(path: Path) -> Any:  # noqa: ANN401  # XGBoost ships no types for it
    xgboost = load_library("xgboost", "xgboost")
    booster = xgboost.Booster()
    try:
        booster.load_model(path)
    except xgboost.core.XGBoostError as problem:
        raise BadDataError(
            f"{path}: XGBoost {xgboost.__version__} cannot read it: {str(problem).splitlines()[0]}",
            expected="a file of Booster.save_model",
        ) from None
    booster.set_param({"nthread": 1})
    return booster
