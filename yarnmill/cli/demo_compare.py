"""REST answers beside batch scores: the same rows, the same bundles, two roads."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow.dataset as ds
import requests

from yarnmill import fs
from yarnmill.bundle.manifest import Field, Signature
from yarnmill.errors import BadDataError, JobFailedError
from yarnmill.trainingset import TrainingSet, split_url

ROWS_PER_REQUEST: Final = 100


def read_rows(training_set_url: str, split: str, limit: int) -> list[dict[str, Any]]:
    """Return the first ``limit`` rows of a split, by uid, as plain values."""
    location = fs.locate(split_url(training_set_url, split))
    dataset = ds.dataset(location.path, filesystem=location.filesystem, format="parquet")
    table = dataset.to_table(columns=["uid", "ids", "features", "shards"])
    rows: list[dict[str, Any]] = table.sort_by("uid").slice(0, limit).to_pylist()
    return rows


def read_scores(scores_url: str, model: str) -> dict[int, float]:
    """Return the batch scores of one model: uid → score."""
    location = fs.locate(fs.join(scores_url, f"model={model}"))
    dataset = ds.dataset(location.path, filesystem=location.filesystem, format="parquet")
    table = dataset.to_table(columns=["uid", "score"])
    return dict(zip(table["uid"].to_pylist(), table["score"].to_pylist(), strict=True))


def instance_of(row: Mapping[str, Any], signature: Signature, training_set: TrainingSet) -> dict[str, object]:
    """Return a row as an application would send it: one value an input, what is not known left out."""
    values = {field.name: _value(row, field, training_set) for field in signature.inputs}
    return {name: value for name, value in values.items() if value is not None}


def _value(row: Mapping[str, Any], field: Field, training_set: TrainingSet) -> object:
    if field.name in row["ids"]:
        return row["ids"][field.name]
    if field.name in row["features"]:
        value = row["features"][field.name]
        return dict(value or ()) if field.dtype == "bag" else value
    shard = next((shard for shard in training_set.shards if shard.name == field.name), None)
    if shard is None:
        raise BadDataError(f"input {field.name!r} is no id, feature or shard of the training set")
    dense = [0.0] * shard.dimension
    for index, value in zip(row["shards"][field.name]["indices"], row["shards"][field.name]["values"], strict=True):
        dense[index] = value
    return dense


def ask(url: str, model: str, instances: Sequence[Mapping[str, object]]) -> Iterator[float]:
    """Yield the served model's answer for each instance.

    Raises
    ------
    JobFailedError
        If the server refuses a request: with its message.
    """
    with requests.Session() as session:
        for start in range(0, len(instances), ROWS_PER_REQUEST):
            body = {"instances": instances[start : start + ROWS_PER_REQUEST]}
            answer = session.post(f"{url}/v1/models/{model}:predict", json=body, timeout=60)
            if answer.status_code != 200:
                raise JobFailedError(f"{model}: the server answered {answer.status_code}: {answer.text[:500]}")
            yield from (float(prediction) for prediction in answer.json()["predictions"])


def largest_difference(
    rows: Sequence[Mapping[str, Any]], answers: Sequence[float], scores: Mapping[int, float]
) -> float:
    """Return the largest absolute difference of REST and batch over the rows.

    Raises
    ------
    BadDataError
        If an answer was lost, or a row has no batch score.
    """
    if len(answers) != len(rows):
        raise BadDataError(f"{len(rows)} rows were sent and {len(answers)} answers came back")
    missing = [row["uid"] for row in rows if row["uid"] not in scores]
    if missing:
        raise BadDataError(f"{len(missing)} rows have no batch score, uid {missing[0]} among them")
    return max(abs(answer - scores[row["uid"]]) for row, answer in zip(rows, answers, strict=True))
