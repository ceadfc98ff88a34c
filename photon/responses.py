"""Labels as the tasks take them, from columns as people have them, and how much of them a model explains."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from formulaic import ModelSpec
from formulaic.errors import FormulaicError

from photon.frames import numbers
from photon.loss import RowLoss, Task, loss_of
from photon.objective import data_loss
from photon.rows import Floats
from yarnmill.errors import BadDataError, ConfigurationError

Classes = tuple[str | int | float | bool, ...]


def labels_of(response: Any, task: Task, classes: Classes = ()) -> tuple[Floats, Classes]:  # noqa: ANN401
    """Return labels as numbers, and for the logistic task the two classes that are 0 and 1.

    Parameters
    ----------
    response
        A column: numbers, or for the logistic task any two values, the first of which (sorted) is 0.
    task
        The task.
    classes
        Classes of a model that the labels must fit; found in the response unless given.
    """
    series = response if isinstance(response, pd.Series) else pd.Series(np.asarray(response))
    if task == "logistic":
        return _binary(series, classes)
    labels = numbers(series, "response")
    wrong = np.flatnonzero(~loss_of(task).is_label(labels))
    if len(wrong):
        raise BadDataError(
            f"response: {labels[wrong[0]]} in row {series.index[wrong[0]]}, and {len(wrong) - 1} more rows",
            expected=f"{loss_of(task).label_expected} for the task {task}",
        )
    return labels, ()


def _binary(series: pd.Series, classes: Classes) -> tuple[Floats, Classes]:
    if series.isna().any():
        raise BadDataError(f"response: missing in {int(series.isna().sum())} rows", expected="a label in every row")
    values = series.to_numpy()
    distinct = {value.item() if isinstance(value, np.generic) else value for value in pd.unique(values)}
    try:
        found: list[Any] = sorted(distinct)
    except TypeError:
        kinds = ", ".join(sorted({type(value).__name__ for value in distinct}))
        raise BadDataError(f"response: values of unlike kinds ({kinds})", expected="labels of one kind") from None
    known: list[Any] = list(classes) if classes else found
    if len(known) != 2 or not set(found) <= set(known):
        shown = ", ".join(map(repr, found[:5]))
        raise BadDataError(
            f"response: {len(found)} values ({shown})",
            expected=" or ".join(map(repr, known)) if classes else "two values for the logistic task",
        )
    return (values == known[1]).astype(np.float64), tuple(known)


def evaluated(expression: str, frame: pd.DataFrame) -> Floats:
    """Return the one column that an expression such as ``log(y)`` comes to."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            matrix = ModelSpec(formula=f"0 + {expression}", na_action="ignore", output="numpy").get_model_matrix(frame)
    except FormulaicError as problem:
        raise ConfigurationError(f"response {expression!r}: {problem}", expected="a column or an expression") from None
    found = np.asarray(matrix, dtype=np.float64)
    if found.shape[1] != 1:
        raise ConfigurationError(f"response {expression!r}: {found.shape[1]} columns", expected="one column of numbers")
    return found[:, 0]


def null_margin(labels: Floats, weights: Floats, task: Task) -> float:
    """Return the one margin for all rows that costs least: its mean is the weighted mean of the labels.

    The smoothed hinge has no mean; with a share ``p`` of positives, ``p`` at least ½, its margin is ``(2p - 1) / p``.
    """
    mean = float(np.average(labels, weights=weights))
    if task == "linear":
        return mean
    if task == "smoothed_hinge":
        return (2.0 * mean - 1.0) / max(mean, 1.0 - mean)
    clipped = max(mean, 1e-300)
    return (
        float(np.log(clipped) - np.log1p(-min(clipped, 1.0 - 1e-16))) if task == "logistic" else float(np.log(clipped))
    )


def explained(margins: Floats, labels: Floats, weights: Floats, loss: RowLoss) -> float:
    """Return ``D² = 1 - deviance / deviance of the mean``: ``R²`` for the linear task.

    The deviance is twice the loss above that of a model that knows every label.
    """
    best = _saturated(labels, weights, loss)
    null = np.full(len(labels), null_margin(labels, weights, loss.task))
    whole = data_loss(loss, null, labels, weights) - best
    return 1.0 - (data_loss(loss, margins, labels, weights) - best) / whole if whole > 0.0 else float("nan")


def _saturated(labels: Floats, weights: Floats, loss: RowLoss) -> float:
    if loss.task in ("logistic", "linear", "smoothed_hinge"):
        return 0.0
    # All others have the logarithm as link; a label of 0 has its best margin at minus infinity.
    return data_loss(loss, np.log(np.maximum(labels, 1e-12)), labels, weights)
