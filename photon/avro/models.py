"""Linear models as Photon ML saves them: named coefficients, largest first, with variances where there are any."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from photon.avro.container import Fields
from yarnmill.errors import BadDataError, ConfigurationError

SPARSITY_THRESHOLD: Final = 1e-4
"""Photon's default: coefficients no larger than this are not written."""

FIXED_MODEL_ID: Final = "fixed-effect"

_SUPERVISED: Final = "com.linkedin.photon.ml.supervised"


@dataclass(frozen=True, slots=True)
class PhotonTask:
    """A task's names: here, in Photon's options, and as the class that its models are read into."""

    task: str
    option: str
    model_class: str


TASKS: Final = (
    PhotonTask("logistic", "LOGISTIC_REGRESSION", f"{_SUPERVISED}.classification.LogisticRegressionModel"),
    PhotonTask("linear", "LINEAR_REGRESSION", f"{_SUPERVISED}.regression.LinearRegressionModel"),
    PhotonTask("poisson", "POISSON_REGRESSION", f"{_SUPERVISED}.regression.PoissonRegressionModel"),
    PhotonTask(
        "smoothed_hinge",
        "SMOOTHED_HINGE_LOSS_LINEAR_SVM",
        f"{_SUPERVISED}.classification.SmoothedHingeLossLinearSVMModel",
    ),
)


def photon_task(task: str) -> PhotonTask:
    """Return the names of one of our tasks; ConfigurationError if Photon has no such task."""
    for names in TASKS:
        if names.task == task:
            return names
    raise ConfigurationError(
        f"task {task!r}: Photon ML has none like it", expected=f"one of {', '.join(names.task for names in TASKS)}"
    )


def task_of_option(option: str) -> str:
    """Return our task of Photon's name for it; ConfigurationError if it is none."""
    for names in TASKS:
        if names.option == option:
            return names.task
    raise ConfigurationError(f"task {option!r}", expected=f"one of {', '.join(names.option for names in TASKS)}")


def task_of_class(model_class: str) -> str | None:
    """Return our task of a saved model's class, None if the record names none."""
    if not model_class:
        return None
    for names in TASKS:
        if names.model_class == model_class:
            return names.task
    raise BadDataError(f"modelClass {model_class!r}: unknown", expected=", ".join(one.model_class for one in TASKS))


@dataclass(frozen=True, slots=True)
class NamedModel:
    """Coefficients by feature: ``keys`` are (name, term); ``variances`` beside the means, or None."""

    model_id: str
    task: str | None
    keys: Sequence[tuple[str, str]]
    means: Sequence[float]
    variances: Sequence[float] | None = None


def model_record(model: NamedModel, *, threshold: float = SPARSITY_THRESHOLD) -> Fields:
    """Return the record of a model; coefficients with ``|mean| ≤ threshold`` are left out, with their variances.

    Photon leaves small variances out too, which loses the features known best; here a written mean keeps
    its variance.
    """
    kept = [place for place, mean in enumerate(model.means) if abs(mean) > threshold]
    kept.sort(key=lambda place: -abs(model.means[place]))
    return {
        "modelId": model.model_id,
        "modelClass": None if model.task is None else photon_task(model.task).model_class,
        "means": _named(model.keys, model.means, kept),
        "variances": None if model.variances is None else _named(model.keys, model.variances, kept),
        "lossFunction": "",
    }


def _named(keys: Sequence[tuple[str, str]], values: Sequence[float], kept: Sequence[int]) -> list[Fields]:
    return [{"name": keys[place][0], "term": keys[place][1], "value": float(values[place])} for place in kept]


def model_of_record(record: Mapping[str, object]) -> NamedModel:
    """Return the model in a record; variances of features without a mean are dropped.

    Raises
    ------
    BadDataError
        If a feature stands twice, or the class is unknown.
    """
    means = _by_key(record, "means")
    variances = _by_key(record, "variances") if record.get("variances") is not None else None
    missing = float("nan")
    return NamedModel(
        model_id=str(record["modelId"]),
        task=task_of_class(str(record.get("modelClass") or "")),
        keys=tuple(means),
        means=tuple(means.values()),
        variances=None if variances is None else tuple(variances.get(key, missing) for key in means),
    )


def _by_key(record: Mapping[str, object], field: str) -> dict[tuple[str, str], float]:
    entries = record[field]
    if not isinstance(entries, list):
        raise BadDataError(f"model {record['modelId']!r}: {field} is no list")
    found = {(entry["name"], entry["term"] or ""): float(entry["value"]) for entry in entries}
    if len(found) < len(entries):
        raise BadDataError(f"model {record['modelId']!r}: a feature stands twice in {field}")
    return found
