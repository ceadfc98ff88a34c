"""What a model is to those who ask it: a signature, and arrays in, arrays out."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from yarnmill.bundle.manifest import Signature

Column = npt.NDArray[np.generic] | Sequence[Mapping[str, float]]
"""A batch of one input: an array ``(rows, *shape)``, or one mapping of terms to values a row for a bag."""


class Predictor(Protocol):
    """An opened model. Thread-safe; its files stay memory-mapped as long as it lives."""

    @property
    def signature(self) -> Signature:
        """Inputs and outputs, in order."""

    def predict(self, columns: Mapping[str, Column]) -> dict[str, npt.NDArray[np.generic]]:
        """Return every output for a batch.

        Parameters
        ----------
        columns
            Every required input by name, all with the same number of rows, of the signature's dtypes.

        Returns
        -------
        dict
            Every output by name, shape ``(rows, *shape)``.
        """
