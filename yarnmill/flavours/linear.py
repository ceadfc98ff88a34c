"""Linear models of scikit-learn by NumPy alone: ten microseconds a row, of which scikit-learn itself takes hundreds.

An estimator is read once: scalers before it are folded into its coefficients, so that what is left is one product, one
sum and one link. What is no such model, or answers the example of its bundle otherwise, stays as it is.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax

from yarnmill.bundle.example import EXAMPLE_NAME, read_example
from yarnmill.bundle.manifest import Field, Signature
from yarnmill.errors import BadDataError
from yarnmill.flavours.example import compared, example_columns
from yarnmill.flavours.predictor import Column, Predictor
from yarnmill.flavours.tabular import Array, MatrixInputs, TabularPredictor, shaped

Vector = npt.NDArray[np.float64]
_Output = Callable[[Vector], Array]

_REGRESSORS: Final[Mapping[str, Callable[[Vector], Array]]] = {
    **dict.fromkeys(
        (
            *("LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV"),
            *("BayesianRidge", "HuberRegressor", "SGDRegressor", "LinearSVR"),
        ),
        lambda scores: scores,
    ),
    **dict.fromkeys(("PoissonRegressor", "GammaRegressor"), np.exp),
}
"""By type, how a score becomes a prediction."""

_WITH_PROBABILITIES: Final = frozenset({"LogisticRegression", "LogisticRegressionCV"})
_CLASSIFIERS: Final = _WITH_PROBABILITIES | {"RidgeClassifier", "LinearSVC", "Perceptron", "SGDClassifier"}


class Affine(NamedTuple):
    """``x * scale + shift``, feature by feature."""

    scale: Vector
    shift: Vector


class LinearPredictor:
    """A linear model that agrees with its signature; see :class:`yarnmill.flavours.predictor.Predictor`.

    Parameters
    ----------
    signature
        What the model takes and gives.
    inputs
        Makes the matrix, shape ``(rows, features)``.
    coefficients
        Shape ``(features,)``, or ``(features, classes)`` for several classes.
    intercept
        A number, or one a class.
    outputs
        By field of the signature, what the scores become.
    source
        The model's file, named in errors.
    """

    def __init__(
        self,
        signature: Signature,
        inputs: MatrixInputs,
        coefficients: Vector,
        intercept: Vector,
        outputs: Mapping[str, _Output],
        source: Path,
    ) -> None:
        self._signature = signature
        self._inputs = inputs
        self._coefficients = coefficients
        self._intercept = intercept
        self._outputs = tuple((field, outputs[field.name]) for field in signature.outputs)
        self._source = source

    @property
    def signature(self) -> Signature:
        """Inputs and outputs, in order."""
        return self._signature

    def predict(self, columns: Mapping[str, Column]) -> dict[str, Array]:
        """Return every output for a batch; see :class:`yarnmill.flavours.predictor.Predictor`."""
        scores = self._inputs.matrix(columns, np.float64) @ self._coefficients + self._intercept
        return {field.name: shaped(output(scores), field, self._source) for field, output in self._outputs}


def quickest(predictor: Predictor, folder: Path) -> Predictor:
    """Return the linear form of an opened model, if it has one that answers the example of its bundle as it does.

    Parameters
    ----------
    predictor
        A model of any flavour.
    folder
        The bundle's; without an example there the model stays as it is.
    """
    if not isinstance(predictor, TabularPredictor):
        return predictor
    linear = linear_form(predictor.model, predictor.signature, folder)
    example = None if linear is None else read_example(folder, predictor.signature)
    if linear is None or example is None:
        return predictor
    asked = example_columns(example, predictor.signature, source=str(folder / EXAMPLE_NAME))
    try:
        compared(linear.predict(asked), predictor.predict(asked), predictor.signature, what="the linear form")
    except BadDataError:
        return predictor
    return linear


def linear_form(model: Any, signature: Signature, source: Path) -> LinearPredictor | None:  # noqa: ANN401  # any estimator
    """Return what an estimator computes as one product, or None if it does something else.

    Parameters
    ----------
    model
        A fitted estimator of scikit-learn, or a pipeline of scalers that ends with one.
    signature
        What the model takes and gives.
    source
        The model's file, named in errors.
    """
    *scalers, last = [step for _, step in getattr(model, "steps", [("", model)])]
    affine = [_affine(scaler) for scaler in scalers if scaler != "passthrough"]
    outputs = _outputs(last, signature.outputs)
    if outputs is None or None in affine or not _is_over_numbers(signature):
        return None
    coefficients = np.asarray(last.coef_, np.float64)
    intercept = np.asarray(last.intercept_, np.float64)
    for step in reversed([step for step in affine if step is not None]):
        intercept = intercept + coefficients @ step.shift
        coefficients = coefficients * step.scale
    if coefficients.ndim > 1:
        coefficients = coefficients[0] if len(coefficients) == 1 else coefficients.T
    names = [str(name) for name in getattr(model, "feature_names_in_", ())]
    inputs = MatrixInputs(signature, names, len(coefficients), source)
    if intercept.size == 1:
        intercept = intercept.reshape(())
    return LinearPredictor(signature, inputs, coefficients, intercept, outputs, source)


def _is_over_numbers(signature: Signature) -> bool:
    return all(field.dtype not in ("string", "bag") and len(field.shape) <= 1 for field in signature.inputs)


def _kind(estimator: object) -> str:
    """Return the name of a type of scikit-learn's own, "" of any other: a subclass may do what it likes."""
    kind = type(estimator)
    return kind.__name__ if kind.__module__.startswith("sklearn.") else ""


def _affine(scaler: Any) -> Affine | None:  # noqa: ANN401  # any step of a pipeline
    count = int(getattr(scaler, "n_features_in_", 0))
    ones, zeros = np.ones(count), np.zeros(count)
    match _kind(scaler):
        case "StandardScaler":
            scale = 1 / (ones if scaler.scale_ is None else scaler.scale_)
            return Affine(scale, -(zeros if scaler.mean_ is None else scaler.mean_) * scale)
        case "RobustScaler":
            scale = 1 / (ones if scaler.scale_ is None else scaler.scale_)
            return Affine(scale, -(zeros if scaler.center_ is None else scaler.center_) * scale)
        case "MaxAbsScaler" if not getattr(scaler, "clip", False):
            return Affine(1 / scaler.scale_, zeros)
        case "MinMaxScaler" if not scaler.clip:
            return Affine(scaler.scale_, scaler.min_)
        case _:
            return None


def _outputs(estimator: Any, fields: tuple[Field, ...]) -> dict[str, _Output] | None:  # noqa: ANN401
    """Return, by output, how scores become it; None if there is an output that is not known here."""
    kind = _kind(estimator)
    known: dict[str, _Output] = {}
    if kind in _REGRESSORS and np.ndim(estimator.coef_) == 1:
        known = dict.fromkeys(("label", "prediction"), _REGRESSORS[kind])
    elif kind in _CLASSIFIERS:
        is_binary = len(estimator.classes_) <= 2
        known = _of_classes(estimator.classes_, is_binary=is_binary)
        # Of more classes than two, liblinear trains each against the rest.
        if kind in _WITH_PROBABILITIES and (is_binary or estimator.solver != "liblinear"):
            known |= _probabilities(is_binary=is_binary)
    return known if all(field.name in known for field in fields) else None


def _of_classes(classes: Array, *, is_binary: bool) -> dict[str, _Output]:
    def label(scores: Vector) -> Array:
        found: Array = classes[(scores > 0).astype(np.intp) if is_binary else scores.argmax(axis=1)]
        return found

    return {"label": label, "prediction": label, "score": lambda scores: scores}


def _probabilities(*, is_binary: bool) -> dict[str, _Output]:
    def of_each(scores: Vector) -> Array:
        shares: Vector = softmax(scores, axis=1)
        return shares

    def both(scores: Vector) -> Array:
        second: Vector = expit(scores)
        return np.stack((1 - second, second), axis=1)

    return {"probability": expit, "probabilities": both} if is_binary else {"probabilities": of_each}
